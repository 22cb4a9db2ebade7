"""More calls than can be served: some wait, the rest are told so at once, and none is forgotten."""

import gc

import pytest

from tests.fake_provider import FakeProvider
from tests.routing.bench import MARKS, PATIENCE, Bench, Gate, answer_of, running
from tierwise.routing.calls import Call, Flight
from tierwise.routing.errors import Busy
from tierwise.routing.reliability_settings import ReliabilitySettings
from tierwise.storage.budgets import Budget, BudgetPeriod
from tierwise.storage.ports import Store

pytestmark = MARKS

TIGHT = ReliabilitySettings(max_concurrent_calls=1, max_queued_calls=1)


async def crowd(bench: Bench, gate: Gate) -> list[Call]:
    """One call that is under way and one that waits: as many as `TIGHT` allows."""
    bench.fake.always("standard", gate)
    calls = [await bench.start(prompt="under way")]
    await gate.reached()
    calls.append(await bench.start(prompt="waits"))
    while not bench.engine.queue.full:
        await calls[0].wait(0.01)
    return calls


async def test_a_call_too_many_is_refused_at_once_and_is_on_record_once(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    budget = Budget(name="all", period=BudgetPeriod.DAY, limit_nano_usd=10**12)
    async with running(fake, store, reliability=TIGHT, budgets=(budget,)) as bench:
        calls = await crowd(bench, gate)
        error = await bench.failure(prompt="one too many")
        assert isinstance(error, Busy)
        assert str(error).startswith("busy: 1 requests are under way and 1 calls wait already; retry in ")
        assert "reliability.max_concurrent_calls" in str(error)
        assert error.retry_after >= 1
        (record,) = bench.records
        assert (record.status, record.error, record.attempts) == ("failed", "Busy", ())
        gate.opened.set()
        for call in calls:
            assert (await answer_of(call)).content
        assert (await bench.ask(prompt="one too many")).content
        account = await bench.engine.spending.account(budget)
        assert account.reserved_nano_usd == 0
        (row,) = await store.usage(start=0, end=2**52)
    assert (row.calls, row.failed_calls) == (4, 1)


async def test_what_is_in_the_cache_is_served_all_the_same(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, reliability=TIGHT) as bench:
        await bench.ask(prompt="known")
        gate = Gate()
        calls = await crowd(bench, gate)
        assert (await bench.ask(prompt="known")).cached
        assert not any(call.done for call in calls)
        gate.opened.set()
        for call in calls:
            await answer_of(call)


async def test_a_call_that_shares_the_answer_of_another_waits_as_well(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("standard", gate)
    async with running(fake, store, reliability=TIGHT) as bench:
        first = await bench.start(prompt="the same")
        await gate.reached()
        second = await bench.start(prompt="the same")
        assert isinstance(await bench.failure(prompt="the same"), Busy)
        gate.opened.set()
        assert (await answer_of(first)).content == (await answer_of(second)).content
        assert bench.upstream == ["standard"]
        third = await bench.ask(prompt="the same")
        assert third.cached
        assert await bench.ask(prompt="another")  # all have left


@pytest.mark.parametrize("given_up", [0, 1])
async def test_callers_that_share_an_answer_leave_when_it_has_come(
    fake: FakeProvider, store: Store, given_up: int
) -> None:
    gate = Gate()
    fake.next("standard", gate)
    async with running(fake, store, reliability=TIGHT) as bench:
        calls = [await bench.start(prompt="the same") for _ in range(2)]
        await gate.reached()
        for call in calls[:given_up]:
            call.cancel()
        gate.opened.set()
        for call in calls:
            assert await call.wait(PATIENCE)
        gate = Gate()
        calls = await crowd(bench, gate)
        gate.opened.set()
        for call in calls:
            await answer_of(call)


async def test_a_flood_leaves_nothing_behind(fake: FakeProvider, store: Store) -> None:
    gate = Gate()
    async with running(fake, store, reliability=TIGHT) as bench:
        calls = await crowd(bench, gate)
        flood = [await bench.start(prompt=f"number {n} of the flood") for n in range(300)]
        assert all([await call.wait(PATIENCE) for call in flood])
        refused = sum(record.error == "Busy" for record in bench.records)
        assert refused == len({record.call_id for record in bench.records}) == 300
        flood.clear()
        bench.records.clear()
        gc.collect()
        left = [type(it) for it in gc.get_objects() if isinstance(it, Call | Flight)]
        assert left.count(Call) == left.count(Flight) == 2
        gate.opened.set()
        for waiting in calls:
            await answer_of(waiting)


async def test_one_tenant_s_flood_does_not_shut_others_out(fake: FakeProvider, store: Store) -> None:
    gate = Gate()
    fake.always("standard", gate)
    reliability = ReliabilitySettings(max_concurrent_calls=1, max_queued_calls=3)
    async with running(fake, store, reliability=reliability) as bench:
        greedy = [await bench.start(prompt="under way", tenant="greedy")]
        await gate.reached()
        greedy += [await bench.start(prompt=f"greedy {number}", tenant="greedy") for number in range(3)]
        while not bench.engine.queue.full:
            await greedy[0].wait(0.01)
        modest = await bench.start(prompt="modest", tenant="modest")
        while not any(call.done for call in greedy):
            await modest.wait(0.01)
        gate.opened.set()
        assert (await answer_of(modest)).content
        assert all([await call.wait(PATIENCE) for call in greedy])
        assert sorted(record.error or "" for record in bench.records) == ["", "", "", "", "Busy"]
