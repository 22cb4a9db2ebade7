"""The user's last days."""

from datetime import timedelta, tzinfo

from tierwise.routing.clock import start_of, today


def last_days(days: int, time_zone: tzinfo) -> tuple[int, int]:
    """[start, end) in epoch ms of the `days` days that end with today."""
    end = today(time_zone) + timedelta(days=1)
    return start_of(end - timedelta(days=days), time_zone), start_of(end, time_zone)
