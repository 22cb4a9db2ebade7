"""Records of how well calls turned out: what the router learns from. They hold no prompt text.

Units are those of `tierwise.storage.records`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    TOO_WEAK = "too_weak"
    GOOD = "good"
    OVERKILL = "overkill"


class OutcomeSource(StrEnum):
    """What brought the verdict."""

    RATED = "rated"
    """Somebody said it."""
    ESCALATED = "escalated"
    RETRIED = "retried"
    """The user asked the same again of a stronger model."""
    SCHEMA_FAILED = "schema_failed"
    MEASURED = "measured"
    """A labelled file says it: every tier was tried, or somebody judged what the prompt needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRecord:
    """One verdict on one recorded call."""

    call_id: str
    at: int
    verdict: Verdict
    source: OutcomeSource
    note: str | None = None
    """Kept up to 500 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOutcome:
    """A verdict together with what was known of the call when it was given."""

    call_id: str | None
    """None for an outcome that was imported without a call."""
    at: int
    verdict: Verdict
    source: OutcomeSource
    note: str | None = None
    tier_served: str | None
    complexity_score: float | None
    features: bytes | None
    """As they were on the `CallRecord`; None if they were not given, or are no longer kept."""
