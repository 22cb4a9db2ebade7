"""Periods of local days, and where their days, months and hours begin."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise

from tierwise.routing.clock import start_of, today

MAX_DAYS = 3660
"""The longest period, in days: ten years."""
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Period:
    """The local days from `first` to `last`, both included."""

    first: date
    last: date
    time_zone: tzinfo

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def start(self) -> int:
        """When it begins, in epoch ms."""
        return start_of(self.first, self.time_zone)

    @property
    def end(self) -> int:
        """When the day after it begins, in epoch ms."""
        return start_of(self.last + timedelta(days=1), self.time_zone)

    def dates(self) -> list[date]:
        """Each of its days."""
        return [self.first + timedelta(days=number) for number in range(self.days)]

    def daily(self) -> list[int]:
        """Where its days begin, and its end, in epoch ms."""
        return [*(start_of(day, self.time_zone) for day in self.dates()), self.end]

    def monthly(self) -> list[int]:
        """Where its months begin, the first perhaps in the middle, and its end, in epoch ms."""
        firsts = [day for day in self.dates() if day.day == 1 or day == self.first]
        return [*(start_of(day, self.time_zone) for day in firsts), self.end]

    def hourly(self) -> list[int]:
        """Where its hours begin by the local clock, and its end, in epoch ms.

        A day that summer time cuts or stretches has 23 or 25 of them. Where clocks change by half an
        hour, as on Lord Howe Island, one of them is half an hour long.
        """
        return [
            *(hour for day, end in pairwise(self.daily()) for hour in self._hours(day, end)),
            self.end,
        ]

    def _hours(self, start: int, end: int) -> Iterator[int]:
        while start < end:
            yield start
            local = datetime.fromtimestamp(start // 1000, self.time_zone)
            start += (_HOUR - local.minute * 60 - local.second) * 1000


def last_days(days: int, time_zone: tzinfo) -> Period:
    """The `days` days that end with today; 1 is today alone."""
    last = today(time_zone)
    return Period(last - timedelta(days=days - 1), last, time_zone)
