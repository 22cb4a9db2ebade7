"""Usage over time: a sum for each hour, day or month, those without calls included."""

import time
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from tierwise.server.clock import MAX_DAYS, Period
from tierwise.server.usage import Sums, sums
from tierwise.storage.ports import Ledger

Granularity = Literal["hourly", "daily", "monthly"]
MOST_DAYS: dict[Granularity, int] = {"hourly": 92, "daily": MAX_DAYS, "monthly": MAX_DAYS}
"""Longest period of each; a quarter of a year has 2,208 hours."""
_BOUNDS: dict[Granularity, Callable[[Period], list[int]]] = {
    "hourly": Period.hourly,
    "daily": Period.daily,
    "monthly": Period.monthly,
}


class Point(Sums):
    start: str
    """When it begins: an ISO time with its offset from UTC."""


class TimeSeries(BaseModel):
    """Sums by the local clock; they add up to the summary of the same days. Money is USD."""

    granularity: Granularity
    time_zone: str
    points: list[Point]
    """Oldest first, up to the one that is under way. The first month begins where the period does."""


async def time_series(ledger: Ledger, granularity: Granularity, period: Period) -> TimeSeries:
    """What each hour, day or month of `period` that has begun came to."""
    bounds = _BOUNDS[granularity](period)
    bounds = bounds[: bisect_right(bounds, time.time() * 1000) + 1]
    series = await ledger.usage_series(bounds)
    points = [
        Point(start=_iso(start, period), **sums(row))
        for start, [row] in zip(bounds[:-1], series, strict=True)
    ]
    return TimeSeries(granularity=granularity, time_zone=str(period.time_zone), points=points)


def _iso(instant: int, period: Period) -> str:
    return datetime.fromtimestamp(instant // 1000, period.time_zone).isoformat()
