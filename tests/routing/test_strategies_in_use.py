"""Strategies as callers meet them: the plan, the calls after it, the cache, several engines."""

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from tests.fake_provider import FakeProvider, delay, ok, status
from tests.routing.bench import (
    MARKS,
    PRICES,
    Bench,
    Gate,
    answer_of,
    chat,
    litellm,
    only,
    rules,
    running,
)
from tests.routing.catalogs import catalog
from tierwise.routing.reliability_settings import BreakerSettings, ReliabilitySettings
from tierwise.routing.request import Strategy, Tier
from tierwise.routing.settings import ProviderSettings, RoutingSettings, TierRule, TierRules
from tierwise.storage.ports import Store

pytestmark = MARKS

TRIO = ("fake/a", "fake/b", "fake/c")
UNCACHED = {"cache_ttl_ms": None}


def by(strategy: Strategy, *models: str) -> RoutingSettings:
    return only(*(models or TRIO)).model_copy(update={"strategy": strategy})


def weighted(*weights: float) -> RoutingSettings:
    rule = TierRule(model=TRIO, weights=weights)
    return RoutingSettings(rules=TierRules(standard=rule), strategy="random")


async def planned(bench: Bench, **request: Any) -> list[str]:
    plan = await bench.engine.plan(chat(**request))
    return [candidate.model.name for candidate in plan.candidates]


async def served(bench: Bench, calls: int) -> list[str]:
    """Who serves so many calls, one after another."""
    return [(await bench.ask(prompt=f"question {number}")).model[-1] for number in range(calls)]


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The numbers that are drawn, the next one first; 0.5 when there are none."""
    numbers: list[float] = []
    monkeypatch.setattr(
        "tierwise.routing.reliability.health.random.random", lambda: numbers.pop(0) if numbers else 0.5
    )
    return numbers


# least_cost


async def test_the_cheapest_of_the_tier_comes_first_and_an_unknown_price_last(
    fake: FakeProvider, store: Store
) -> None:
    models = ("fake/large", "fake/unpriced", "fake/small", "fake/standard")
    async with running(fake, store, routing=by("least_cost", *models)) as bench:
        plan = await bench.engine.plan(chat())
        assert (await bench.ask()).reason.endswith("fake/small is first of the standard tier by cost")
    assert [it.model.name for it in plan.candidates] == ["small", "standard", "large", "unpriced"]
    assert plan.candidates[1].reason == "number 2 of the standard tier by cost"
    assert PRICES["fake/small"].input < PRICES["fake/standard"].input


async def test_the_tiers_stay_one_above_the_other_whatever_is_cheaper(
    fake: FakeProvider, store: Store
) -> None:
    routing = rules(complex_=("fake/small",)).model_copy(update={"strategy": "least_cost"})
    async with running(fake, store, routing=routing) as bench:
        assert await planned(bench) == ["standard", "peer", "small"]


async def test_a_call_may_choose_another_strategy_and_a_model_that_is_named_is_first_in_any(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store, routing=only("fake/large", "fake/small")) as bench:
        assert await planned(bench) == ["large", "small"]
        assert await planned(bench, strategy="least_cost") == ["small", "large"]
        assert await planned(bench, strategy="least_cost", model="fake/large", tier=None) == ["large"]


async def test_fallback_models_follow_the_one_that_the_strategy_chose(
    fake: FakeProvider, store: Store
) -> None:
    fallback = ("fake/peer", "fake/large")
    async with running(fake, store, routing=by("least_cost", "fake/large", "fake/small")) as bench:
        assert await planned(bench, fallback_models=fallback) == ["small", "peer", "large"]


# round_robin


async def test_models_take_turns_and_a_preview_shows_whose_turn_is_next_without_taking_it(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store, routing=by("round_robin"), **UNCACHED) as bench:
        for expected in "abcabca":
            for _ in range(2):
                assert (await planned(bench))[0] == expected
            assert (await bench.ask()).model == f"fake/{expected}"
        plan = await bench.engine.plan(chat())
    assert [it.model.name for it in plan.candidates] == ["b", "c", "a"]
    assert plan.reason.endswith("fake/b is first of the standard tier by turn")


async def test_calls_at_once_are_dealt_out_evenly(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, routing=by("round_robin"), **UNCACHED) as bench:
        calls = [await bench.start(prompt=f"question {number}") for number in range(30)]
        assert Counter([(await answer_of(call)).model for call in calls]) == dict.fromkeys(TRIO, 10)


async def test_turns_go_on_where_the_processes_before_left_off(fake: FakeProvider, store: Store) -> None:
    first: list[str] = []
    for number in range(5):
        async with running(fake, store, routing=by("round_robin"), **UNCACHED) as bench:
            first += [(await bench.ask(prompt=f"question {number}")).model[-1]]
    assert first == list("abcab")


async def test_a_model_that_is_left_alone_is_passed_over_and_the_others_keep_taking_turns(
    fake: FakeProvider, store: Store
) -> None:
    fake.next("b", status(500))
    reliability = ReliabilitySettings(breaker=BreakerSettings(failures=1))
    settings = litellm(fake, max_retries=0)
    async with running(
        fake, store, litellm=settings, routing=by("round_robin"), reliability=reliability, **UNCACHED
    ) as bench:
        # In the second call `b` has its turn and fails, so `c` steps in, whose own turn is the third.
        assert await served(bench, 8) == list("accacaca")
    assert bench.upstream == list("abccacaca")


async def test_what_one_of_them_has_answered_is_served_from_the_cache_whosever_turn_it_is(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store, routing=by("round_robin")) as bench:
        first = await bench.ask(prompt="the same")
        again = await bench.ask(prompt="the same")
        assert (first.model, again.model, again.cached) == ("fake/a", "fake/a", True)
        assert again.reason.endswith(
            "fake/b is first of the standard tier by turn; but fake/a has answered this before"
        )
        # It has cost nobody a turn.
        assert (await bench.ask(prompt="another")).model == "fake/b"
        assert bench.upstream == ["a", "b"]


async def test_identical_calls_at_once_still_make_one_request(fake: FakeProvider, store: Store) -> None:
    gate = Gate()
    fake.next("a", gate)
    async with running(fake, store, routing=by("round_robin")) as bench:
        calls = [await bench.start(prompt="the same") for _ in range(3)]
        await gate.reached()
        gate.opened.set()
        receipts = [await answer_of(call) for call in calls]
        assert bench.upstream == ["a"]
        assert {receipt.model for receipt in receipts} == {"fake/a"}
        assert all(
            receipt.reason.endswith("fake/a is first of the standard tier by turn") for receipt in receipts
        )
        assert (await bench.ask(prompt="another")).model == "fake/b"


# random


async def test_a_model_is_drawn_by_its_weight_and_a_preview_shows_the_draw_of_the_next_call(
    fake: FakeProvider, store: Store, chance: list[float]
) -> None:
    chance += [0.05, 0.15, 0.95, 0.39]
    async with running(fake, store, routing=weighted(1, 3, 6), **UNCACHED) as bench:
        for expected in "abcb":
            assert (await planned(bench))[0] == (await planned(bench))[0] == expected
            answer = await bench.ask()
            assert answer.model == f"fake/{expected}"
            assert answer.reason.endswith(f"fake/{expected} is first of the standard tier by lot")


async def test_without_weights_each_model_has_the_same_chance(
    fake: FakeProvider, store: Store, chance: list[float]
) -> None:
    chance += [0.32, 0.34, 0.65, 0.67]
    async with running(fake, store, routing=by("random"), **UNCACHED) as bench:
        assert await served(bench, 4) == list("abbc")


def test_weights_are_one_for_each_model() -> None:
    with pytest.raises(ValidationError, match="`weights` has 2 numbers for 3 models; give one for each"):
        weighted(1, 2)
    with pytest.raises(ValidationError):
        weighted(1, 2, -1)


def test_a_tier_that_has_the_models_of_the_one_below_has_its_weights_too() -> None:
    providers = {"fake": ProviderSettings(api_base="http://127.0.0.1:9/v1")}
    models = catalog(weighted(1, 2, 3), providers=providers)
    assert models.weights == {Tier.STANDARD: (1, 2, 3), Tier.COMPLEX: (1, 2, 3)}
    assert catalog(only(*TRIO), providers=providers).weights == {}


# least_latency


async def test_each_model_is_tried_and_then_the_fastest_is_preferred(
    fake: FakeProvider, store: Store, chance: list[float]
) -> None:
    fake.always("a", delay(0.2))
    fake.always("c", delay(0.4))
    async with running(fake, store, routing=by("least_latency"), **UNCACHED) as bench:
        assert sorted(await served(bench, 3)) == ["a", "b", "c"]
        await bench.engine.vitals.health()  # reads the ledger anew
        plan = await bench.engine.plan(chat())
        assert [it.model.name for it in plan.candidates] == ["b", "a", "c"]
        assert plan.first.reason.startswith("first of the standard tier by speed (")
        assert plan.first.reason.endswith(" ms a token)")
        assert (await bench.ask()).model == "fake/b"


async def test_calls_at_once_do_not_all_go_to_a_model_that_nobody_knows_yet(
    fake: FakeProvider, store: Store, chance: list[float]
) -> None:
    gates = {name: Gate() for name in "abc"}
    for name, gate in gates.items():
        fake.always(name, gate)
    async with running(fake, store, routing=by("least_latency"), **UNCACHED) as bench:
        calls = [await bench.start(prompt=f"question {number}") for number in range(6)]
        for gate in gates.values():
            await gate.reached()
            gate.opened.set()
        assert Counter([(await answer_of(call)).model for call in calls]) == dict.fromkeys(TRIO, 2)


async def test_a_model_that_has_only_failed_comes_last(
    fake: FakeProvider, store: Store, chance: list[float]
) -> None:
    fake.always("a", status(401))
    async with running(fake, store, routing=by("least_latency"), **UNCACHED) as bench:
        await served(bench, 2)
        await bench.engine.vitals.health()
        plan = await bench.engine.plan(chat())
    assert plan.candidates[-1].model.name == "a"
    assert plan.candidates[-1].reason == "number 3 of the standard tier by speed (no answer of late)"


async def test_now_and_then_a_slower_model_is_asked_again(
    fake: FakeProvider, store: Store, chance: list[float]
) -> None:
    fake.next("a", delay(0.3))
    async with running(fake, store, routing=by("least_latency", "fake/a", "fake/b"), **UNCACHED) as bench:
        assert await served(bench, 2) == ["a", "b"]
        chance += [0.01]  # drawn with the next call, for the one after it
        await bench.engine.vitals.health()
        assert await served(bench, 2) == ["b", "a"]


async def test_without_a_ledger_models_whose_speed_is_unknown_take_turns(
    fake: FakeProvider, store: Store, chance: list[float]
) -> None:
    async with running(fake, store, routing=by("least_latency"), tracking=False, **UNCACHED) as bench:
        assert await served(bench, 6) == list("abcabc")


# All of them


@pytest.mark.parametrize("strategy", ["least_cost", "least_latency", "round_robin", "random"])
async def test_where_the_first_fails_the_next_of_the_tier_serves(
    fake: FakeProvider, store: Store, strategy: Strategy
) -> None:
    for name in "ab":
        fake.always(name, status(401))
    fake.always("c", ok(content="served"))
    async with running(fake, store, routing=by(strategy)) as bench:
        assert (await bench.ask()).content == "served"
        assert bench.upstream[-1] == "c"
