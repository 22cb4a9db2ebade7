"""What a model answers, in words that no wire owns; each wire puts it into its own shape."""

import json
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What an answer used."""

    input: int
    """All that was read; `cache_read` and `cache_write` are parts of it."""
    output: int
    """All that was written; `reasoning` is a part of it."""
    cache_read: int = 0
    cache_write: int = 0
    """Only Anthropic says so."""
    reasoning: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """`arguments` goes out as it is where it is a `str`, be it JSON or not."""

    name: str
    arguments: Json | str = field(default_factory=Json)
    id: str = "call_1"

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A minute's allowance and what is left of it, for the headers of OpenAI and Anthropic."""

    requests: int = 60
    remaining_requests: int = 59
    tokens: int = 100_000
    remaining_tokens: int = 99_000
    reset: float = 1
    """Seconds until both are whole again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    pieces: tuple[str, ...]
    """The text, as it is cut in a stream."""
    finish_reason: str
    """As OpenAI names it; any other name goes out as it is."""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tokens: Tokens | None
    """None is not reported."""
    usage: Json = field(default_factory=Json)
    """Laid over what is reported, in the wire's own words."""
    limits: Limits | None = None
    logprob: float | None = None
    """Of every word, where it is asked for; only OpenAI's wire tells."""
    drip: float = 0
    """Seconds between the pieces of a stream."""

    @property
    def text(self) -> str:
        return "".join(self.pieces)
