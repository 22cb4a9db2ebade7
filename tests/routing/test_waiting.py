"""Calls that wait for their turn: at a rate limit, for a slot, behind other tenants."""

import pytest

from tests.fake_provider import FakeProvider, Limits, Tokens, ok, rate_limited, status
from tests.routing.bench import MARKS, PATIENCE, Gate, answer_of, litellm, only, running
from tierwise.routing.calls import Call
from tierwise.routing.errors import AllCandidatesFailed, UnknownModel
from tierwise.routing.reliability_settings import RateLimitSettings, ReliabilitySettings
from tierwise.routing.settings import ProviderSettings
from tierwise.storage.ports import Store

pytestmark = MARKS

USED_UP = Limits(requests=1, remaining_requests=0, reset=2)
"""The next request may come in two seconds."""
ONE_A_MINUTE = {"fake/standard": RateLimitSettings(requests_per_minute=1)}


async def answers(calls: list[Call]) -> list[str]:
    return [(await answer_of(call)).content for call in calls]


# Rate limits


async def test_a_limit_of_the_settings_sends_the_next_call_to_the_next_model_without_a_refusal(
    fake: FakeProvider, store: Store
) -> None:
    reliability = ReliabilitySettings(rate_limits=ONE_A_MINUTE)
    async with running(fake, store, reliability=reliability) as bench:
        await bench.ask(prompt="one")
        receipt = await bench.ask(prompt="two")
        assert bench.upstream == ["standard", "peer"]
    assert [attempt.outcome for attempt in receipt.attempts] == ["ok"]
    assert "it would have had to wait for its turn, so fake/peer served" in receipt.reason


async def test_a_limit_for_a_provider_is_one_for_all_of_its_models(fake: FakeProvider, store: Store) -> None:
    limit = {"fake": RateLimitSettings(requests_per_minute=1)}
    reliability = ReliabilitySettings(rate_limits=limit, deadline=20)
    async with running(fake, store, reliability=reliability) as bench:
        await bench.ask(prompt="one")
        error = await bench.failure(prompt="two")
        assert bench.upstream == ["standard"]
    assert isinstance(error, AllCandidatesFailed)
    assert "fake/standard has used up its rate limit for the next " in str(error)
    assert "Try again in " in str(error)
    assert [record.status for record in bench.records] == ["ok", "failed"]


async def test_tokens_count_as_well_as_they_are_known(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", ok(tokens=Tokens(input=100_000, output=10)))
    reliability = ReliabilitySettings(
        rate_limits={"fake/standard": RateLimitSettings(tokens_per_minute=10_000)}
    )
    async with running(fake, store, reliability=reliability) as bench:
        await bench.ask(prompt="one")
        await bench.ask(prompt="two")
        assert bench.upstream == ["standard", "peer"]


@pytest.mark.parametrize("watched", [False, True])
async def test_the_provider_s_own_word_is_enough(fake: FakeProvider, store: Store, watched: bool) -> None:
    fake.always("standard", ok(limits=USED_UP))
    async with running(fake, store) as bench:
        await bench.ask(prompt="one", watched=watched)
        await bench.ask(prompt="two", watched=watched)
        assert bench.upstream == ["standard", "peer"]


async def test_a_refusal_is_not_asked_for_twice(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", rate_limited(retry_after=1000))
    async with running(fake, store) as bench:
        for prompt in ("one", "two", "three"):
            assert (await bench.ask(prompt=prompt)).model == "fake/peer"
        assert bench.upstream == ["standard", "peer", "peer", "peer"]


async def test_where_no_other_model_can_serve_a_call_waits_for_the_limit(
    fake: FakeProvider, store: Store
) -> None:
    fake.next("standard", ok(limits=USED_UP))
    async with running(fake, store, routing=only("fake/standard")) as bench:
        await bench.ask(prompt="one")
        call = await bench.start(prompt="two")
        await bench.queued(1)
        assert (bench.upstream, call.done) == (["standard"], False)
        await answer_of(call)
        assert bench.upstream == ["standard", "standard"]


async def test_a_model_that_was_put_off_gets_its_turn_when_the_others_have_failed(
    fake: FakeProvider, store: Store
) -> None:
    fake.next("standard", ok(limits=USED_UP))
    fake.always("peer", status(401))
    routing = only("fake/standard", "fake/peer")
    async with running(fake, store, routing=routing) as bench:
        await bench.ask(prompt="one")
        receipt = await bench.ask(prompt="two")
        assert bench.upstream == ["standard", "peer", "standard"]
    assert receipt.model == "fake/standard"
    assert [attempt.outcome for attempt in receipt.attempts] == ["authentication_failed", "ok"]


async def test_a_short_wait_is_better_than_another_model(fake: FakeProvider, store: Store) -> None:
    fake.next("standard", ok(limits=USED_UP))
    async with running(fake, store, reliability=ReliabilitySettings(patience=60)) as bench:
        await bench.ask(prompt="one")
        await bench.ask(prompt="two")
        assert bench.upstream == ["standard", "standard"]


# Slots


def providers(fake: FakeProvider, max_concurrent: int) -> dict[str, ProviderSettings]:
    slow = ProviderSettings(api_base=fake.url, max_concurrent=max_concurrent)
    return {"slow": slow, "fake": ProviderSettings(api_base=fake.url)}


async def test_no_more_requests_are_under_way_than_a_provider_bears(fake: FakeProvider, store: Store) -> None:
    gate = Gate()
    fake.always("model", gate)
    settings = litellm(fake, providers=providers(fake, 2))
    async with running(fake, store, litellm=settings, routing=only("slow/model")) as bench:
        calls = [await bench.start(prompt=f"number {n}") for n in range(5)]
        await gate.reached()
        await bench.queued(3)
        assert fake.open_requests <= 2
        assert (await bench.ask(model="fake/small")).content
        gate.opened.set()
        await answers(calls)
        assert bench.upstream.count("model") == 5


async def test_a_call_that_finds_its_model_busy_goes_to_one_that_is_free(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("model", gate)
    settings = litellm(fake, providers=providers(fake, 1))
    reliability = ReliabilitySettings(patience=0)
    routing = only("slow/model", "fake/peer")
    async with running(fake, store, litellm=settings, routing=routing, reliability=reliability) as bench:
        first = await bench.start(prompt="one")
        await gate.reached()
        assert (await bench.ask(prompt="two")).model == "fake/peer"
        gate.opened.set()
        assert (await answer_of(first)).model == "slow/model"


async def test_a_retry_keeps_no_slot_while_it_pauses(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", status(500))
    reliability = ReliabilitySettings(max_concurrent_calls=1)
    settings = litellm(fake, retry_delay=50)
    routing = only("fake/standard")
    async with running(fake, store, litellm=settings, routing=routing, reliability=reliability) as bench:
        pausing = await bench.start(prompt="one")
        while not bench.upstream or fake.open_requests:
            await pausing.wait(0.01)
        assert (await bench.ask(model="fake/peer")).content
        assert not pausing.done
        pausing.cancel()
        await pausing.wait(PATIENCE)


# Tenants


async def test_tenants_are_served_in_turn(fake: FakeProvider, store: Store) -> None:
    gate = Gate()
    fake.next("standard", gate)
    reliability = ReliabilitySettings(max_concurrent_calls=1)
    async with running(fake, store, reliability=reliability) as bench:
        first = await bench.start(prompt="first", tenant="greedy")
        await gate.reached()
        calls: list[Call] = []
        for tenant, number in [("greedy", n) for n in range(4)] + [("modest", n) for n in range(2)]:
            calls.append(await bench.start(prompt=f"{tenant} {number}", tenant=tenant))
            await bench.queued(len(calls))
        gate.opened.set()
        await answers([first, *calls])
        asked = [request.json["messages"][-1]["content"] for request in fake.requests]
    assert asked == ["first", "greedy 0", "modest 0", "greedy 1", "modest 1", "greedy 2", "greedy 3"]


@pytest.mark.parametrize(("name", "hint"), [("fakes/standard", "did you mean fake?"), ("gpt-5", "provider")])
async def test_a_limit_for_what_is_no_provider_is_told_and_not_passed_over(
    fake: FakeProvider, store: Store, name: str, hint: str
) -> None:
    reliability = ReliabilitySettings(rate_limits={name: RateLimitSettings(requests_per_minute=1)})
    async with running(fake, store, reliability=reliability) as bench:
        error = await bench.failure()
    assert isinstance(error, UnknownModel)
    assert str(error).startswith(f"The settings are wrong at reliability.rate_limits. '{name}' begins with")
    assert hint in str(error)
