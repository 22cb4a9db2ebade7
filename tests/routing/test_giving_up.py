"""Calls that are given up wherever they may wait: nothing stays open, held or unwritten."""

from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from functools import cache

import anyio
import anyio.lowlevel
import pytest

from tests.fake_provider import FakeProvider, Limits, hang, ok, status
from tests.routing.bench import MARKS, PATIENCE, Bench, Gate, answer_of, litellm, only, running
from tierwise.routing.calls import Call
from tierwise.routing.reliability_settings import RateLimitSettings, ReliabilitySettings
from tierwise.storage.budgets import Budget, BudgetPeriod
from tierwise.storage.ports import Store

pytestmark = MARKS

BUDGET = Budget(name="all", period=BudgetPeriod.DAY, limit_nano_usd=10**12)
ONE = ReliabilitySettings(max_concurrent_calls=1)


async def given_up(bench: Bench, call: Call) -> None:
    """Give the call up: it ends at once, is on record as cancelled once, and holds nothing."""
    call.cancel()
    assert await call.wait(PATIENCE)
    (record,) = [record for record in bench.records if record.call_id == call.id]
    assert record.status == "cancelled"
    (row,) = await bench.engine.store.usage(start=0, end=2**52)
    assert row.calls == len(bench.records)
    assert (await bench.engine.spending.account(BUDGET)).reserved_nano_usd == 0


async def test_while_it_waits_for_a_slot(fake: FakeProvider, store: Store) -> None:
    gate = Gate()
    fake.next("standard", gate)
    async with running(fake, store, reliability=ONE) as bench:
        first = await bench.start(prompt="one")
        await gate.reached()
        await bench.engine.spending.set_budget(BUDGET)
        second, third = await bench.start(prompt="two"), await bench.start(prompt="three")
        await bench.queued(2)
        await given_up(bench, second)
        gate.opened.set()
        for call in (first, third):
            await answer_of(call)
        assert bench.upstream == ["standard", "standard"]
        assert [record.attempts == () for record in bench.records] == [True, False, False]


async def test_while_it_waits_for_a_rate_limit(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", ok(limits=Limits(requests=1, remaining_requests=0, reset=300)))
    async with running(fake, store, routing=only("fake/standard"), budgets=(BUDGET,)) as bench:
        await bench.ask(prompt="one")
        call = await bench.start(prompt="two")
        await bench.queued(1)
        await given_up(bench, call)
        assert bench.upstream == ["standard"]


async def test_what_was_given_up_at_a_rate_limit_does_not_count_against_it(
    fake: FakeProvider, store: Store
) -> None:
    limit = RateLimitSettings(requests_per_minute=2)
    reliability = ReliabilitySettings(max_concurrent_calls=1, rate_limits={"fake": limit}, deadline=20)
    gate = Gate()
    fake.next("standard", gate)
    async with running(fake, store, reliability=reliability) as bench:
        first = await bench.start(prompt="one")
        await gate.reached()
        second = await bench.start(prompt="two")
        await bench.queued(1)
        second.cancel()
        gate.opened.set()
        await answer_of(first)
        assert (await bench.ask(prompt="three")).content


async def test_while_it_pauses_before_a_retry(fake: FakeProvider, store: Store, pauses: list[float]) -> None:
    fake.always("standard", status(500))
    settings = litellm(fake, retry_delay=50)
    async with running(fake, store, litellm=settings, budgets=(BUDGET,)) as bench:
        call = await bench.start()
        while not pauses:
            await call.wait(0.01)
        await given_up(bench, call)
        assert [attempt.outcome for attempt in bench.records[0].attempts] == ["server_failed"]


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    loading: Future[None] = Future()
    loading.set_running_or_notify_cancel()
    with monkeypatch.context() as patch:
        patch.setattr("tierwise.routing.providers.litellm.loading", cache(lambda: loading))
        yield
        loading.set_result(None)


@pytest.mark.usefixtures("never_loaded")
async def test_while_a_library_is_loaded(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, budgets=(BUDGET,)) as bench:
        call = await bench.start()
        await call.wait(0.05)
        await given_up(bench, call)
        assert bench.upstream == []


async def test_while_its_answer_is_awaited(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", hang())
    async with running(fake, store, budgets=(BUDGET,)) as bench:
        call = await bench.start()
        while not fake.open_requests:
            await call.wait(0.01)
        assert (await bench.engine.spending.account(BUDGET)).reserved_nano_usd > 0
        await given_up(bench, call)
        with anyio.fail_after(PATIENCE):
            await fake.disconnected.acquire()


async def leave(bench: Bench) -> None:
    bench.engine.give_up()


async def nothing(_: Bench) -> None:
    """Leaving the engine does it."""


@pytest.mark.parametrize("end", [leave, nothing], ids=["told to give up", "left"])
async def test_an_engine_that_ends_leaves_no_call_behind_wherever_it_is(
    fake: FakeProvider, store: Store, end: Callable[[Bench], Awaitable[None]]
) -> None:
    fake.always("standard", hang())
    fake.always("large", status(500))
    fake.next("peer", ok(limits=Limits(requests=1, remaining_requests=0, reset=300)))
    reliability = ReliabilitySettings(max_concurrent_calls=2)
    settings = litellm(fake, retry_delay=300)
    async with running(fake, store, litellm=settings, reliability=reliability, budgets=(BUDGET,)) as bench:
        await bench.ask(model="fake/peer")
        calls = [
            await bench.start(model="fake/peer", prompt="waits for its limit"),
            await bench.start(model="fake/large", prompt="pauses"),
            *[await bench.start(prompt=f"hangs or waits {n}") for n in range(4)],
        ]
        while fake.open_requests < 2:
            await calls[0].wait(0.01)
        await bench.queued(3)
        await end(bench)
        if end is leave:
            for call in calls:
                assert await call.wait(PATIENCE)
    assert sorted(record.call_id for record in bench.records[1:]) == sorted(call.id for call in calls)
    assert {record.status for record in bench.records[1:]} == {"cancelled"}
    assert (await store.budget_spent(BUDGET.name, 0, now=0)).reserved_nano_usd == 0
    (row,) = await store.usage(start=0, end=2**52)
    assert (row.calls, row.cancelled_calls) == (7, 6)
    with anyio.fail_after(PATIENCE):
        for _ in range(2):
            await fake.disconnected.acquire()


async def test_calls_that_are_given_up_at_random_leave_every_slot_free(
    fake: FakeProvider, store: Store
) -> None:
    reliability = ReliabilitySettings(max_concurrent_calls=3)
    async with running(fake, store, reliability=reliability, budgets=(BUDGET,)) as bench:
        calls = [await bench.start(prompt=f"number {n}", tenant=f"{n % 3}") for n in range(40)]
        for number, call in enumerate(calls):
            if number % 3 == 0:
                call.cancel()
            await anyio.lowlevel.checkpoint()
        for call in calls:
            assert await call.wait(PATIENCE)
        assert len(bench.records) == 40
        gate = Gate()
        fake.always("standard", gate)
        last = [await bench.start(prompt=f"last {n}") for n in range(4)]
        while fake.open_requests < 3:
            await last[0].wait(0.01)
        gate.opened.set()
        for call in last:
            await answer_of(call)
        assert (await bench.engine.spending.account(BUDGET)).reserved_nano_usd == 0
