"""What every store does with calls after they were recorded: export, correction, pruning, checking."""

from dataclasses import replace

import pytest

from tests.storage.samples import DAY, MIDNIGHT, NOON, QUARTER, attempt, budget, call, outcome, reservation
from tierwise.storage.errors import UnknownCall
from tierwise.storage.ports import Store
from tierwise.storage.records import CallRecord, CallStatus, Dimension

pytestmark = pytest.mark.anyio


async def exported(
    store: Store, start: int = 0, end: int = NOON + DAY, batch: int = 1000
) -> list[CallRecord]:
    return [call async for calls in store.export_calls(start=start, end=end, batch=batch) for call in calls]


async def costs(store: Store) -> dict[tuple[str, ...], int]:
    rows = await store.usage(start=0, end=NOON + DAY, group_by=[Dimension.MODEL])
    return {row.key: row.cost_nano_usd for row in rows}


async def test_every_field_of_a_call_and_its_attempts_comes_back(store: Store) -> None:
    tried = attempt(
        provider="mistral",
        outcome="rate_limited",
        error="too many requests",
        started_at=NOON + 5,
        cache_read_tokens=4,
        cache_write_tokens=5,
        cache_write_1h_tokens=3,
        audio_input_tokens=1,
        image_input_tokens=2,
        reasoning_tokens=2,
        audio_output_tokens=6,
        image_output_tokens=7,
        service_tier="flex",
        estimated=True,
        cost_nano_usd=None,
        old_cost_nano_usd=12,
        cost_note="no price",
    )
    full = call(
        "a",
        tried,
        attempt(model="large", cost_reported=True),
        operation="title",
        tenant="acme",
        agent="bot",
        status=CallStatus.FAILED,
        error="rate_limited",
        tier_served="complex",
        complexity_score=0.25,
        cached=True,
        saved_nano_usd=-3,
        finish_reason="stop",
        metadata={"team": "søk"},
    )
    bare = call("b", started_at=NOON + 1)
    await store.record(replace(full, features=b"not for export"))
    await store.record(bare)
    assert await exported(store) == [full, bare]


async def test_calls_are_exported_oldest_first_in_batches(store: Store) -> None:
    starts = [NOON + 2, NOON, NOON + 2, NOON + 1, NOON + 2]
    for number, started_at in enumerate(starts):
        await store.record(call(str(number), attempt(), attempt(), started_at=started_at))
    batches = [
        [one.call_id for one in calls] async for calls in store.export_calls(start=0, end=NOON + 9, batch=2)
    ]
    assert batches == [["1", "3"], ["0", "2"], ["4"]]


async def test_an_export_holds_the_first_millisecond_and_not_its_end(store: Store) -> None:
    for started_at in (NOON - 1, NOON, NOON + 9, NOON + 10):
        await store.record(call(str(started_at), started_at=started_at))
    found = await exported(store, NOON, NOON + 10)
    assert [one.started_at for one in found] == [NOON, NOON + 9]
    assert await exported(store, NOON + 11, NOON + 12) == []


async def test_a_call_recorded_during_an_export_comes_too_if_it_started_later(store: Store) -> None:
    await store.record(call("a"))
    await store.record(call("b", started_at=NOON + 1))
    found: list[str] = []
    async for calls in store.export_calls(start=0, end=NOON + DAY, batch=1):
        found += [one.call_id for one in calls]
        if found == ["a"]:
            await store.record(call("c", started_at=NOON + 2))
    assert found == ["a", "b", "c"]


async def test_a_corrected_cost_keeps_the_first_one_and_moves_the_sums(store: Store) -> None:
    await store.record(call("a", attempt(), attempt(model="large", cost_note="estimated")))
    assert await store.set_costs([("a", 1, 5_000)]) == 1
    assert await costs(store) == {("large",): 5_000, ("small",): 700}
    assert await store.set_costs([("a", 1, 100)]) == 1
    [found] = await exported(store)
    assert found.attempts == (
        attempt(),
        attempt(model="large", cost_nano_usd=100, old_cost_nano_usd=700, cost_note="estimated"),
    )
    assert await costs(store) == {("small",): 700, ("large",): 100}
    assert await store.check() == []


async def test_an_unknown_cost_that_becomes_known_is_no_longer_unpriced(store: Store) -> None:
    await store.record(call("a", attempt(cost_nano_usd=None, cost_note="no price")))
    assert await store.set_costs([("a", 0, 40)]) == 1
    [row] = await store.usage(start=NOON, end=NOON + QUARTER)
    assert (row.calls, row.unpriced_calls, row.cost_nano_usd) == (1, 0, 40)
    [found] = await exported(store)
    assert found.attempts == (attempt(cost_nano_usd=40),)


async def test_a_correction_of_nothing_changes_nothing(store: Store) -> None:
    await store.record(call("a", attempt()))
    before = await exported(store)
    assert await store.set_costs([("a", 0, 700), ("a", 1, 5), ("never", 0, 5)]) == 0
    assert await exported(store) == before


async def test_a_correction_leaves_budgets_as_they_were(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await store.reserve(reservation("a", 900), now=NOON)
    await store.record(call("a", attempt()))
    await store.set_costs([("a", 0, 1)])
    assert (await store.budget_spent("all", MIDNIGHT, now=NOON)).spent_nano_usd == 700


async def test_pruning_deletes_the_calls_of_past_days_and_keeps_their_sums(store: Store) -> None:
    starts = (MIDNIGHT - DAY, MIDNIGHT - 1, MIDNIGHT, NOON)
    for started_at in starts:
        await store.record(call(str(started_at), attempt(), started_at=started_at, features=b"f"))
    before = await costs(store)
    assert await store.prune(before=NOON) == 2
    assert await store.prune(before=NOON) == 0
    assert [one.started_at for one in await exported(store)] == [MIDNIGHT, NOON]
    with pytest.raises(UnknownCall):
        await store.add_outcome(outcome(str(MIDNIGHT - 1)))
    assert await costs(store) == before


async def test_outcomes_outlive_the_calls_that_they_are_of(store: Store) -> None:
    await store.record(call("a", features=b"f"))
    await store.add_outcome(outcome("a"))
    assert await store.prune(before=NOON + DAY) == 1
    assert [found.features for found in await store.outcomes(10)] == [b"f"]


async def test_the_sums_of_pruned_days_are_neither_doubted_nor_rebuilt(store: Store) -> None:
    for started_at in (MIDNIGHT - 1, NOON):
        await store.record(call(str(started_at), attempt(), started_at=started_at))
    await store.prune(before=NOON)
    await store.record(call("late", attempt(), started_at=MIDNIGHT - 2))
    assert await store.check() == []
    await store.repair()
    assert await costs(store) == {("small",): 2_100}


async def test_recent_attempts_come_newest_first_and_tell_which_models_were_left(store: Store) -> None:
    tried = [
        attempt(outcome="timeout", started_at=NOON + 1, latency_ms=9.5, output_tokens=0),
        attempt(outcome="timeout", started_at=NOON + 2),
        attempt(model="large", started_at=NOON + 3, output_tokens=7),
    ]
    await store.record(call("old", attempt(started_at=NOON - 10), started_at=NOON - 10))
    await store.record(call("failed over", *tried, tenant="acme"))
    await store.record(call("cached", cached=True, started_at=NOON + 20))
    found = await store.recent_attempts(since=NOON, limit=10)
    assert [(it.model, it.outcome, it.started_at - NOON, it.left) for it in found] == [
        ("large", "ok", 3, False),
        ("small", "timeout", 2, True),
        ("small", "timeout", 1, False),
    ]
    assert (found[0].provider, found[0].output_tokens, found[2].latency_ms) == ("openai", 7, 9.5)


async def test_no_more_calls_than_asked_for_are_looked_into_for_recent_attempts(store: Store) -> None:
    for number in range(5):
        await store.record(
            call(f"call {number}", attempt(started_at=NOON + number), started_at=NOON + number)
        )
    found = await store.recent_attempts(since=NOON - DAY, limit=2)
    assert [it.started_at - NOON for it in found] == [4, 3]
    assert await store.recent_attempts(since=NOON + DAY, limit=2) == []


async def newest(store: Store, limit: int = 100, **filters: str) -> list[str]:
    wanted = {Dimension(name): value for name, value in filters.items()}
    calls = await store.recent_calls(start=NOON, end=NOON + 10, limit=limit, filters=wanted)
    return [call.call_id for call in calls]


async def test_recent_calls_come_newest_first_with_their_attempts_up_to_a_limit(store: Store) -> None:
    made = [
        call(str(number), attempt(), attempt(model="large"), started_at=NOON + number % 3)
        for number in range(6)
    ]
    for one in made:
        await store.record(one)
    await store.record(call("too early", started_at=NOON - 1))
    await store.record(call("too late", started_at=NOON + 10))
    assert await newest(store) == ["5", "2", "4", "1", "3", "0"]
    [last] = await store.recent_calls(start=NOON, end=NOON + 10, limit=1)
    assert last == made[5]


async def test_recent_calls_are_those_that_have_every_value_asked_for(store: Store) -> None:
    await store.record(call("a", attempt(model="large"), tenant="acme", started_at=NOON + 2))
    await store.record(call("b", tenant="acme", model="large", started_at=NOON + 1))
    await store.record(call("c", tenant="acme"))
    await store.record(call("d"))
    assert await newest(store, tenant="acme") == ["a", "b", "c"]
    assert await newest(store, tenant="acme", limit=2) == ["a", "b"]
    assert await newest(store, tenant="acme", model="large") == ["b"]
    assert await newest(store, tenant="") == ["d"]
    assert await newest(store, tenant="half \ud800") == []
    assert await newest(store, operation="x' OR '1") == []
