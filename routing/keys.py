"""Keys and other secrets: which environment variables hold them, and taking them out of texts."""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tierwise.routing.catalog.ladders import KNOWN_PROVIDERS

MASK = "[key]"
"""What stands in a text for a secret."""

_RUN = 8
"""Characters of a secret by which it is recognised; fewer turn up in sentences by chance."""

_SHAPES = re.compile(
    r"(?i)\bbearer\s+(?:(?=\S{0,40}\d)|\S{16})\S+"
    r"|\bbasic\s+[a-z0-9+/]{16,}={0,2}"
    r"|(?<![a-z0-9])(?:(?:sk|pk|rk|xai|gsk|hf|pplx|nvapi|csk|gh[opsu]|r8|key|glpat)[-_]|AIza|AKIA)"
    r"(?=[\w.-]{0,40}[\d*•…])[\w*•.…-]{6,}"
    r"|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
    r"|(?<![\w-])[\w-]*[*•]{3,}[\w*•-]*"  # however a provider has masked it
)
"""What keys look like, and the credentials of an Authorization header. Linear in the length of the text."""

_SECRET_PART = re.compile(r"(?:^|_)(?:API)?(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)(?:_|$)", re.IGNORECASE)
_NOT_A_SECRET = re.compile(r"_(?:DIR|ENV|FILE|ID|PATH)$|^TIERWISE_(?!SERVER_TOKEN$)", re.IGNORECASE)

_KEY_PARAMETER = re.compile(r"key|token|secret|password|passwd|^sig(nature)?$|^code$|^auth", re.IGNORECASE)

PROVIDER_KEY_VARIABLES = frozenset(
    variable for provider in KNOWN_PROVIDERS.values() for variable in provider.key_variables
)
"""The usual variables of the providers that are known here."""

# A cloud's name stands in the names of other credentials too.
_MAKERS = "|".join(sorted({name.split("_")[0].upper() for name in KNOWN_PROVIDERS} - {"AZURE"}))
_KEY_OF_A_MODEL = re.compile(rf"(?:^|_)API_?KEY(?:_|$)|(?:^|_)(?:{_MAKERS})_(?:\w+_)?(?:KEY|TOKEN)$")


def holds_a_model_key(variable: str) -> bool:
    """Does the variable, by its name, hold the key of a provider of models: `…_API_KEY`, one of
    `PROVIDER_KEY_VARIABLES`, or such as `OPENAI_KEY`? Other secrets, such as `AWS_SECRET_ACCESS_KEY`,
    have other names."""
    return variable in PROVIDER_KEY_VARIABLES or bool(_KEY_OF_A_MODEL.search(variable.upper()))


def holds_a_secret(variable: str) -> bool:
    """Does the variable, by its name, hold a key, token, secret or password?"""
    return bool(_SECRET_PART.search(variable)) and not _NOT_A_SECRET.search(variable)


def url_holds_a_key(url: str) -> bool:
    """Is there something in the URL that looks like a key, or a parameter that is named like one?"""
    query = urlsplit(url).query
    named = (name for name, _ in parse_qsl(query, keep_blank_values=True))
    return bool(_SHAPES.search(unquote(url))) or any(map(_KEY_PARAMETER.search, named))


def secrets_in(environ: Mapping[str, str], named: Iterable[str] = ()) -> Iterator[str]:
    """The values of the variables that hold secrets, by their names, and of those that are `named`."""
    also = set(named)
    for variable, value in environ.items():
        if variable in also or holds_a_secret(variable):
            yield value.strip()


class Redactor:
    """Takes the given secrets out of texts, however they are encoded or cut, and whatever else looks like
    a key. Safe for concurrent use."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {it for it in secrets if len(it) >= _RUN}
        # The longest first, for one may be a part of another.
        forms = sorted((form for secret in known for form in _forms(secret)), key=len, reverse=True)
        self._forms = re.compile("|".join(map(re.escape, forms))) if forms else None
        long = (secret for secret in known if len(secret) >= 2 * _RUN)
        self._runs = {secret[at : at + _RUN] for secret in long for at in range(len(secret) - _RUN + 1)}

    def __call__(self, text: str) -> str:
        """`text` with `MASK` in the place of each secret."""
        if self._forms:
            text = self._forms.sub(MASK, text)
        if self._runs:
            text = self._without_runs(text)
        return _SHAPES.sub(MASK, text)

    def _without_runs(self, text: str) -> str:
        """A provider may show a part of the key, to say which one it means."""
        pieces, end = list[str](), 0
        for start in range(len(text) - _RUN + 1):
            if text[start : start + _RUN] in self._runs:
                pieces += [text[end:start], MASK] if start > end or not pieces else []
                end = start + _RUN
        return "".join([*pieces, text[end:]])


def _forms(secret: str) -> Iterator[str]:
    """The secret as it is written in texts, URLs, JSON, hexadecimal and base64."""
    data = secret.encode("utf-8", "replace")
    forms = {
        secret,
        quote(secret, safe="", errors="replace"),
        json.dumps(secret)[1:-1],
        data.hex(),
    }
    for before in range(3):  # bytes that stand before it in a group of three
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        # The digits at either end hold bits of what is beside it.
        core = encoded[-(-before * 8 // 6) : -1]
        forms |= {core, core.replace("+", "-").replace("/", "_")}
    return iter(forms)
