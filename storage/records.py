"""Plain records that go into the store and come out of it.

Units: time is Unix epoch milliseconds, durations are milliseconds, money is nano-USD (1e-9 USD,
an int, so that sums are exact). `None` money means that the price is unknown, never that it is 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from tierwise.storage.budgets import Charge


class CallStatus(StrEnum):
    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one request used, in the parts that providers bill apart."""

    input_tokens: int = 0
    """All prompt tokens, cached ones included. Those read from a cache, written to it, and of audio and
    images are parts of it that do not overlap."""
    output_tokens: int = 0
    """All generated tokens; reasoning, audio and images are parts of it that do not overlap."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Those among `cache_write_tokens` that are kept for an hour, not for five minutes."""
    audio_input_tokens: int = 0
    image_input_tokens: int = 0
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    service_tier: str = ""
    """`flex`, `priority`, `batch`…, where the provider says that it charged by that; else empty."""
    images: int = 0
    """That were made."""
    image_form: str = ""
    """`quality/size` of them as far as it was asked for, such as `low/1024x1024`."""
    audio_ms: int = 0
    """Of audio, heard or spoken."""
    characters: int = 0
    """That were read out."""
    estimated: bool = False
    """The provider reported no usage; the counts are our own."""

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def nothing(self) -> bool:
        """Is there nothing that anybody could bill?"""
        return not (self.total_tokens or self.images or self.audio_ms or self.characters)


TOKEN_COUNTS = tuple(field.name for field in fields(Usage) if field.name.endswith("_tokens"))
"""The names of the counts in a `Usage`."""
RARELY_BILLED = (
    *("cache_write_1h_tokens", "audio_input_tokens", "image_input_tokens", "audio_output_tokens"),
    *("image_output_tokens", "service_tier", "images", "image_form", "audio_ms", "characters"),
)
"""The names of what in a `Usage` is mostly 0 or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord(Usage):
    """One request to one model, answered or not, with what it used."""

    provider: str
    model: str
    outcome: str
    """`ok`, `cancelled`, or the code of the error that ended it, such as `rate_limited`."""
    error: str | None = None
    """In our own words; a provider's could quote the prompt."""
    started_at: int
    latency_ms: float
    cost_nano_usd: int | None = 0
    cost_reported: bool = False
    """The cost is what the provider itself says that it charges."""
    old_cost_nano_usd: int | None = None
    """The first known figure that a correction of prices replaced; None if none did."""
    cost_note: str | None = None
    """Why the cost is unknown or estimated."""

    @property
    def ended_at(self) -> int:
        return self.started_at + int(self.latency_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One `chat` call with everything that it cost."""

    call_id: str
    started_at: int
    latency_ms: float
    operation: str
    tenant: str = ""
    """On whose behalf; empty for nobody in particular. So is `agent`."""
    agent: str = ""
    status: CallStatus
    error: str | None = None
    """The name of the error class that ended the call."""
    tier: str
    """The tier that the request was judged to need; empty where it was not for an answer in words."""
    tier_served: str | None = None
    complexity_score: float | None = None
    provider: str
    """Provider and model that served the call, or that were tried last, or that were chosen."""
    model: str
    cached: bool = False
    saved_nano_usd: int | None = None
    """Against the first model of the complex tier; None where either price is unknown."""
    finish_reason: str | None = None
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    attempts: tuple[AttemptRecord, ...] = ()
    reservation: str | None = None
    """The id under which its worst case was reserved; None where that is `call_id`. Not kept."""
    unreserved: tuple[Charge, ...] = ()
    """What to charge all the same where nothing could be reserved. Not kept."""
    features: bytes | None = None
    """What the router may learn from should an outcome come, opaque and without prompt text."""

    @property
    def input_tokens(self) -> int:
        return sum(attempt.input_tokens for attempt in self.attempts)

    @property
    def output_tokens(self) -> int:
        return sum(attempt.output_tokens for attempt in self.attempts)

    @property
    def cost_nano_usd(self) -> int | None:
        """What all attempts cost together; None if the cost of any one is unknown."""
        total = 0
        for attempt in self.attempts:
            if attempt.cost_nano_usd is None:
                return None
            total += attempt.cost_nano_usd
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSample:
    """What an attempt tells of the health of its model."""

    provider: str
    model: str
    outcome: str
    started_at: int
    latency_ms: float
    output_tokens: int
    left: bool
    """The call went on to another model right after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What the call behind an answer is compared by with calls that are not quite the same."""

    scope: bytes
    """Equal for calls that may be compared at all; opaque and without prompt text."""
    embedding: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    """An answer that can be served again, under the keyed digest of all that shaped it."""

    digest: bytes
    provider: str
    model: str
    tier: str
    """The tier of the candidate that wrote it."""
    content: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int | None
    """What it cost when it was made, which is what serving it again saves."""
    created_at: int
    expires_at: int
    likeness: Likeness | None = None
    """Goes into the store, and does not come out with the answer."""


class Dimension(StrEnum):
    """What every call has, and the roll-up knows."""

    PROVIDER = "provider"
    MODEL = "model"
    TIER = "tier"
    OPERATION = "operation"
    TENANT = "tenant"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class MetadataKey:
    """A key of the calls' metadata; a call that does not have it counts as one with an empty value."""

    name: str
    """Any text but one with a quotation mark, which no JSON path of SQLite can hold."""

    def __post_init__(self) -> None:
        if '"' in self.name:
            raise ValueError("has a quotation mark, and no metadata key with one can be asked about")


Attribute = Dimension | MetadataKey
"""What usage can be grouped, and calls be filtered, by."""
Filters = Mapping[Dimension, str] | Mapping[Attribute, str]
"""The values that calls must have; empty for those that have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """Sums over the calls that share `key`.

    A call counts once, under the model that served it; tokens and cost count under the model that
    each attempt was made to, so a failed attempt's cost stands where it was spent.
    """

    key: tuple[str, ...]
    """One value for each attribute that was asked for, in that order."""
    calls: int
    cached_calls: int
    failed_calls: int
    cancelled_calls: int
    """Given up by the caller before their end."""
    unpriced_calls: int
    """Attempts whose cost is unknown: `cost_nano_usd` does not include them."""
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int
    saved_nano_usd: int


SUMS = tuple(field.name for field in fields(UsageRow) if field.name != "key")
"""The names of the sums in a `UsageRow`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the store that is not as it should be."""

    text: str
    """A sentence or two."""
    repairable: bool
    """Whether `repair` puts it right: it follows from the rest of the store."""
