"""Records of what may be spent, and of what is set aside for calls under way.

Units are those of `tierwise.storage.records`. When a period starts, in whose time zone, is the
caller's to say: the store only keeps one account for each budget and start.
"""

from dataclasses import dataclass
from enum import StrEnum


class BudgetScope(StrEnum):
    """Which calls a budget is for."""

    OVERALL = "overall"
    TENANT = "tenant"
    AGENT = "agent"
    OPERATION = "operation"


class BudgetPeriod(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"
    """One that never ends; it starts at 0."""


class AtLimit(StrEnum):
    """What happens to a call that does not fit."""

    REFUSE = "refuse"
    DOWNGRADE = "downgrade"
    """The caller looks for a cheaper model; the store refuses the reservation."""
    WARN = "warn"
    """Nothing: the store reserves and counts all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit, known by its name."""

    name: str
    scope: BudgetScope = BudgetScope.OVERALL
    scope_value: str = ""
    """The tenant, agent or operation; empty for `overall`."""
    period: BudgetPeriod
    limit_nano_usd: int
    """0 lets only calls through that cost nothing."""
    thresholds: tuple[int, ...] = (80, 90, 100)
    """Percents of the limit whose crossing is told."""
    at_limit: AtLimit = AtLimit.REFUSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One period of one budget that a call is to be charged to."""

    budget: str
    period_start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """The worst case of a call that is about to be made, against each budget that applies."""

    call_id: str
    amount_nano_usd: int
    charges: tuple[Charge, ...]
    expires_at: int
    """From then on it holds nothing back: its process is taken for dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A budget that a reservation did not fit into, as it stood."""

    budget: str
    limit_nano_usd: int
    spent_nano_usd: int
    reserved_nano_usd: int
    """Held by other calls under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAccount:
    """What one period of one budget holds."""

    spent_nano_usd: int
    reserved_nano_usd: int
    """Held by calls under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A threshold that a call's cost took its budget over."""

    budget: str
    period_start: int
    percent: int


@dataclass(frozen=True, slots=True)
class Committed:
    """What recording a call brought about."""

    crossed: tuple[Crossing, ...] = ()
    """By budget, the lower percent first."""
