"""A cheap model answers first; a better one where that answer is not good enough."""

import pytest

from tests.fake_provider import Behaviour, FakeProvider, ok, status
from tests.routing.bench import MARKS, Gate, answer_of, litellm, rules, running
from tierwise.routing.cascade import judge_rejects
from tierwise.routing.money.pricing import usd
from tierwise.routing.reliability_settings import ReliabilitySettings
from tierwise.routing.request import Tier
from tierwise.routing.settings import CascadeSettings, ProviderSettings, RoutingSettings
from tierwise.storage.outcomes import OutcomeSource, Verdict
from tierwise.storage.ports import Store

pytestmark = MARKS


def routing(**cascade: object) -> RoutingSettings:
    settings = CascadeSettings.model_validate(cascade)
    return rules().model_copy(update={"strategy": "cascade", "cascade": settings})


async def test_a_good_answer_of_the_cheapest_tier_stands(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, routing=routing()) as bench:
        receipt = await bench.ask(tier=None, prompt="Prove that there are infinitely many primes.")
        assert bench.upstream == ["small"]
    assert receipt.tier is Tier.SIMPLE
    assert "where the cascade begins" in receipt.reason


WEAK = {
    "cut off": (ok(finish_reason="length"), "cut off"),
    "refusal": (
        ok(content="I\N{RIGHT SINGLE QUOTATION MARK}m sorry, but I can't help with that."),
        "refusal",
    ),
    "unsure": (ok(logprob=-2.5), "unsure"),
}


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize(("behaviour", "fault"), WEAK.values(), ids=WEAK)
async def test_a_weak_answer_is_followed_by_one_of_the_next_tier_and_both_are_paid(
    fake: FakeProvider, store: Store, behaviour: Behaviour, fault: str, watched: bool
) -> None:
    fake.always("small", behaviour)
    async with running(fake, store, routing=routing()) as bench:
        receipt = await bench.ask(tier=None, watched=watched)
        assert bench.upstream == ["small", "standard"]
    assert receipt.model == "fake/standard"
    assert fault in receipt.reason
    assert [attempt.outcome for attempt in receipt.attempts] == ["escalated", "ok"]
    costs = [attempt.cost_nano_usd for attempt in receipt.attempts]
    assert all(costs)
    assert receipt.cost == sum(cost or 0 for cost in costs)
    (outcome,) = await store.outcomes(10)
    assert (outcome.call_id, outcome.verdict, outcome.source) == (
        receipt.call_id,
        Verdict.TOO_WEAK,
        OutcomeSource.ESCALATED,
    )


async def test_probable_tokens_are_no_fault_and_the_floor_can_be_moved(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("small", ok(logprob=-0.5))
    async with running(fake, store, routing=routing()) as bench:
        assert (await bench.ask(tier=None)).model == "fake/small"
    async with running(fake, store, routing=routing(min_mean_logprob=-0.1)) as bench:
        assert (await bench.ask(tier=None, use_cache=False)).model == "fake/standard"


async def test_the_last_tier_is_not_questioned(fake: FakeProvider, store: Store) -> None:
    for model in ("small", "standard", "large"):
        fake.always(model, ok(finish_reason="length"))
    async with running(fake, store, routing=routing()) as bench:
        receipt = await bench.ask(tier=None)
        assert bench.upstream == ["small", "standard", "large"]
    assert (receipt.model, receipt.finish_reason) == ("fake/large", "length")


async def test_a_weak_answer_is_better_than_none(fake: FakeProvider, store: Store) -> None:
    fake.always("small", ok(finish_reason="length"))
    for model in ("standard", "peer", "large"):
        fake.always(model, status(401))
    async with running(fake, store, routing=routing(), litellm=litellm(fake)) as bench:
        receipt = await bench.ask(tier=None)
    assert receipt.model == "fake/small"
    assert len(receipt.attempts) == 4


async def test_one_call_can_cascade_where_the_settings_do_not(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store) as bench:
        receipt = await bench.ask(prompt="Design a distributed database", tier=None, strategy="cascade")
        begun_higher = await bench.ask(tier=Tier.STANDARD, strategy="cascade")
        named = await bench.ask(model="fake/large", tier=None, strategy="cascade")
    assert [receipt.model, begun_higher.model, named.model] == ["fake/small", "fake/standard", "fake/large"]


@pytest.mark.parametrize(("verdict", "model"), [("NO", "fake/large"), ("YES", "fake/small")])
async def test_a_judge_model_decides_and_its_cost_is_on_the_receipt(
    fake: FakeProvider, store: Store, verdict: str, model: str
) -> None:
    fake.always("peer", ok(content=verdict))
    async with running(fake, store, routing=routing(judge_model="fake/peer")) as bench:
        receipt = await bench.ask(tier=None)
        judged = next(request.json for request in fake.requests if request.json["model"] == "peer")
    assert receipt.model == model
    assert "answer from small" in judged["messages"][-1]["content"]
    assert receipt.cost is not None
    assert usd(receipt.cost) > 0
    assert "fake/peer" in [attempt.model for attempt in receipt.attempts]


async def test_an_answer_passes_where_the_judge_itself_fails(fake: FakeProvider, store: Store) -> None:
    fake.always("peer", status(500))
    async with running(fake, store, routing=routing(judge_model="fake/peer")) as bench:
        assert (await bench.ask(tier=None)).model == "fake/small"


async def test_a_judge_without_a_key_lets_the_answer_pass(fake: FakeProvider, store: Store) -> None:
    providers = litellm(fake).providers | {
        "locked": ProviderSettings(api_base=fake.url, api_key_env="ABSENT_KEY")
    }
    fake.always("judge", status(401))
    settings = litellm(fake, providers=providers)
    async with running(fake, store, routing=routing(judge_model="locked/judge"), litellm=settings) as bench:
        assert (await bench.ask(tier=None)).model == "fake/small"


@pytest.mark.parametrize("verdict", ["No", " **NO**", "no, because …", '"No."'])
def test_a_plain_no_rejects(verdict: str) -> None:
    assert judge_rejects(verdict)


@pytest.mark.parametrize("verdict", ["Yes", "", "I think so", "YES, no doubt"])
def test_anything_else_lets_the_answer_pass(verdict: str) -> None:
    assert not judge_rejects(verdict)


async def test_a_judge_who_would_have_to_be_waited_for_lets_the_answer_pass(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("judge", gate)
    providers = {
        "fake": ProviderSettings(api_base=fake.url),
        "court": ProviderSettings(api_base=fake.url, max_concurrent=1),
    }
    settings = litellm(fake, providers=providers)
    patience = ReliabilitySettings(patience=0.1)
    judged = routing(judge_model="court/judge")
    async with running(fake, store, litellm=settings, routing=judged, reliability=patience) as bench:
        first = await bench.start(prompt="one", tier=Tier.SIMPLE)
        await gate.reached()
        assert (await bench.ask(prompt="two", tier=Tier.SIMPLE)).model == "fake/small"
        gate.opened.set()
        await answer_of(first)
