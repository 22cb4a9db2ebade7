"""Usage as people and programs read it, made from the ledger's sums."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from tierwise.routing.clock import zone
from tierwise.routing.money.pricing import usd
from tierwise.server.clock import Period, last_days
from tierwise.storage.ports import NO_FILTERS, Ledger
from tierwise.storage.records import SUMS, Attribute, Dimension, Filters, UsageRow

MAX_GROUPS = 366
"""Most groups that a summary lists: an agent reads all of it."""
_DAYS_PER_MONTH = 30
"""What `projected_monthly_cost` counts as a month."""
_BY_MODEL = (Dimension.PROVIDER, Dimension.MODEL)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which calls to sum up, and by what."""

    period: Period
    group_by: Attribute | Literal["day"] | None = None
    filters: Filters = field(default_factory=lambda: NO_FILTERS)


class Breakdown(BaseModel):
    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    """USD."""


class Sums(Breakdown):
    """What calls come to. Money is USD."""

    input_tokens: int
    output_tokens: int
    cached_calls: int
    failed_calls: int
    cancelled_calls: int
    unpriced_calls: int
    saved_usd: float


class Group(Sums):
    key: str
    """The value that these calls share; for a day, its ISO date."""


class UsageSummary(BaseModel):
    """Sums over local days. Money is USD."""

    period_days: int
    start: str
    end: str
    total_calls: int
    total_tokens: int
    total_cost_usd: float
    avg_daily_tokens: float
    avg_daily_cost: float
    projected_monthly_cost: float
    model_breakdown: dict[str, Breakdown]
    provider_breakdown: dict[str, Breakdown]
    cached_calls: int
    failed_calls: int
    cancelled_calls: int
    saved_usd: float
    """Against the complex tier's first model."""
    cache_saved_usd: float
    """What the calls from the cache would have cost, going by what the others cost; see `saved_by_cache`."""
    unpriced_calls: int
    """Attempts whose price is unknown: the cost sums leave them out."""
    groups: list[Group] = []
    """Days in order; of anything else the most expensive first. Only where they were asked for."""
    groups_left_out: int = 0
    """How many more there are: the oldest days, or the cheapest of anything else."""


class TodayUsage(BaseModel):
    """Sums over the local day. Money is USD."""

    date: str
    time_zone: str
    tokens: int
    cost: float
    calls: int
    cached_calls: int
    failed_calls: int
    cancelled_calls: int
    saved_usd: float
    unpriced_calls: int


async def usage_summary(ledger: Ledger, query: UsageQuery) -> UsageSummary:
    """What the calls that `query` means came to.

    Raises:
        StorageError: see `Ledger.usage`.
    """
    period = query.period
    rows, groups = await _read(ledger, query)
    total = added(rows)
    cost = usd(total.cost_nano_usd)
    tokens = total.input_tokens + total.output_tokens
    return UsageSummary(
        period_days=period.days,
        start=period.first.isoformat(),
        end=period.last.isoformat(),
        total_calls=total.calls,
        total_tokens=tokens,
        total_cost_usd=cost,
        avg_daily_tokens=tokens / period.days,
        avg_daily_cost=cost / period.days,
        projected_monthly_cost=cost / period.days * _DAYS_PER_MONTH,
        model_breakdown=_breakdown(_by(rows, 1)),
        provider_breakdown=_breakdown(_by(rows, 0)),
        cached_calls=total.cached_calls,
        failed_calls=total.failed_calls,
        cancelled_calls=total.cancelled_calls,
        saved_usd=usd(total.saved_nano_usd),
        cache_saved_usd=usd(saved_by_cache(rows)[0]),
        unpriced_calls=total.unpriced_calls,
        **_listed(groups, newest=query.group_by == "day"),
    )


async def usage_groups(ledger: Ledger, query: UsageQuery) -> list[Group]:
    """The groups that `query` asks for: every day of the period in order, or the values that occur, most
    expensive first.

    Raises:
        StorageError: see `Ledger.usage`.
    """
    _, groups = await _read(ledger, query)
    return [group(row) for row in groups]


async def _read(ledger: Ledger, query: UsageQuery) -> tuple[list[UsageRow], list[UsageRow]]:
    """The sums by provider and model, and those of the groups, from one reading: they fit each other."""
    period, filters = query.period, query.filters
    if query.group_by == "day":
        days = await ledger.usage_series(period.daily(), group_by=_BY_MODEL, filters=filters)
        groups = [added(rows, day.isoformat()) for day, rows in zip(period.dates(), days, strict=True)]
        return _by([row for rows in days for row in rows], 0, 1), groups
    by = (*_BY_MODEL, query.group_by) if query.group_by else _BY_MODEL
    rows = await ledger.usage(start=period.start, end=period.end, group_by=by, filters=filters)
    return (_by(rows, 0, 1), _by(rows, 2)) if query.group_by else (rows, [])


def added(rows: Iterable[UsageRow], *key: str) -> UsageRow:
    """What the rows come to together, under a key."""
    rows = list(rows)
    return UsageRow(key=key, **{name: sum(getattr(row, name) for row in rows) for name in SUMS})


def _by(rows: Iterable[UsageRow], *places: int) -> list[UsageRow]:
    """The rows summed up by what stands at these places of their keys, most expensive first."""
    parts: dict[tuple[str, ...], list[UsageRow]] = {}
    for row in rows:
        parts.setdefault(tuple(row.key[place] for place in places), []).append(row)
    return sorted((added(part, *key) for key, part in parts.items()), key=_dearest_first)


def _dearest_first(row: UsageRow) -> tuple[int, int, tuple[str, ...]]:
    return -row.cost_nano_usd, -row.calls, row.key


def group(row: UsageRow) -> Group:
    """The sums of a row with one key."""
    return Group(key=row.key[0], **sums(row))


def sums(row: UsageRow) -> dict[str, Any]:
    """The fields of `Sums`."""
    return {
        "calls": row.calls,
        "tokens": row.input_tokens + row.output_tokens,
        "cost": usd(row.cost_nano_usd),
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cached_calls": row.cached_calls,
        "failed_calls": row.failed_calls,
        "cancelled_calls": row.cancelled_calls,
        "unpriced_calls": row.unpriced_calls,
        "saved_usd": usd(row.saved_nano_usd),
    }


def saved_by_cache(rows: Iterable[UsageRow]) -> tuple[int, int]:
    """What calls from the cache would have cost, in nano-USD, and how many of them nothing can be said of.

    An estimate, for the ledger does not know the size of an answer that cost nothing: each counts as
    much as the mean of the same model's other calls in the same `rows`.
    """
    saved = unknown = 0
    for row in rows:
        priced = row.calls - row.cached_calls - row.unpriced_calls
        if priced > 0:
            saved += row.cached_calls * row.cost_nano_usd // priced
        else:
            unknown += row.cached_calls
    return saved, unknown


async def today_usage(ledger: Ledger, time_zone: str | None) -> TodayUsage:
    """What the local day came to so far."""
    period = last_days(1, zone(time_zone))
    [total] = await ledger.usage(start=period.start, end=period.end)
    return TodayUsage(
        date=period.last.isoformat(),
        time_zone=str(period.time_zone),
        tokens=total.input_tokens + total.output_tokens,
        cost=usd(total.cost_nano_usd),
        calls=total.calls,
        cached_calls=total.cached_calls,
        failed_calls=total.failed_calls,
        cancelled_calls=total.cancelled_calls,
        saved_usd=usd(total.saved_nano_usd),
        unpriced_calls=total.unpriced_calls,
    )


def _listed(groups: Sequence[UsageRow], *, newest: bool) -> dict[str, Any]:
    left_out = max(0, len(groups) - MAX_GROUPS)
    kept = [group(row) for row in (groups[left_out:] if newest else groups[:MAX_GROUPS])]
    return ({"groups": kept} if kept else {}) | ({"groups_left_out": left_out} if left_out else {})


def _breakdown(rows: Iterable[UsageRow]) -> dict[str, Breakdown]:
    return {
        row.key[0]: Breakdown(
            calls=row.calls, tokens=row.input_tokens + row.output_tokens, cost=usd(row.cost_nano_usd)
        )
        for row in rows
    }
