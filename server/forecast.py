"""Where spending is heading, from what recent days cost. Pure; money is nano-USD."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from statistics import fmean

FEWEST_DAYS = 7
"""Days with any cost that must be known: one of each weekday."""
_HORIZON = 366
"""Days in which a limit that never begins anew is looked for."""
_Z = 1.2816
"""Standard deviations on both sides of a normal distribution's middle 80%."""


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the period will have cost at its end: most likely, and in 8 of 10 cases."""

    expected: int
    low: int
    high: int
    limit_reached: date | None
    """The day on which the limit is likely to be reached; None if not before the period's end."""


def forecast(
    history: Sequence[Day], today: Day, *, spent: int, limit: int, end: date | None
) -> Forecast | None:
    """Project `spent`, which counts today's cost so far, to the day before `end`.

    `history` are the days before today, oldest first, without gaps. Without an `end` the limit alone
    matters, and the projection is for a year. None says that there is not enough data: fewer than
    `FEWEST_DAYS` days with a cost.
    """
    if sum(day.cost > 0 for day in history) < FEWEST_DAYS:
        return None
    first = next(place for place, day in enumerate(history) if day.cost > 0)
    known = history[first:]
    rates = _by_weekday(known)
    days = ((end or today.day + timedelta(days=_HORIZON)) - today.day).days
    expected, reached = float(spent), today.day if spent >= limit else None
    for ahead in range(days):
        day = today.day + timedelta(days=ahead)
        already = today.cost if ahead == 0 else 0
        expected += max(rates[day.weekday()] - already, 0)
        if reached is None and expected >= limit:
            reached = day
    spread = _Z * _deviation(known, rates) * sqrt(days + days * days / len(known))
    return Forecast(
        expected=round(expected),
        low=max(round(expected - spread), spent),
        high=round(expected + spread),
        limit_reached=reached,
    )


def _by_weekday(days: Sequence[Day]) -> list[float]:
    """What each weekday, from Monday on, is likely to cost.

    Its own mean is drawn to that of all days, as if one more of it had been as they are on average: a
    single Saturday says little of Saturdays.
    """
    mean = fmean(day.cost for day in days)
    own = [[day.cost for day in days if day.day.weekday() == weekday] for weekday in range(7)]
    return [(sum(costs) + mean) / (len(costs) + 1) for costs in own]


def _deviation(days: Sequence[Day], rates: Sequence[float]) -> float:
    """How far a day is from what its weekday is likely to cost, as a standard deviation."""
    squares = sum((day.cost - rates[day.day.weekday()]) ** 2 for day in days)
    return sqrt(squares / (len(days) - 1))
