"""The user's days and the periods of budgets: when they begin and end in a time zone."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tierwise.storage.budgets import BudgetPeriod


def zone(name: str | None) -> tzinfo:
    """The zone of that IANA name; None is the machine's."""
    if name is not None:
        return ZoneInfo(name)
    from tzlocal import get_localzone

    try:
        return get_localzone()
    except (ZoneInfoNotFoundError, ValueError):  # TZ holds a POSIX rule, or the name of no zone
        return datetime.now().astimezone().tzinfo or UTC


def today(time_zone: tzinfo) -> date:
    """The date that it is now in `time_zone`."""
    return datetime.now(time_zone).date()


def start_of(day: date, time_zone: tzinfo) -> int:
    """When `day` begins in `time_zone`, in epoch ms; days of 23 or 25 hours come out right."""
    return int(datetime(day.year, day.month, day.day, tzinfo=time_zone).timestamp() * 1000)


def day_of(instant: int, time_zone: tzinfo) -> date:
    """The date in `time_zone` at `instant`, in epoch ms."""
    return datetime.fromtimestamp(instant / 1000, time_zone).date()


def period_start(period: BudgetPeriod, instant: int, time_zone: tzinfo) -> int:
    """When the period that `instant` lies in began, both in epoch ms; weeks begin on Monday."""
    if period is BudgetPeriod.TOTAL:
        return 0
    return start_of(_first_day(period, day_of(instant, time_zone)), time_zone)


def period_end(period: BudgetPeriod, instant: int, time_zone: tzinfo) -> int | None:
    """When the period that `instant` lies in ends and the next one begins; None for the total."""
    if period is BudgetPeriod.TOTAL:
        return None
    return start_of(next_first_day(period, day_of(instant, time_zone)), time_zone)


def next_first_day(period: BudgetPeriod, day: date) -> date:
    """The first day of the period after the one that holds `day`, which is not the total."""
    first = _first_day(period, day)
    if period is BudgetPeriod.MONTH:
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if period is BudgetPeriod.WEEK else 1)


def _first_day(period: BudgetPeriod, day: date) -> date:
    if period is BudgetPeriod.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period is BudgetPeriod.MONTH else day
