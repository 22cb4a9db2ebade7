"""What a caller asks for, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from tierwise.routing.media import MediaTask, Modality

Role = Literal["system", "user", "assistant", "tool"]
Preference = Literal["cheap", "fast", "best"]
AUTO: Mapping[str, Preference | None] = {
    "auto": None,
    "auto:cheap": "cheap",
    "auto:fast": "fast",
    "auto:best": "best",
}
"""What stands in place of a model's name."""
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high"]
"""How long a model may think before it answers, in OpenAI's words; litellm maps them for each provider."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture, ready to be sent."""

    media_type: str
    """Such as `image/png`."""
    data: bytes = field(repr=False)
    width: int
    """Pixels, as is `height`."""
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A function that the model may ask its caller to run."""

    name: str
    description: str = ""
    parameters: str = '{"type": "object", "properties": {}}'
    """JSON Schema of its arguments, as JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """What a model asks its caller to run."""

    id: str
    name: str
    arguments: str
    """A JSON object, as the model wrote it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    images: tuple[Image, ...] = ()
    """Shown with a user's turn, before its text."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Asked for in an assistant's turn."""
    tool_call_id: str | None = None
    """Which of them a tool's turn is the result of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What shapes a model's answer, whichever model it is: all that is sent but for limits and keys."""

    messages: tuple[Message, ...]
    temperature: float | None = None
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: str | None = None
    """`auto`, `none`, `required`, or the name of the tool that must be called; None is the provider's
    default, `auto`."""
    response_schema: str | None = None
    """JSON Schema, as JSON text, that the answer must keep to."""
    reasoning_effort: ReasoningEffort | None = None
    cache_prefix: bool = False
    """Tell the provider where the part ends that will come again: before the last message."""
    task: MediaTask | None = None
    """What is asked for in place of an answer; the messages are then what it is made from, if anything."""

    @property
    def text(self) -> str:
        """What the messages say."""
        return "\n".join(message.content for message in self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a conversation that is kept here had to give to a request."""

    version: int
    """0 where it begins with the request."""
    turns: int
    """So many of the first turns of its history."""
    tier: Tier | None
    """The one that it has risen to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One `chat` call, validated: `prompt` is not blank unless results of tools end the history, numbers
    are in range."""

    prompt: str
    images: tuple[Image, ...] = ()
    """Shown with the prompt."""
    history: tuple[Message, ...] = ()
    """Earlier turns, oldest first, without the prompt."""
    system_prompt: str | None = None
    model: str | None = None
    """An alias, a bare model name or `provider/model`; None and `auto` let the tier decide; `auto:cheap`,
    `auto:fast` and `auto:best` ask for that among the models of all tiers."""
    tier: Tier | None = None
    """Overrides the tier that the analysis finds."""
    max_tokens: int | None = None
    temperature: float | None = None
    use_cache: bool = True
    """False skips reading the cache; the fresh answer still replaces the entry."""
    conversation_id: str | None = None
    """Goes on with a conversation that is kept here; `history` then holds what is new in it."""
    remembered: Remembered | None = None
    """What of it was put in front of `history`."""
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
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: str | None = None
    """See `Payload`; so with the next two."""
    response_schema: str | None = None
    reasoning_effort: ReasoningEffort | None = None
    drop_params: bool = False
    """A model that cannot take a parameter is sent the rest, in place of being left out."""
    task: MediaTask | None = None
    """See `Payload`; the prompt is what is drawn or read out."""

    @property
    def modality(self) -> Modality:
        return self.task.modality if self.task else Modality.CHAT

    @property
    def named_model(self) -> str | None:
        """`model`, if it is one."""
        return None if self.model in AUTO else self.model

    @property
    def preference(self) -> Preference | None:
        """What is asked for among the models of all tiers."""
        return AUTO.get(self.model or "")

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole conversation as a provider gets it: system prompt, history, prompt."""
        system = (Message("system", self.system_prompt),) if self.system_prompt else ()
        return (*system, *self.history, *self.asked)

    @property
    def asked(self) -> tuple[Message, ...]:
        """The user's turn; none where the results of tools are all that is new."""
        return (Message("user", self.prompt, self.images),) if self.prompt or self.images else ()

    @property
    def payload(self) -> Payload:
        """All that a model is sent."""
        return Payload(
            messages=self.messages,
            temperature=self.temperature,
            tools=self.tools,
            tool_choice=self.tool_choice,
            response_schema=self.response_schema,
            reasoning_effort=self.reasoning_effort,
            task=self.task,
        )
