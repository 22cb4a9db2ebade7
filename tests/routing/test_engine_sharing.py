"""Calls that are under way: shared, given up, cut off, and always written down."""

from typing import Any

import anyio
import pytest

from tests.fake_provider import FakeProvider, hang, slow_drip, status
from tests.routing.bench import MARKS, PATIENCE, Bench, Gate, answer_of, running
from tierwise.routing.request import Message, Tier
from tierwise.storage.errors import TierwiseError
from tierwise.storage.ports import Store
from tierwise.storage.records import CallRecord

pytestmark = MARKS


async def closed_by_the_client(fake: FakeProvider) -> None:
    with anyio.fail_after(PATIENCE):
        await fake.disconnected.acquire()


def statuses(bench: Bench) -> list[str]:
    return [record.status.value for record in bench.records]


async def test_twenty_identical_calls_make_one_request_and_one_of_them_pays(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("standard", gate)
    async with running(fake, store) as bench:
        calls = [await bench.start() for _ in range(20)]
        await gate.reached()
        gate.opened.set()
        receipts = [await answer_of(call) for call in calls]
        assert bench.upstream == ["standard"]
        (row,) = await store.usage(start=0, end=2**52)
    assert len({receipt.call_id for receipt in receipts}) == 20
    payer, *others = receipts
    assert (payer.cached, payer.cost) == (False, row.cost_nano_usd)
    assert row.cost_nano_usd > 0
    assert {(receipt.cached, receipt.cost, receipt.input_tokens) for receipt in others} == {(True, 0, 0)}
    assert {(receipt.content, receipt.reason) for receipt in receipts} == {(payer.content, payer.reason)}
    assert (row.calls, row.cached_calls, row.failed_calls) == (20, 19, 0)


async def test_twenty_identical_calls_fail_together_and_one_of_them_pays(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate(status(401))
    fake.always("large", gate)
    async with running(fake, store) as bench:
        calls = [await bench.start(tier=Tier.COMPLEX) for _ in range(20)]
        await gate.reached()
        gate.opened.set()
        for call in calls:
            with pytest.raises(TierwiseError, match="rejected its API key"):
                await answer_of(call)
        assert bench.upstream == ["large"]
        assert statuses(bench) == ["failed"] * 20
        assert [len(record.attempts) for record in bench.records] == [1] + [0] * 19


async def test_calls_that_differ_in_anything_that_shapes_the_answer_share_nothing(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("standard", gate)
    async with running(fake, store) as bench:
        calls = [
            await bench.start(),
            await bench.start(temperature=0.5),
            await bench.start(max_tokens=7),
            await bench.start(system_prompt="Be brief."),
            await bench.start(history=(Message("user", "Hello"), Message("assistant", "Hi"))),
            await bench.start(use_cache=False),
        ]
        gate.opened.set()
        for call in calls:
            await answer_of(call)
        assert len(bench.upstream) == 6


BOUND = [
    ({"fallback_models": ()}, ("failed", "fake/standard")),
    ({"max_cost_usd": 0.18}, ("ok", "fake/small")),
]


@pytest.mark.parametrize(("bounds", "ended"), BOUND)
async def test_a_call_that_may_not_fall_back_to_the_same_models_shares_nothing(
    fake: FakeProvider, store: Store, bounds: dict[str, Any], ended: tuple[str, str]
) -> None:
    gate = Gate(status(401))
    fake.always("standard", gate)
    fake.always("peer", status(401))
    async with running(fake, store) as bench:
        free, bound = await bench.start(), await bench.start(**bounds)
        gate.opened.set()
        assert await bound.wait(PATIENCE)
        assert (await answer_of(free)).model == "fake/large"
        assert {record.call_id: (record.status, record.model) for record in bench.records} == {
            free.id: ("ok", "fake/large"),
            bound.id: ended,
        }


async def test_the_first_of_two_that_share_gives_up_and_the_second_is_answered_and_pays(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("standard", gate)
    async with running(fake, store) as bench:
        first, second = await bench.start(), await bench.start()
        await gate.reached()
        first.cancel()
        gate.opened.set()
        receipt = await answer_of(second)
        assert (receipt.cached, len(receipt.attempts)) == (False, 1)
        assert receipt.cost
        with pytest.raises(TierwiseError, match="cancelled"):
            await answer_of(first)
        assert bench.upstream == ["standard"]
        assert {(record.call_id, record.status.value, record.cost_nano_usd) for record in bench.records} == {
            (first.id, "cancelled", 0),
            (second.id, "ok", receipt.cost),
        }


async def test_a_call_that_is_given_up_closes_its_request_and_is_recorded_once_with_its_cost(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("standard", gate)
    async with running(fake, store) as bench:
        call = await bench.start()
        await gate.reached()
        call.cancel()
        call.cancel()
        await closed_by_the_client(fake)
        with pytest.raises(TierwiseError, match="cancelled"):
            await answer_of(call)
        (record,) = bench.records
        (row,) = await store.usage(start=0, end=2**52)
    assert (record.status, record.error, record.tier_served) == ("cancelled", None, None)
    assert [attempt.outcome for attempt in record.attempts] == ["cancelled"]
    assert record.cost_nano_usd == record.input_tokens * 10_000 > 0
    assert (row.calls, row.cancelled_calls, row.cost_nano_usd) == (1, 1, record.cost_nano_usd)


async def test_a_call_that_is_given_up_while_its_model_writes_is_charged_for_the_text(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", slow_drip(0.01, chunks=10_000))
    async with running(fake, store) as bench:
        call = await bench.start(watched=True)
        with anyio.fail_after(PATIENCE):
            while "piece 2" not in call.text:
                await call.wait(0.01)
        call.cancel()
        await closed_by_the_client(fake)
        assert await call.wait(PATIENCE)
        (record,) = bench.records
    assert record.output_tokens > 3
    assert record.cost_nano_usd == record.input_tokens * 10_000 + record.output_tokens * 20_000


@pytest.mark.parametrize("cache_ttl_ms", [None, 60_000])
async def test_a_call_that_is_given_up_before_it_began_costs_nothing(
    fake: FakeProvider, store: Store, cache_ttl_ms: int | None
) -> None:
    async with running(fake, store, cache_ttl_ms=cache_ttl_ms) as bench:
        call = await bench.start()
        call.cancel()
        assert await call.wait(PATIENCE)
        assert statuses(bench) == ["cancelled"]
        assert bench.records[0].cost_nano_usd == 0
        assert bench.upstream == []


async def test_a_call_that_comes_while_its_like_is_being_given_up_is_answered_and_can_be_shared(
    fake: FakeProvider, store: Store
) -> None:
    given_up, answered = Gate(), Gate()
    fake.next("standard", given_up, answered)
    async with running(fake, store) as bench:
        first = await bench.start()
        await given_up.reached()
        first.cancel()
        second = await bench.start()
        assert await first.wait(PATIENCE)
        await answered.reached()
        third = await bench.start()
        answered.opened.set()
        assert [(await answer_of(call)).cached for call in (second, third)] == [False, True]
        assert bench.upstream == ["standard", "standard"]
        assert statuses(bench) == ["cancelled", "ok", "ok"]


async def test_a_call_that_is_given_up_while_it_is_written_down_keeps_its_answer(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("standard", gate)
    async with running(fake, store) as bench:
        calls = [await bench.start() for _ in range(3)]

        def give_all_up(_: CallRecord) -> None:
            for call in calls:
                call.cancel()

        bench.engine.listeners.append(give_all_up)
        gate.opened.set()
        for call in calls:
            assert (await answer_of(call)).content
        assert statuses(bench) == ["ok", "ok", "ok"]


async def test_leaving_the_engine_records_what_is_under_way(fake: FakeProvider, store: Store) -> None:
    for model in ("small", "standard", "large"):
        fake.always(model, hang())
    async with running(fake, store) as bench:
        calls = [await bench.start(tier=tier) for tier in Tier]
        twin = await bench.start(tier=Tier.SIMPLE)
        while fake.open_requests < 3:
            await calls[0].wait(0.01)
    assert all(call.done for call in (*calls, twin))
    assert sorted(record.call_id for record in bench.records) == sorted(call.id for call in (*calls, twin))
    assert statuses(bench) == ["cancelled"] * 4
    assert sorted(len(record.attempts) for record in bench.records) == [0, 1, 1, 1]
    for _ in range(3):
        await closed_by_the_client(fake)


async def test_leaving_the_engine_at_once_records_a_call_that_had_not_begun(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store) as bench:
        call = await bench.start()
    assert call.done
    assert statuses(bench) == ["cancelled"]
