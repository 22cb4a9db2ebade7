"""Models that keep failing are left alone for a while: in the plan, in a call, by all engines on a store."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.fake_provider import (
    FakeProvider,
    faults,
    garbage,
    hang,
    ok,
    rate_limited,
    refusal,
    refuse,
    status,
)
from tests.routing.bench import MARKS, PATIENCE, Bench, Gate, answer_of, chat, litellm, only, rules, running
from tests.routing.catalogs import catalog
from tierwise.routing.errors import AllCandidatesFailed, DeadlineExceeded, NoCandidate
from tierwise.routing.reliability_settings import BreakerSettings, ReliabilitySettings
from tierwise.routing.request import Tier
from tierwise.routing.settings import LearningSettings, LiteLLMSettings, ProviderSettings, RoutingSettings
from tierwise.storage.breakers import Breaker
from tierwise.storage.budgets import AtLimit, Budget, BudgetPeriod
from tierwise.storage.ports import Store

pytestmark = MARKS

PROVIDERS_FAULT = {
    "server_failed": status(500),
    "bad_response": garbage(),
    "connection_failed": refuse(),
    "unsafe_response": faults.redirects("/elsewhere"),
}
NO_FAULT_OF_ITS = {
    "rate_limited": rate_limited(retry_after=0),
    "authentication_failed": status(401),
    "model_not_found": status(404),
    "content_refused": refusal(400, "This violates our content policy."),
    "context_window_exceeded": refusal(400, "This model's maximum context length is 10 tokens."),
    "request_rejected": refusal(400, "'stop' has too many items"),
}
UNCACHED = {"cache_ttl_ms": None}
PAIR = only("fake/standard", "fake/peer")


class Clock:
    """One that stands still until it is moved on."""

    def __init__(self, *benches: Bench) -> None:
        self._now = 1_795_003_200_000
        for bench in benches:
            bench.engine.vitals.breakers.now = lambda: self._now

    def move(self, seconds: float) -> None:
        self._now += round(seconds * 1000)


def breaker(failures: int = 1, **settings: float | bool) -> ReliabilitySettings:
    return ReliabilitySettings(breaker=BreakerSettings.model_validate({"failures": failures, **settings}))


def no_retries(fake: FakeProvider) -> LiteLLMSettings:
    return litellm(fake, max_retries=0)


async def excluded(bench: Bench) -> dict[str, str]:
    """Why a plan leaves models out."""
    return {item.model.id: item.reason for item in (await bench.engine.plan(chat())).excluded}


async def noted(store: Store) -> dict[str, tuple[int, str | None]]:
    """The failures in a row of each model and the last of them."""
    return {it.deployment.partition(" ")[0]: (it.failures, it.error) for it in await store.breakers()}


# When it opens


@pytest.mark.parametrize("outcome", PROVIDERS_FAULT)
async def test_after_five_failures_in_a_row_a_model_is_no_longer_asked_and_the_plan_says_why(
    fake: FakeProvider, store: Store, outcome: str
) -> None:
    fake.always("standard", PROVIDERS_FAULT[outcome])
    async with running(fake, store, litellm=no_retries(fake), **UNCACHED) as bench:
        Clock(bench)
        for _ in range(7):
            assert (await bench.ask()).model == "fake/peer"
        assert bench.upstream == ["standard", "peer"] * 5 + ["peer"] * 2
        assert await excluded(bench) == {
            "fake/standard": "breaker open after 5 failures, tried again in 60 s"
        }
        assert (await bench.ask()).reason.endswith("fake/peer is number 2 of the standard tier")
    assert await noted(store) == {"fake/standard": (5, outcome)}


@pytest.mark.parametrize("outcome", NO_FAULT_OF_ITS)
async def test_a_failure_that_says_nothing_of_the_provider_does_not_count(
    fake: FakeProvider, store: Store, outcome: str
) -> None:
    fake.always("standard", NO_FAULT_OF_ITS[outcome])
    async with running(fake, store, litellm=no_retries(fake), reliability=breaker(1), **UNCACHED) as bench:
        for _ in range(2):
            await (await bench.start()).wait(PATIENCE)
        assert [model for model in bench.upstream if model == "standard"] == ["standard"] * 2
    assert await store.breakers() == []


async def test_a_model_that_takes_longer_than_an_attempt_may_counts_as_failing(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", hang())
    settings = litellm(fake, max_retries=0, timeout=0.3)
    async with running(fake, store, litellm=settings, **UNCACHED) as bench:
        await bench.ask()
    assert await noted(store) == {"fake/standard": (1, "timeout")}


async def test_a_call_whose_own_deadline_is_over_says_nothing_of_the_provider(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", hang())
    async with running(fake, store, reliability=ReliabilitySettings(deadline=0.3)) as bench:
        assert isinstance(await bench.failure(), DeadlineExceeded)
    assert await store.breakers() == []


async def test_a_call_that_is_given_up_says_nothing_of_the_provider(fake: FakeProvider, store: Store) -> None:
    gate = Gate()
    fake.always("standard", gate)
    async with running(fake, store) as bench:
        call = await bench.start()
        await gate.reached()
        call.cancel()
        assert await call.wait(PATIENCE)
    assert await store.breakers() == []


async def test_a_success_in_between_begins_the_count_anew(fake: FakeProvider, store: Store) -> None:
    fake.next("standard", status(500), status(500), ok(), status(500), status(500))
    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, reliability=breaker(3), **UNCACHED) as bench:
        Clock(bench)
        for _ in range(6):
            await bench.ask()
        assert bench.upstream.count("standard") == 6
        assert await excluded(bench) == {}


async def test_a_model_that_goes_down_within_a_call_is_not_retried_any_further(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", status(500))
    settings = litellm(fake, max_retries=5)
    async with running(fake, store, litellm=settings, reliability=breaker(2)) as bench:
        receipt = await bench.ask()
        assert bench.upstream == ["standard", "standard", "peer"]
    assert [attempt.outcome for attempt in receipt.attempts] == ["server_failed", "server_failed", "ok"]


async def test_a_call_that_waits_to_retry_goes_on_to_the_next_model_when_another_call_opens_the_breaker(
    fake: FakeProvider, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, go_on, sleep = anyio.Event(), anyio.Event(), anyio.sleep

    async def wait_for_the_other(delay: float) -> None:
        if not 6 <= delay <= 8:  # not the router's
            return await sleep(delay)
        waiting.set()
        return await go_on.wait()

    monkeypatch.setattr("tierwise.routing.router.anyio.sleep", wait_for_the_other)
    fake.always("standard", status(500))
    settings = litellm(fake, retry_delay=8)
    async with running(fake, store, litellm=settings, reliability=breaker(2), **UNCACHED) as bench:
        first = await bench.start(prompt="the first")
        with anyio.fail_after(PATIENCE):
            await waiting.wait()
        second = await bench.ask(prompt="the second")
        go_on.set()
        outcomes = [[it.outcome for it in receipt.attempts] for receipt in (second, await answer_of(first))]
        assert bench.upstream == ["standard", "standard", "peer", "peer"]
    assert outcomes == [["server_failed", "ok"]] * 2


async def test_the_breaker_can_be_switched_off(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", status(500))
    settings, reliability = no_retries(fake), breaker(1, enabled=False)
    async with running(fake, store, litellm=settings, reliability=reliability, **UNCACHED) as bench:
        for _ in range(3):
            await bench.ask()
        assert bench.upstream == ["standard", "peer"] * 3
    assert await store.breakers() == []


# When it is tried again


async def opened(bench: Bench) -> Clock:
    """A bench on which `standard` has failed, at a clock."""
    clock = Clock(bench)
    bench.fake.next("standard", status(500))
    await bench.ask()
    bench.fake.requests.clear()
    return clock


async def test_of_many_calls_after_the_cool_down_one_tries_and_its_success_lets_all_back(
    fake: FakeProvider, store: Store
) -> None:
    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, reliability=breaker(1), **UNCACHED) as bench:
        clock = await opened(bench)
        clock.move(59.5)
        await bench.ask()
        assert bench.upstream == ["peer"]
        assert await excluded(bench) == {"fake/standard": "breaker open after 1 failure, tried again in 1 s"}
        clock.move(0.5)
        gate = Gate()
        fake.next("standard", gate)
        first, *others = [await bench.start(prompt=f"question {n}") for n in range(10)]
        assert first.plan.first.reason == "first of the standard tier; tried again after 1 failure"
        await gate.reached()
        assert {(await answer_of(call)).model for call in others} == {"fake/peer"}
        assert await excluded(bench) == {
            "fake/standard": "breaker open after 1 failure, being tried again right now"
        }
        gate.opened.set()
        assert (await answer_of(first)).model == "fake/standard"
        assert bench.upstream.count("standard") == 1
        assert (await bench.ask()).model == "fake/standard"
    assert await store.breakers() == []


async def test_a_trial_that_fails_costs_another_cool_down(fake: FakeProvider, store: Store) -> None:
    settings = litellm(fake, max_retries=3)
    async with running(fake, store, litellm=settings, reliability=breaker(1), **UNCACHED) as bench:
        clock = await opened(bench)
        clock.move(60)
        fake.next("standard", status(500))
        await bench.ask()
        clock.move(59)
        await bench.ask()
        assert bench.upstream == ["standard", "peer", "peer"]
        clock.move(1)
        assert (await bench.ask()).model == "fake/standard"


@pytest.mark.parametrize("outcome", ["authentication_failed", "rate_limited"])
async def test_a_trial_that_tells_nothing_of_the_provider_leaves_the_next_call_to_try(
    fake: FakeProvider, store: Store, outcome: str
) -> None:
    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, reliability=breaker(1), **UNCACHED) as bench:
        clock = await opened(bench)
        clock.move(60)
        fake.next("standard", NO_FAULT_OF_ITS[outcome])
        await bench.ask()
        assert (await bench.ask()).model == "fake/standard"
        assert bench.upstream == ["standard", "peer", "standard"]


async def test_a_trial_that_is_given_up_leaves_the_next_call_to_try(fake: FakeProvider, store: Store) -> None:
    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, reliability=breaker(1), **UNCACHED) as bench:
        clock = await opened(bench)
        clock.move(60)
        gate = Gate()
        fake.next("standard", gate)
        call = await bench.start()
        await gate.reached()
        call.cancel()
        assert await call.wait(PATIENCE)
        assert (await bench.ask()).model == "fake/standard"


async def test_whoever_tried_and_died_is_waited_for_no_longer_than_an_attempt_takes(
    fake: FakeProvider, store: Store
) -> None:
    settings = litellm(fake, max_retries=0, timeout=20)
    async with running(fake, store, litellm=settings, reliability=breaker(1), **UNCACHED) as bench:
        clock = await opened(bench)
        clock.move(60)
        [known] = await store.breakers()
        now = bench.engine.vitals.breakers.now()
        assert await store.claim_probe(known.deployment, now=now, lease_ms=30_000)  # by another process
        clock.move(29)
        assert (await bench.ask()).model == "fake/peer"
        clock.move(1)
        assert (await bench.ask()).model == "fake/standard"


@pytest.mark.parametrize("jump", [-365 * 86_400, 365 * 86_400])
async def test_a_clock_that_jumps_leaves_nobody_out_for_ever(
    fake: FakeProvider, store: Store, jump: float
) -> None:
    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, reliability=breaker(1), **UNCACHED) as bench:
        clock = await opened(bench)
        clock.move(jump)
        assert (await bench.ask()).model == "fake/standard"


# When nobody is left


async def test_when_all_are_left_alone_the_error_says_when_the_first_is_tried_again(
    fake: FakeProvider, store: Store
) -> None:
    for model in ("standard", "peer"):
        fake.always(model, status(500))
    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, routing=PAIR, reliability=breaker(1)) as bench:
        clock = Clock(bench)
        failed = str(await bench.failure())
        assert "Every model that could serve this call failed." in failed
        assert failed.endswith("Try again in 60 s.")
        clock.move(20)
        error = await bench.failure()
        assert isinstance(error, NoCandidate)
        assert str(error) == (
            "No model can serve this call (fake/standard: breaker open after 1 failure, tried again in 40 s;"
            " fake/peer: breaker open after 1 failure, tried again in 40 s)."
            " Try again in 40 s, or choose another model."
        )
        assert bench.upstream == ["standard", "peer"]


async def test_where_the_others_fail_too_the_error_tells_of_those_that_were_left_alone(
    fake: FakeProvider, store: Store
) -> None:
    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, routing=PAIR, reliability=breaker(1)) as bench:
        clock = await opened(bench)
        clock.move(10)
        fake.always("peer", status(401))
        error = await bench.failure(prompt="another question")
    assert isinstance(error, AllCandidatesFailed)
    assert "fake/standard: breaker open after 1 failure, tried again in 50 s" in str(error)
    assert str(error).endswith("Try again in 50 s.")


async def test_what_the_cache_knows_of_a_model_that_is_left_alone_is_still_served(
    fake: FakeProvider, store: Store
) -> None:
    routing, settings = only("fake/standard"), no_retries(fake)
    async with running(fake, store, litellm=settings, routing=routing, reliability=breaker(1)) as bench:
        Clock(bench)
        await bench.ask(prompt="a known question")
        fake.next("standard", status(500))
        await bench.failure(prompt="a question that fails")
        again = await bench.ask(prompt="a known question")
        assert (again.cached, again.model) == (True, "fake/standard")
        assert again.reason.endswith("no model can serve it; but fake/standard has answered this before")
        assert isinstance(await bench.failure(prompt="a new question"), NoCandidate)
        assert isinstance(await bench.failure(prompt="a known question", use_cache=False), NoCandidate)
        assert bench.upstream == ["standard", "standard"]


async def test_a_budget_that_asks_for_a_cheaper_model_does_not_get_one_that_is_left_alone(
    fake: FakeProvider, store: Store
) -> None:
    downgrading = Budget(
        name="all", period=BudgetPeriod.TOTAL, limit_nano_usd=10_000_000, at_limit=AtLimit.DOWNGRADE
    )
    await store.set_budget(downgrading, period_start=0)
    async with running(fake, store, litellm=no_retries(fake), reliability=breaker(1), **UNCACHED) as bench:
        Clock(bench)
        cheapest = await bench.ask(tier=Tier.COMPLEX, max_tokens=50)
        fake.next("small", status(500))
        await bench.ask(tier=Tier.SIMPLE, max_tokens=50)
        next_cheapest = await bench.ask(tier=Tier.COMPLEX, max_tokens=50)
    assert (cheapest.model, next_cheapest.model) == ("fake/small", "fake/standard")


# Shared, and when the store is no help


async def test_engines_on_one_store_share_what_they_learn(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", status(500))
    settings = no_retries(fake)
    async with (
        running(fake, store, litellm=settings, reliability=breaker(2), **UNCACHED) as one,
        running(fake, store, litellm=settings, reliability=breaker(2), **UNCACHED) as other,
    ):
        clock = Clock(one, other)
        await one.ask()
        await other.ask()
        clock.move(1)  # what others did goes unnoticed for no longer
        assert await excluded(one) == await excluded(other)
        assert list(await excluded(one)) == ["fake/standard"]
        await one.ask()
    assert one.upstream == ["standard", "peer", "standard", "peer", "peer"]


async def test_an_endpoint_that_fails_leaves_the_same_model_elsewhere_alone(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store, litellm=no_retries(fake), reliability=breaker(1)) as bench:
        await opened(bench)
        [known] = await store.breakers()
    assert known.deployment == f"fake/standard at {fake.url}"


BROKEN_STORES = {
    "unreadable": "DROP TABLE breakers",
    "unwritable": "CREATE TRIGGER refuse BEFORE INSERT ON breakers BEGIN SELECT RAISE(FAIL, 'no room'); END",
}


@pytest.mark.parametrize("damage", BROKEN_STORES)
async def test_without_a_store_a_process_leaves_failing_models_alone_by_itself(
    fake: FakeProvider, store: Store, database: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, reliability=breaker(2), **UNCACHED) as bench:
        change(database, BROKEN_STORES[damage])
        clock = Clock(bench)
        fake.always("standard", status(500))
        for _ in range(3):
            assert (await bench.ask()).model == "fake/peer"
            clock.move(1)
        assert bench.upstream == ["standard", "peer", "standard", "peer", "peer"]
        fake.always("standard", ok())
        clock.move(60)
        assert (await bench.ask()).model == "fake/standard"
        assert (await bench.ask()).model == "fake/standard"
    assert "is not shared with other processes" in caplog.text


async def test_a_process_that_could_not_tell_the_store_goes_by_it_again_once_it_can(
    fake: FakeProvider, store: Store, database: Path
) -> None:
    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, reliability=breaker(1), **UNCACHED) as bench:
        clock = Clock(bench)
        fake.always("standard", status(500))
        change(database, BROKEN_STORES["unwritable"])
        await bench.ask()
        change(database, "DROP TRIGGER refuse")
        assert (await store.breakers(), list(await excluded(bench))) == ([], ["fake/standard"])
        clock.move(60)
        await bench.ask()
        [known] = await store.breakers()
        await store.note_success(known.deployment)  # of another process
        clock.move(1)
        assert await excluded(bench) == {}


def change(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(statement)


async def test_a_failure_is_not_forgotten_for_a_reading_that_began_before_it(
    fake: FakeProvider, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, go_on, read_breakers = anyio.Event(), anyio.Event(), store.breakers

    async def slowly() -> list[Breaker]:
        found = await read_breakers()
        read.set()
        await go_on.wait()
        return found

    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, reliability=breaker(1), **UNCACHED) as bench:
        clock, gate = Clock(bench), Gate(status(500))
        fake.next("standard", gate)
        call = await bench.start()
        await gate.reached()
        clock.move(1)
        monkeypatch.setattr(store, "breakers", slowly)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bench.engine.plan, chat())
                await read.wait()
                gate.opened.set()
                while not await read_breakers():  # noqa: ASYNC110  the store tells nobody
                    await anyio.sleep(0.005)
                go_on.set()
        await answer_of(call)
        assert list(await excluded(bench)) == ["fake/standard"]


async def test_a_call_that_goes_well_writes_nothing_for_the_breakers_sake(
    fake: FakeProvider, store: Store, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    off = LearningSettings(enabled=False)
    async with running(fake, store, tracking=False, learning=off, **UNCACHED) as bench:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # until it ends every write would wait, and then fail
            for _ in range(3):
                await bench.ask()
            connection.execute("ROLLBACK")
    assert caplog.text == ""


# In the plan


async def test_a_judge_that_is_left_alone_lets_answers_pass(fake: FakeProvider, store: Store) -> None:
    routing = RoutingSettings.model_validate(
        rules().model_dump() | {"strategy": "cascade", "cascade": {"judge_model": "fake/judge"}}
    )
    fake.always("judge", status(500))
    settings = no_retries(fake)
    async with running(fake, store, litellm=settings, routing=routing, reliability=breaker(1)) as bench:
        Clock(bench)
        for number in range(2):
            assert (await bench.ask(tier=Tier.SIMPLE, prompt=f"question {number}")).model == "fake/small"
        assert bench.upstream == ["small", "judge", "small"]


def test_breakers_are_known_by_provider_model_and_endpoint_without_its_query() -> None:
    base = ProviderSettings(api_base="https://host.example/v1?version=2")
    models = catalog(only("mine/model", "gpt-4o"), providers={"mine": base})
    assert [model.deployment for model, _ in models.models()] == [
        "mine/model at https://host.example/v1",
        "openai/gpt-4o",
    ]
