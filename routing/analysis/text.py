"""From a prompt of any size to the few tokens and counts that the analysis reads."""

# ruff: noqa: RUF001 - the marks of other scripts, which look like ASCII ones, are what the tables are for

from dataclasses import dataclass

HEAD_CHARS = 2_000
TAIL_CHARS = 1_000
"""Of a long prompt its first and last characters are read: instructions stand there, payload between."""
HEAD_TOKENS = 70
TAIL_TOKENS = 30
"""Of what was read, the tokens looked up in the dictionary."""
BREAK = "\x01"
"""Stands between clauses; one that a prompt brings along only adds a clause."""

_CLAUSE_ENDS = "!?:;,\n。！？，、：；؟،।"
_SPACES = "()[]{}<>\"'`´‘’“”„«»「」『』（）【】*_/\\|=+^~#$%&@-–—…·•.¿¡\0"
_TABLE = {ord(mark): BREAK for mark in _CLAUSE_ENDS} | {ord(mark): " " for mark in _SPACES}


@dataclass(frozen=True, slots=True)
class Text:
    """What was read of a prompt."""

    raw: str
    """Head and tail of the prompt, as written."""
    tokens: list[str]
    """Words in lower case, with `BREAK` between clauses."""
    length: int
    """Characters of the whole prompt."""

    @property
    def window(self) -> list[str]:
        """The tokens where instructions stand."""
        if len(self.tokens) <= HEAD_TOKENS + TAIL_TOKENS:
            return self.tokens
        return [*self.tokens[:HEAD_TOKENS], BREAK, *self.tokens[-TAIL_TOKENS:]]


def read(prompt: str) -> Text:
    """Head and tail of the prompt, cut into words and clauses."""
    raw = prompt
    if len(prompt) > HEAD_CHARS + TAIL_CHARS:
        raw = f"{prompt[:HEAD_CHARS]}\n{prompt[-TAIL_CHARS:]}"
    # A full stop ends a clause only before a space: 3.14 and app.py stay in one.
    ended = raw.lower().replace(". ", BREAK).replace(".\n", BREAK)
    return Text(raw, _separated(ended).replace(BREAK, f" {BREAK} ").split(), len(prompt))


def _separated(text: str) -> str:
    """The text with `BREAK` for each mark that ends a clause and a space for each other."""
    if text.isascii():
        return text.translate(_TABLE)
    # `translate` is slow on other text; few of the marks occur in any.
    for mark in _TABLE.keys() & set(map(ord, set(text))):
        text = text.replace(chr(mark), _TABLE[mark])
    return text
