"""Why a call failed, in the words of the system or of the provider, fit to be shown."""

import errno
import os
import re

from tierwise.routing.errors import BadResponse, ConnectionFailed, UpstreamError
from tierwise.routing.keys import Redactor
from tierwise.routing.providers.base import UpstreamCall

_MESSAGE_IN_JSON = re.compile(r'"message"\s*:\s*"((?:[^"\\]|\\.)+)"')
_LITELLM_PREFIX = re.compile(r"^(?:(?:litellm\.)?\w*(?:Error|Exception|Timeout)\w*(?::| -)\s*)+")
_PROXY_ADVICE = re.compile(r"(?:\\n|\n)+(?:(?:LiteLLM: model group|model=).*|$)", re.DOTALL)
"""What a LiteLLM proxy adds for its administrator, perhaps still escaped as in JSON."""
_MIN_QUOTE = 8
"""Anything shorter turns up in sentences by chance."""
_MAX_READ = 2000
"""Characters of what a provider says that are looked at."""
_MAX_DETAIL = 120


def reason(chain: tuple[BaseException, ...], kind: type[UpstreamError], call: UpstreamCall) -> str:
    """What the system or the provider said, or nothing where that does not help.

    `chain` is what was raised and what stands behind it, `kind` the class that it was put into.
    """
    if kind is BadResponse:
        return "it cannot be read"
    text = _broken_connection(chain, call) if kind is ConnectionFailed else _words(chain[0])
    redact = Redactor([call.api_key] if call.api_key else [])
    text = printable(redact(text[:_MAX_READ]))
    quotes = (turn.content[:20] in text for turn in call.messages if len(turn.content) >= _MIN_QUOTE)
    if text.startswith("<") or any(quotes):
        return ""  # a page of HTML, or the prompt quoted
    return text if len(text) <= _MAX_DETAIL else f"{text[:_MAX_DETAIL]}…"


def printable(text: str) -> str:
    """On one line, and without what would steer a terminal."""
    return "".join(filter(str.isprintable, " ".join(text.split())))


def _broken_connection(chain: tuple[BaseException, ...], call: UpstreamCall) -> str:
    if any(type(error).__name__ == "ConnectTimeout" for error in chain) and call.connect_timeout:
        return f"it was not there within {call.connect_timeout:g} s"
    return _system_error(chain)


def _system_error(chain: tuple[BaseException, ...]) -> str:
    """The operating system's reason, such as "Connection refused"."""
    deepest = next((error for error in reversed(chain) if isinstance(error, OSError) and error.errno), None)
    if deepest is None or not deepest.errno:
        return ""
    return os.strerror(deepest.errno) if deepest.errno in errno.errorcode else str(deepest.strerror)


def _words(error: BaseException) -> str:
    text = str(error).split(" Original exception: ")[0]
    if found := _MESSAGE_IN_JSON.search(text):
        text = found[1]
    return _LITELLM_PREFIX.sub("", _PROXY_ADVICE.sub("", text))
