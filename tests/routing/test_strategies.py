"""The order that each strategy gives to the models of a tier."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.request import Strategy
from tierwise.routing.strategies import (
    EXPLORED,
    ORDERS,
    Option,
    least_cost,
    least_latency,
    priority,
    round_robin,
    weighted_random,
)

options = st.builds(
    Option,
    cost=st.none() | st.integers(0, 10**9),
    attempts=st.integers(0, 5),
    ms_per_token=st.none() | st.floats(0.001, 1e6),
    used_at=st.just(0) | st.integers(1, 2**45),
    weight=st.just(0.0) | st.floats(1e-6, 1e6),
)
tiers = st.lists(options, max_size=8)
chances = st.floats(0, 1, exclude_max=True)
not_exploring = st.floats(EXPLORED, 1, exclude_max=True)


def test_each_strategy_of_the_settings_has_its_order() -> None:
    assert set(ORDERS) == set(get_args(Strategy))


@pytest.mark.parametrize("strategy", ORDERS)
@given(tier=tiers, chance=chances)
def test_every_order_holds_each_place_once_and_is_the_same_for_the_same(
    strategy: Strategy, tier: list[Option], chance: float
) -> None:
    order = ORDERS[strategy](tier, chance)
    assert sorted(order) == list(range(len(tier)))
    assert order == ORDERS[strategy](tier, chance)


@pytest.mark.parametrize("strategy", ORDERS)
@given(chance=chances, size=st.integers(1, 6))
def test_models_that_nothing_tells_apart_stay_as_they_are_written_unless_chance_decides(
    strategy: Strategy, chance: float, size: int
) -> None:
    order = ORDERS[strategy]([Option()] * size, chance)
    assert order == list(range(size)) or strategy == "random"


@given(tiers, chances)
def test_priority_is_the_order_in_which_they_are_written(tier: list[Option], chance: float) -> None:
    assert priority(tier, chance) == list(range(len(tier)))


# least_cost


@given(tiers, chances)
def test_the_cheapest_comes_first_and_those_without_a_price_last(tier: list[Option], chance: float) -> None:
    costs = [tier[place].cost for place in least_cost(tier, chance)]
    known = [cost for cost in costs if cost is not None]
    assert known == sorted(known)
    assert costs == known + [None] * (len(costs) - len(known))


def test_a_model_that_costs_nothing_comes_before_one_whose_price_is_unknown() -> None:
    assert least_cost([Option(cost=None), Option(cost=5), Option(cost=0)], 0.5) == [2, 1, 0]


# least_latency


@given(tiers, not_exploring)
def test_untried_models_come_first_then_the_fast_then_those_being_tried_then_those_that_only_fail(
    tier: list[Option], chance: float
) -> None:
    def kind(option: Option) -> tuple[int, float]:
        if option.ms_per_token is not None:
            return 1, option.ms_per_token
        return (3, 0) if option.attempts else (2, option.used_at) if option.used_at else (0, 0)

    kinds = [kind(tier[place]) for place in least_latency(tier, chance)]
    assert kinds == sorted(kinds)


@given(tiers, st.floats(0, EXPLORED, exclude_max=True))
def test_now_and_then_the_measured_model_that_was_used_least_lately_is_asked_first(
    tier: list[Option], chance: float
) -> None:
    explored, usual = least_latency(tier, chance), least_latency(tier, EXPLORED)
    measured = [option for option in tier if option.ms_per_token is not None]
    if not measured:
        assert explored == usual
        return
    assert tier[explored[0]].used_at == min(option.used_at for option in measured)
    assert tier[explored[0]].ms_per_token is not None
    assert explored[1:] == [place for place in usual if place != explored[0]]


# round_robin


def served_in_turn(tier: Sequence[Option], able: Sequence[set[int]]) -> list[int]:
    """Who comes first in each of several calls for which these can serve."""
    used, first = [option.used_at for option in tier], list[int]()
    for number, places in enumerate(able, start=max(used, default=0) + 1):
        there = sorted(places)
        [chosen, *_] = round_robin([Option(used_at=used[place]) for place in there], 0.5)
        first.append(there[chosen])
        used[there[chosen]] = number
    return first


@given(tiers.filter(bool), st.integers(0, 40))
def test_after_any_number_of_calls_none_has_had_two_turns_more_than_another(
    tier: list[Option], calls: int
) -> None:
    turns = Counter(served_in_turn(tier, [set(range(len(tier)))] * calls))
    counts = [turns[place] for place in range(len(tier))]
    assert max(counts) - min(counts) <= 1


@given(st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=40))
def test_nobody_who_can_serve_is_passed_over_while_another_is_served_twice(able: list[set[int]]) -> None:
    first = served_in_turn([Option()] * 4, able)
    for begin, place in enumerate(first):
        again = next((end for end in range(begin + 1, len(first)) if first[end] == place), None)
        if again is not None:
            always = set[int].intersection(*able[begin : again + 1])
            assert always <= set(first[begin : again + 1])


# random

STEPS = 4000


def shares(tier: Sequence[Option]) -> list[float]:
    """The part of all chances with which each comes first."""
    first = Counter(weighted_random(tier, (step + 0.5) / STEPS)[0] for step in range(STEPS))
    return [first[place] / STEPS for place in range(len(tier))]


weighty = st.lists(st.integers(0, 20), min_size=1, max_size=5).filter(any)


@given(weighty)
def test_each_comes_first_as_often_as_its_weight_says(weights: list[int]) -> None:
    found = shares([Option(weight=float(weight)) for weight in weights])
    for share, weight in zip(found, weights, strict=True):
        assert abs(share - weight / sum(weights)) <= 2 / STEPS


def test_the_rest_is_drawn_by_weight_as_well() -> None:
    tier = [Option(weight=weight) for weight in (1.0, 3.0, 6.0)]
    orders = Counter(tuple(weighted_random(tier, (step + 0.5) / STEPS)) for step in range(STEPS))
    assert abs(orders[2, 1, 0] / STEPS - 6 / 10 * 3 / 4) <= 2 / STEPS
    assert abs(orders[0, 1, 2] / STEPS - 1 / 10 * 3 / 9) <= 2 / STEPS


@given(tiers, chances)
def test_a_weight_of_nothing_comes_after_all_others(tier: list[Option], chance: float) -> None:
    weights = [tier[place].weight > 0 for place in weighted_random(tier, chance)]
    assert weights == sorted(weights, reverse=True)


@given(tiers.filter(bool), chances, st.floats(0.001, 1000))
def test_only_the_proportions_of_the_weights_count(tier: list[Option], chance: float, factor: float) -> None:
    grown = [replace(option, weight=option.weight * factor) for option in tier]
    before, after = weighted_random(tier, chance), weighted_random(grown, chance)
    total = sum(option.weight for option in tier)
    # Where the number falls on the border between two, rounding may decide.
    border, near = 0.0, False
    for option in tier:
        border += option.weight / total if total else 0
        near = near or abs(border - chance) < 1e-9
    assert near or before[0] == after[0]
