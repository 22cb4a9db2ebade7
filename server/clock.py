"""The user's days: when they begin and end in the time zone that the settings name."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


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


def last_days(days: int, time_zone: tzinfo) -> tuple[int, int]:
    """[start, end) in epoch ms of the `days` days that end with today."""
    end = today(time_zone) + timedelta(days=1)
    return start_of(end - timedelta(days=days), time_zone), start_of(end, time_zone)
