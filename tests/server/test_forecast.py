"""Where spending is heading, computed by hand."""

from datetime import date, timedelta

import pytest

from tierwise.server.forecast import Day, forecast

MONDAY = date(2026, 11, 16)
NEXT_MONDAY = date(2026, 11, 23)


def days_before(day: date, costs: list[int]) -> list[Day]:
    return [Day(day - timedelta(days=len(costs) - place), cost) for place, cost in enumerate(costs)]


def test_even_days_go_on_as_they_were() -> None:
    found = forecast(days_before(MONDAY, [100] * 28), Day(MONDAY, 40), spent=40, limit=10**9, end=NEXT_MONDAY)
    assert found
    assert (found.expected, found.low, found.high) == (700, 700, 700)
    assert found.limit_reached is None


def test_what_today_has_cost_already_is_not_expected_again() -> None:
    found = forecast(
        days_before(MONDAY, [100] * 28), Day(MONDAY, 250), spent=250, limit=10**9, end=NEXT_MONDAY
    )
    assert found
    assert found.expected == 250 + 600


def test_weekends_that_cost_nothing_are_expected_to_cost_little() -> None:
    weeks = [100, 100, 100, 100, 100, 0, 0] * 4
    found = forecast(days_before(MONDAY, weeks), Day(MONDAY, 0), spent=0, limit=10**9, end=NEXT_MONDAY)
    assert found
    mean = 500 / 7
    assert found.expected == round(5 * (400 + mean) / 5 + 2 * mean / 5)
    assert found.low < found.expected < found.high


@pytest.mark.parametrize(
    ("limit", "day"), [(40, MONDAY), (150, MONDAY + timedelta(1)), (700, MONDAY + timedelta(6)), (701, None)]
)
def test_the_day_is_named_on_which_the_limit_is_reached(limit: int, day: date | None) -> None:
    found = forecast(days_before(MONDAY, [100] * 14), Day(MONDAY, 40), spent=40, limit=limit, end=NEXT_MONDAY)
    assert found
    assert found.limit_reached == day


def test_a_limit_that_never_begins_anew_is_looked_for_within_a_year() -> None:
    history = days_before(MONDAY, [100] * 14)
    soon = forecast(history, Day(MONDAY, 0), spent=5_000, limit=6_000, end=None)
    late = forecast(history, Day(MONDAY, 0), spent=5_000, limit=10**6, end=None)
    assert soon
    assert late
    assert soon.limit_reached == MONDAY + timedelta(days=9)
    assert late.limit_reached is None


@pytest.mark.parametrize("costs", [[], [100] * 6, [0] * 22 + [100] * 6, [0] * 28])
def test_fewer_than_seven_days_with_a_cost_are_not_enough_data(costs: list[int]) -> None:
    history = days_before(MONDAY, costs)
    assert forecast(history, Day(MONDAY, 100), spent=100, limit=1_000, end=NEXT_MONDAY) is None


def test_days_before_the_first_cost_are_not_days_of_rest() -> None:
    late_start = days_before(MONDAY, [0] * 14 + [100] * 14)
    found = forecast(late_start, Day(MONDAY, 0), spent=0, limit=10**9, end=NEXT_MONDAY)
    assert found
    assert found.expected == 700


def test_the_range_widens_with_the_days_that_are_left_and_never_falls_below_what_is_spent() -> None:
    wild = days_before(MONDAY, [0, 1000, 0, 0, 3000, 0, 0, 10, 500, 10, 900, 10, 0, 4000])
    widths: list[int] = []
    for days in (1, 7, 30):
        end = MONDAY + timedelta(days=days)
        found = forecast(wild, Day(MONDAY, 0), spent=7, limit=10**9, end=end)
        assert found
        assert 7 <= found.low <= found.expected <= found.high
        widths.append(found.high - found.expected)
    assert widths == sorted(set(widths))
