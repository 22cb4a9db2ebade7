"""Local days, hours and months, where clocks change and where they do not."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.server.clock import Period

HOUR = 3_600_000
QUARTER = HOUR // 4


def period(zone: str, first: str, last: str | None = None) -> Period:
    return Period(date.fromisoformat(first), date.fromisoformat(last or first), ZoneInfo(zone))


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def clock(bounds: Sequence[int], zone: str) -> list[str]:
    return [datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).strftime("%H:%M%z") for at in bounds]


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00", 25),
        ("Europe/Berlin", "2026-11-21", "2026-11-20T23:00", 24),
        ("Asia/Kathmandu", "2026-03-29", "2026-03-28T18:15", 24),
        # Chile's clocks go from 23:59:59 to 1:00, and back from 24:00 to 23:00.
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00", 23),
        ("America/Santiago", "2026-09-05", "2026-09-05T04:00", 24),
        ("America/Santiago", "2026-04-04", "2026-04-04T03:00", 25),
        ("America/Santiago", "2026-04-05", "2026-04-05T04:00", 24),
    ],
)
def test_a_day_begins_at_local_midnight_and_has_as_many_hours_as_its_clock_shows(
    zone: str, day: str, start: str, hours: int
):
    found = period(zone, day)
    assert found.start == utc(start)
    assert found.end - found.start == hours * HOUR
    assert found.daily() == [found.start, found.end]
    assert found.hourly() == [found.start + HOUR * number for number in range(hours + 1)]


def test_the_hour_that_clocks_repeat_is_two_hours():
    shown = clock(period("Europe/Berlin", "2026-10-25").hourly(), "Europe/Berlin")
    assert shown[:5] == ["00:00+0200", "01:00+0200", "02:00+0200", "02:00+0100", "03:00+0100"]


def test_the_hour_that_clocks_skip_is_none():
    shown = clock(period("America/Santiago", "2026-09-06").hourly(), "America/Santiago")
    assert shown[:2] == ["01:00-0300", "02:00-0300"]


def test_where_clocks_change_by_half_an_hour_the_hours_stay_on_the_clock():
    shown = clock(period("Australia/Lord_Howe", "2026-10-04").hourly(), "Australia/Lord_Howe")
    assert shown[:4] == ["00:00+1030", "01:00+1030", "02:30+1100", "03:00+1100"]


def test_months_are_cut_at_their_first_days_and_at_the_ends_of_the_period():
    found = period("Europe/Berlin", "2026-02-14", "2026-04-02").monthly()
    assert found == [
        utc("2026-02-13T23:00"),
        utc("2026-02-28T23:00"),
        utc("2026-03-31T22:00"),
        utc("2026-04-02T22:00"),
    ]


ZONES = st.sampled_from(
    ["Europe/Berlin", "Asia/Kathmandu", "America/Santiago", "Australia/Lord_Howe", "Africa/Cairo", "UTC"]
)


@given(zone=ZONES, first=st.dates(date(2016, 1, 1), date(2030, 1, 1)), days=st.integers(0, 40))
def test_hours_days_and_months_cover_the_period_without_gaps_on_quarters_of_an_hour(
    zone: str, first: date, days: int
):
    found = Period(first, date.fromordinal(first.toordinal() + days), ZoneInfo(zone))
    for bounds in (found.hourly(), found.daily(), found.monthly()):
        assert bounds[0] == found.start
        assert bounds[-1] == found.end
        assert all(later - earlier > 0 and earlier % QUARTER == 0 for earlier, later in pairwise(bounds))
