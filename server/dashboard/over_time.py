"""Usage over time, split by model and by tier, as charts draw it."""

import time
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from tierwise.routing.money.pricing import usd
from tierwise.server.clock import Period
from tierwise.server.usage import UsageQuery
from tierwise.storage.ports import Ledger
from tierwise.storage.records import Dimension, UsageRow

MOST_PARTS = 8
"""Series of their own; a chart with more cannot be read. What is left is one more, without a name."""
_HOURLY_DAYS = 2
_DAILY_DAYS = 92

Granularity = Literal["hourly", "daily", "monthly"]


class Part(BaseModel):
    """The cost of one model or tier in each interval, USD."""

    name: str | None
    """None stands for all that have no part of their own."""
    cost: list[float]


class OverTime(BaseModel):
    """One value for each interval that has begun, oldest first; they add up to the summary."""

    granularity: Granularity
    starts: list[str]
    """When each begins: an ISO time with its offset from UTC."""
    by_model: list[Part]
    """Most expensive first."""
    by_tier: list[Part]
    cost: list[float]
    """USD."""
    calls: list[int]
    cached_calls: list[int]


async def over_time(ledger: Ledger, query: UsageQuery) -> tuple[OverTime, list[UsageRow]]:
    """What the calls that `query` means came to in each hour, day or month, whichever fits the period; and
    the sums by model and tier that it is made of.

    Raises:
        StorageError: the database cannot be read.
    """
    granularity, bounds = _intervals(query.period)
    by = (Dimension.MODEL, Dimension.TIER)
    series = await ledger.usage_series(bounds, group_by=by, filters=query.filters)
    local = query.period.time_zone
    starts = [datetime.fromtimestamp(start // 1000, local).isoformat() for start in bounds[:-1]]
    return _drawn(granularity, starts, series), [row for rows in series for row in rows]


def _drawn(granularity: Granularity, starts: list[str], series: Sequence[Sequence[UsageRow]]) -> OverTime:
    return OverTime(
        granularity=granularity,
        starts=starts,
        by_model=_parts(series, 0),
        by_tier=_parts(series, 1),
        cost=[usd(sum(row.cost_nano_usd for row in rows)) for rows in series],
        calls=[sum(row.calls for row in rows) for rows in series],
        cached_calls=[sum(row.cached_calls for row in rows) for rows in series],
    )


def _intervals(period: Period) -> tuple[Granularity, list[int]]:
    if period.days <= _HOURLY_DAYS:
        granularity, bounds = "hourly", period.hourly()
    elif period.days <= _DAILY_DAYS:
        granularity, bounds = "daily", period.daily()
    else:
        granularity, bounds = "monthly", period.monthly()
    return granularity, bounds[: bisect_right(bounds, time.time() * 1000) + 1]


def _parts(series: Sequence[Sequence[UsageRow]], place: int) -> list[Part]:
    """A part for each of the dearest values at this place of the rows' keys, and one for all others."""
    costs: dict[str, list[int]] = {}
    for interval, rows in enumerate(series):
        for row in rows:
            costs.setdefault(row.key[place], [0] * len(series))[interval] += row.cost_nano_usd
    ranked: list[tuple[str | None, list[int]]] = sorted(costs.items(), key=lambda it: (-sum(it[1]), it[0]))
    kept, rest = ranked[:MOST_PARTS], ranked[MOST_PARTS:]
    if rest:
        kept.append((None, [sum(column) for column in zip(*(row for _, row in rest), strict=True)]))
    return [Part(name=name, cost=[usd(cost) for cost in row]) for name, row in kept]
