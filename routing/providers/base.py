"""The port through which the router reaches a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from tierwise.routing.media import Media
from tierwise.routing.request import Message, Payload, ToolCall
from tierwise.storage.records import Usage

OnText = Callable[[str], None]
"""Called on the event loop with each piece of text as it arrives; must not block or raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What a provider says is left of one of its limits."""

    remaining: float
    limit: float | None = None
    """What there is when nothing is used."""
    reset: float | None = None
    """Seconds until that is so again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateStatus:
    """How much more a provider will take, by its own word; None where it does not say."""

    requests: Quota | None = None
    tokens: Quota | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamCall:
    """One request to one model: everything that shapes the answer, and how to get there."""

    provider: str
    """The provider's name in the settings, such as `openai`."""
    model: str
    """The model's name as the provider knows it, without the provider's prefix."""
    payload: Payload
    max_tokens: int | None = None
    api_base: str | None = None
    api_key: str | None = None
    timeout: float
    """Seconds that this attempt may take in all."""
    connect_timeout: float | None = None
    """Seconds within which the connection must be there; None leaves it to `timeout`, and so do those for
    the first token of a streamed answer, a hidden thought's included, and for each further one."""
    first_token_timeout: float | None = None
    between_tokens_timeout: float | None = None
    logprobs: bool = False
    """Ask for the tokens' log probabilities, where the model gives them."""

    @property
    def messages(self) -> tuple[Message, ...]:
        return self.payload.messages

    def __repr__(self) -> str:
        return f"UpstreamCall({self.provider}/{self.model}, {len(self.messages)} messages)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer."""

    content: str
    """The text; empty where something else was made."""
    finish_reason: str
    """`stop`, `length`, `content_filter` or `tool_calls`, as OpenAI names them."""
    usage: Usage
    reported_cost: int | None = None
    """What the provider itself says that it charges, in nano-USD."""
    tool_calls: tuple[ToolCall, ...] = ()
    """What the model asks its caller to run, in place of an answer or beside it."""
    media: tuple[Media, ...] = ()
    """What was made, where the payload has a task for that."""
    stand_in: str | None = None
    """The model that answered where the provider, a LiteLLM proxy, fell back by itself."""
    mean_logprob: float | None = None
    """Mean natural log probability of the answer's tokens, if it was asked for and given."""
    rate: RateStatus | None = None
    """What the provider said of its limits when it answered."""


class Provider(ABC):
    """Carries one call to one model. It never retries: the router owns that."""

    @abstractmethod
    async def complete(self, call: UpstreamCall, on_text: OnText | None = None) -> Completion:
        """Answer `call`; with `on_text` the answer is streamed and each piece handed over.

        Raises:
            UpstreamError: one of its subclasses, by the one error table. A stream that ends before
                the model had finished is `ConnectionFailed`, never a short answer.

        Cancelling the task closes the upstream request.
        """

    def start_loading(self) -> None:  # noqa: B027  most providers have nothing to load
        """Begin whatever slow loading the first call would wait for, in the background."""

    async def ready(self) -> None:  # noqa: B027
        """Wait until what `start_loading` begins is done: time in which no attempt runs or costs.

        Raises:
            UpstreamError: it cannot be loaded.
        """

    async def aclose(self) -> None:  # noqa: B027  and nothing to close
        """Release every resource; closing twice is allowed."""
