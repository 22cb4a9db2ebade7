"""The section `reliability` of the settings: time limits, queues, rate limits, and what is left alone."""

from typing import Literal

from pydantic import Field

from tierwise.routing.settings import Section


class RateLimitSettings(Section):
    """What may be sent to one model, or to all models of one provider together.

    A minute's worth may go at once, the rest evenly, as providers meter it themselves.
    """

    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000_000)
    tokens_per_minute: int | None = Field(default=None, ge=1, le=1_000_000_000_000)
    """Input and output tokens together; estimated when a request is sent, and then corrected."""


class HedgingSettings(Section):
    """A second request where the first is slow: the first of the two to answer serves, both are paid for."""

    enabled: bool = False
    delay: float = Field(default=10.0, ge=0, le=3600)
    """Seconds after which the second is sent, as long as too few answers of the first's model are known
    to tell how long 95% of them take."""
    min_samples: int = Field(default=20, ge=5, le=200)
    """Answers that tell it."""


class BreakerSettings(Section):
    """When a deployment (provider, model and endpoint) is left alone for a while."""

    enabled: bool = True
    failures: int = Field(default=5, ge=1, le=1_000_000)
    """In a row, of those that are the provider's fault: no connection, no answer in time, 5xx, an answer
    that is none."""
    cooldown: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds until one call may try again."""


class HealthSettings(Section):
    """Looking after endpoints while nobody calls them."""

    checks: Literal["off", "free", "all"] = "free"
    """The endpoints with an `api_base` to ask for their list of models: none, those of models that cost
    nothing, or all."""
    interval: float = Field(default=30.0, ge=1, le=86_400)
    """Seconds between two checks."""


class ReliabilitySettings(Section):
    deadline: float = Field(default=600.0, gt=0, le=86_400)
    """Seconds that a whole call may take: in queues, with all its retries and fallbacks."""
    connect_timeout: float = Field(default=10.0, gt=0, le=3600)
    """Seconds within which a connection to a provider must be there."""
    first_token_timeout: float | None = Field(default=None, gt=0, le=86_400)
    """Seconds within which a streamed answer must begin; None leaves it to litellm.timeout, because models
    that think in silence may take minutes."""
    between_tokens_timeout: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds that a streamed answer may pause once it has begun."""
    broken_stream: Literal["restart", "continue"] = "restart"
    """What the next model does when a stream breaks off after text had come: answer afresh, or go on from
    that text, which is then joined with what it writes."""
    max_concurrent_calls: int = Field(default=100, ge=1, le=100_000)
    """Requests to providers that may be under way at once in this process."""
    max_queued_calls: int = Field(default=1000, ge=0, le=1_000_000)
    """Calls that may wait for their turn beyond these; a further one is refused at once."""
    patience: float = Field(default=1.0, ge=0, le=3600)
    """Seconds for which a call waits for a model's turn while another that may serve it is free."""
    rate_limits: dict[str, RateLimitSettings] = Field(default_factory=dict[str, RateLimitSettings])
    """By `provider/model`, or by a provider's name for all its models together."""
    hedging: HedgingSettings = HedgingSettings()
    breaker: BreakerSettings = BreakerSettings()
    health: HealthSettings = HealthSettings()
