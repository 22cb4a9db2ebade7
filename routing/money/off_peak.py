"""The hours in which a provider is cheaper, as in DeepSeek's prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

_EVERY_DAY = frozenset(range(1, 8))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to before `end`, in UTC; past midnight if `end` is earlier, all day if they are equal."""

    start: time
    end: time
    weekdays: frozenset[int] = _EVERY_DAY
    """1 is Monday."""

    def holds(self, clock: time, weekday: int) -> bool:
        """Whether it is open at that time of that day."""
        if self.start < self.end:
            return weekday in self.weekdays and self.start <= clock < self.end
        return weekday in self.weekdays and (clock >= self.start or clock < self.end)


@dataclass(frozen=True, slots=True)
class OffPeakHours:
    """All windows of a model."""

    windows: tuple[Window, ...]
    calendar: tzinfo = UTC
    """The time zone whose weekdays are meant."""

    def __contains__(self, at: int) -> bool:
        """Whether the instant `at`, in epoch ms, is off peak."""
        moment = _EPOCH + timedelta(milliseconds=at)
        weekday = moment.astimezone(self.calendar).isoweekday()
        return any(window.holds(moment.time(), weekday) for window in self.windows)


def off_peak_hours(fields: Mapping[str, Any]) -> OffPeakHours:
    """The hours in an `off_peak_pricing` of litellm's price map: `hours_utc` for every day, or `windows`
    each for some `weekdays`.

    Raises:
        ValueError, KeyError, TypeError: they are not written like that.
    """
    rules = [fields] if "hours_utc" in fields else []
    windows = [window for rule in (*rules, *fields.get("windows", ())) for window in _windows(rule)]
    calendar = fields.get("weekday_timezone")
    return OffPeakHours(tuple(windows), ZoneInfo(calendar) if calendar else UTC)


def _windows(rule: Mapping[str, Any]) -> list[Window]:
    hours: str | list[str] = rule["hours_utc"]
    spans = [hours] if isinstance(hours, str) else hours
    weekdays = frozenset[int](rule.get("weekdays", _EVERY_DAY))
    bounds = [span.split("-") for span in spans]
    return [Window(time.fromisoformat(start), time.fromisoformat(end), weekdays) for start, end in bounds]
