"""What moves a call to another tier than its own score: overrides, share, verdicts."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.fake_provider import FakeProvider
from tests.routing.bench import MARKS, Bench, answer_of, chat, rules, running
from tierwise.routing.request import ChatRequest, Message, Tier
from tierwise.routing.settings import Override, RoutingSettings
from tierwise.routing.steering import FEWEST_SCORES, Steering, cuts_for_share, overridden
from tierwise.storage.errors import UnknownCall
from tierwise.storage.outcomes import OutcomeSource, Verdict
from tierwise.storage.ports import Store

pytestmark = MARKS

FIXED = (0.3, 0.7)


def routing(**changes: object) -> RoutingSettings:
    return rules().model_copy(update=changes)


# Overrides


@pytest.mark.parametrize(
    ("override", "asked", "matches"),
    [
        (Override(tier=Tier.SIMPLE, operation="commit"), {"operation": "commit"}, True),
        (Override(tier=Tier.SIMPLE, operation="commit"), {"operation": "chat"}, False),
        (Override(tier=Tier.SIMPLE, pattern=r"^fix\b"), {"prompt": "fix it"}, True),
        (Override(tier=Tier.SIMPLE, pattern=r"^fix\b"), {"prompt": "do fix it"}, False),
        (Override(tier=Tier.SIMPLE, keywords=("K8s",)), {"prompt": "restart the k8s pod"}, True),
        (Override(tier=Tier.SIMPLE, keywords=("pod",)), {"prompt": "a podcast"}, False),
        (Override(tier=Tier.SIMPLE, keywords=("c++",)), {"prompt": "write C++ code"}, True),
    ],
)
def test_an_override_matches_by_operation_pattern_or_keyword(
    override: Override, asked: dict[str, Any], matches: bool
) -> None:
    request = replace(ChatRequest(prompt="x"), **asked)
    assert overridden(request, [override]).tier == (Tier.SIMPLE if matches else None)


def test_the_first_override_that_matches_decides() -> None:
    first, second = (Override(tier=tier, keywords=("a",)) for tier in (Tier.COMPLEX, Tier.SIMPLE))
    assert overridden(chat(prompt="a"), [first, second]).tier is Tier.COMPLEX


@pytest.mark.parametrize("values", [{}, {"pattern": "("}, {"pattern": "a", "tier": "hard"}])
def test_an_override_that_matches_nothing_or_is_malformed_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Override.model_validate({"tier": "simple", **values})


async def test_an_overridden_call_goes_to_its_tier_and_says_why(fake: FakeProvider, store: Store) -> None:
    overrides = (Override(tier=Tier.COMPLEX, operation="legal"),)
    async with running(fake, store, routing=routing(overrides=overrides)) as bench:
        receipt = await bench.ask(prompt="Hello!", tier=None, operation="legal")
        chosen = await bench.ask(prompt="Hello!", tier=Tier.SIMPLE, operation="legal")
    assert receipt.model == "fake/large"
    assert receipt.reason.startswith("complex: override for legal")
    assert chosen.model == "fake/small"


# Share


@given(st.lists(st.floats(0, 1), min_size=FEWEST_SCORES, unique=True), st.floats(0.01, 0.99))
def test_the_share_of_calls_above_the_cut_is_the_one_asked_for(scores: list[float], share: float) -> None:
    standard, complex_ = cuts_for_share(scores, share, FIXED)
    assert standard <= complex_
    assert sum(score >= complex_ for score in scores) == int(len(scores) * share)


def test_calls_of_one_score_stay_together_below_the_cut() -> None:
    _, complex_ = cuts_for_share([0.1] * FEWEST_SCORES, 0.2, FIXED)
    assert 0.1 < complex_ < 0.2


def test_the_fixed_cuts_stand_until_enough_calls_are_known() -> None:
    assert cuts_for_share([0.1] * (FEWEST_SCORES - 1), 0.2, FIXED) == FIXED
    assert cuts_for_share([0.1] * FEWEST_SCORES, 0.2, FIXED) != FIXED


async def test_the_hardest_part_of_the_users_own_traffic_goes_to_the_complex_tier(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store) as bench:
        for number in range(FEWEST_SCORES):
            await bench.ask(prompt="Hi!" if number % 2 else "Thanks a lot!", tier=None)
    async with running(fake, store, routing=routing(strong_share=0.2)) as bench:
        assert (await bench.ask(prompt="Explain recursion", tier=None)).tier is Tier.COMPLEX
        assert (await bench.ask(prompt="Hi!", tier=None)).tier is not Tier.COMPLEX


# Verdicts


async def test_a_verdict_is_kept_with_what_is_known_of_the_call(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store) as bench:
        receipt = await bench.ask()
        await bench.engine.judgement.rate(receipt.call_id, Verdict.GOOD, "to the point")
        with pytest.raises(UnknownCall, match=re.escape("nope")):
            await bench.engine.judgement.rate("nope", Verdict.GOOD)
    (outcome,) = await store.outcomes(10)
    assert (outcome.call_id, outcome.verdict, outcome.source, outcome.note) == (
        receipt.call_id,
        Verdict.GOOD,
        OutcomeSource.RATED,
        "to the point",
    )
    assert outcome.tier_served == Tier.STANDARD


async def test_too_weak_raises_the_tier_for_the_rest_of_that_conversation_and_no_other(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store) as bench:
        weak = await bench.ask(prompt="Hello!", tier=None)
        assert weak.tier is Tier.SIMPLE
        await bench.engine.judgement.rate(weak.call_id, Verdict.TOO_WEAK)
        turns = (Message("user", "Hello!"), Message("assistant", weak.content))
        going_on = await bench.ask(prompt="Thanks!", tier=None, history=turns)
        elsewhere = await bench.ask(prompt="Thanks!", tier=None)
    assert going_on.tier is Tier.STANDARD
    assert "too weak" in going_on.reason
    assert elsewhere.tier is Tier.SIMPLE


def test_steering_raises_but_never_lowers_a_floor() -> None:
    floor = Steering(floor=Tier.STANDARD)
    assert [floor.apply(tier) for tier in Tier] == [Tier.STANDARD, Tier.STANDARD, Tier.COMPLEX]


async def sources(store: Store) -> list[tuple[str | None, OutcomeSource]]:
    return [(outcome.call_id, outcome.source) for outcome in await store.outcomes(10)]


async def test_asking_the_same_again_of_a_stronger_model_counts_against_the_first(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store) as bench:
        first = await bench.ask(prompt="Hello!", tier=None)
        await bench.ask(prompt="Hello!", model="fake/large", tier=None)
        await settled(bench)
    assert await sources(store) == [(first.call_id, OutcomeSource.RETRIED)]


@pytest.mark.parametrize(
    "again",
    [
        {"prompt": "Hello!", "tier": None},
        {"prompt": "Hello!", "model": "fake/small", "tier": None},
        {"prompt": "Hello there!", "tier": Tier.COMPLEX},
    ],
)
async def test_asking_otherwise_says_nothing_of_the_first(
    fake: FakeProvider, store: Store, again: dict[str, Any]
) -> None:
    async with running(fake, store) as bench:
        await bench.ask(prompt="Hello!", tier=None)
        await bench.ask(use_cache=False, **again)
        await settled(bench)
    assert await sources(store) == []


async def settled(bench: Bench) -> None:
    """Ends with another call, behind which all that the ones before it have to write is written."""
    call = await bench.start(prompt="one more", tier=Tier.SIMPLE)
    await answer_of(call)
