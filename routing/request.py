"""What a caller asks for, as plain data."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Role = Literal["system", "user", "assistant"]

Strategy = Literal["priority", "least_cost", "least_latency", "round_robin", "random", "cascade"]
"""`priority`: the models of the tier in the order in which they are written; see `routing/strategies.py`
for the others. `cascade`: the cheapest tier answers first, and the next one where that answer is not good
enough."""


class Tier(StrEnum):
    """How hard a prompt is; ordered from the cheapest models to the most capable."""

    SIMPLE = "simple"
    STANDARD = "standard"
    COMPLEX = "complex"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {tier: rank for rank, tier in enumerate(Tier)}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One `chat` call, validated: `prompt` is not blank, numbers are in range."""

    prompt: str
    history: tuple[Message, ...] = ()
    """Earlier turns, oldest first, without the prompt."""
    system_prompt: str | None = None
    model: str | None = None
    """An alias, a bare model name or `provider/model`; None lets the tier decide."""
    tier: Tier | None = None
    """Overrides the tier that the analysis finds."""
    max_tokens: int | None = None
    temperature: float | None = None
    use_cache: bool = True
    """False skips reading the cache; the fresh answer still replaces the entry."""
    operation: str = "chat"
    tenant: str = ""
    """On whose behalf; empty for nobody in particular. So is `agent`."""
    agent: str = ""
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    fallback_models: tuple[str, ...] | None = None
    """Replaces the ladder that would follow the first choice; None keeps it."""
    max_cost_usd: float | None = None
    """Worst-case cost that the call may have, in USD."""
    strategy: Strategy | None = None
    """Overrides the settings' strategy."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole conversation as a provider gets it: system prompt, history, prompt."""
        system = (Message("system", self.system_prompt),) if self.system_prompt else ()
        return (*system, *self.history, Message("user", self.prompt))
