"""When the periods of budgets begin, on the user's clock."""

from datetime import UTC, datetime

import pytest

from tierwise.routing.clock import period_end, period_start, zone
from tierwise.storage.budgets import BudgetPeriod

DAY, WEEK, MONTH, TOTAL = BudgetPeriod


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


PERIODS = [
    (DAY, "2026-11-18T00:00+01:00", "2026-11-19T00:00+01:00"),
    (WEEK, "2026-11-16T00:00+01:00", "2026-11-23T00:00+01:00"),
    (MONTH, "2026-11-01T00:00+01:00", "2026-12-01T00:00+01:00"),
]


@pytest.mark.parametrize(("period", "start", "end"), PERIODS)
def test_periods_begin_at_local_midnight(period: BudgetPeriod, start: str, end: str) -> None:
    berlin = zone("Europe/Berlin")
    for now in (start, "2026-11-18T23:59:59+01:00"):
        assert period_start(period, at(now), berlin) == at(start)
        assert period_end(period, at(now), berlin) == at(end)
    assert period_start(period, at(end), berlin) == at(end)


def test_a_total_never_ends() -> None:
    assert period_start(TOTAL, at("2026-11-18T12:00Z"), UTC) == 0
    assert period_end(TOTAL, at("2026-11-18T12:00Z"), UTC) is None


@pytest.mark.parametrize(
    ("now", "hours"),
    [("2026-03-29T12:00+02:00", 23), ("2026-10-25T12:00+01:00", 25), ("2026-12-31T23:30+01:00", 24)],
)
def test_days_on_which_the_clocks_change_are_as_long_as_they_are(now: str, hours: int) -> None:
    berlin = zone("Europe/Berlin")
    start, end = period_start(DAY, at(now), berlin), period_end(DAY, at(now), berlin)
    assert end == start + hours * 3_600_000


def test_a_december_and_its_last_week_end_in_the_next_year() -> None:
    now = at("2026-12-31T12:00Z")
    assert period_end(MONTH, now, UTC) == at("2027-01-01T00:00Z")
    assert period_end(WEEK, now, UTC) == at("2027-01-04T00:00Z")


def test_every_period_begins_where_the_one_before_it_ended() -> None:
    zones = [zone(name) for name in ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Africa/Cairo")]
    for local in zones:
        for period in (DAY, WEEK, MONTH):
            instant = at("2026-01-01T12:00Z")
            while instant < at("2028-01-01T00:00Z"):
                end = period_end(period, instant, local)
                assert end
                assert period_start(period, end, local) == end
                assert period_start(period, end - 1, local) == period_start(period, instant, local)
                assert end % (15 * 60_000) == 0
                instant = end
