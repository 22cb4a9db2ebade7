"""What every store does, whatever it is built on."""

from typing import Any

import anyio
import pytest

from tests.storage.samples import NOON, QUARTER, answer, attempt, call, digest
from tierwise.storage.errors import StorageError
from tierwise.storage.ports import Store
from tierwise.storage.records import CallStatus, Dimension, UsageRow

pytestmark = pytest.mark.anyio


async def totals(store: Store, start: int = NOON, end: int = NOON + QUARTER) -> UsageRow:
    [row] = await store.usage(start=start, end=end)
    return row


def usage_row(*key: str, **sums: int) -> UsageRow:
    zeros: dict[str, Any] = {
        "calls": 0,
        "cached_calls": 0,
        "failed_calls": 0,
        "cancelled_calls": 0,
        "unpriced_calls": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cost_nano_usd": 0,
        "saved_nano_usd": 0,
    }
    return UsageRow(key=key, **zeros | sums)


async def test_an_empty_store_sums_up_to_one_row_of_zeros(store: Store) -> None:
    assert await store.usage(start=0, end=NOON) == [usage_row()]
    assert await store.usage(start=0, end=NOON, group_by=[Dimension.MODEL]) == []


async def test_a_call_counts_once_with_all_that_it_cost(store: Store) -> None:
    await store.record(call("a", attempt(), saved_nano_usd=5_000))
    assert await totals(store) == usage_row(
        calls=1, input_tokens=10, output_tokens=3, cost_nano_usd=700, saved_nano_usd=5_000
    )


async def test_a_failed_attempts_cost_stands_under_its_own_model(store: Store) -> None:
    cut_off = attempt(provider="mistral", model="big", outcome="connection_failed", cost_nano_usd=9_000)
    await store.record(call("a", cut_off, attempt()))
    by_model = await store.usage(
        start=NOON, end=NOON + QUARTER, group_by=[Dimension.PROVIDER, Dimension.MODEL]
    )
    assert by_model == [
        usage_row("mistral", "big", input_tokens=10, output_tokens=3, cost_nano_usd=9_000),
        usage_row("openai", "small", calls=1, input_tokens=10, output_tokens=3, cost_nano_usd=700),
    ]


async def test_two_attempts_at_one_model_both_count(store: Store) -> None:
    await store.record(call("a", attempt(outcome="server_failed"), attempt()))
    assert await totals(store) == usage_row(calls=1, input_tokens=20, output_tokens=6, cost_nano_usd=1_400)


async def test_an_unknown_cost_is_counted_and_not_summed(store: Store) -> None:
    await store.record(call("a", attempt(cost_nano_usd=None), attempt(), saved_nano_usd=None))
    row = await totals(store)
    assert (row.unpriced_calls, row.cost_nano_usd, row.saved_nano_usd) == (1, 700, 0)


async def test_a_cached_call_costs_nothing_and_says_what_it_saved(store: Store) -> None:
    await store.record(call("a", cached=True, saved_nano_usd=700))
    assert await totals(store) == usage_row(calls=1, cached_calls=1, saved_nano_usd=700)


async def test_failed_and_cancelled_calls_are_calls_too_and_told_apart(store: Store) -> None:
    for name, status in (
        ("a", CallStatus.FAILED),
        ("b", CallStatus.CANCELLED),
        ("c", CallStatus.CANCELLED),
    ):
        await store.record(call(name, status=status))
    assert await totals(store) == usage_row(calls=3, failed_calls=1, cancelled_calls=2)


async def test_recording_the_same_call_again_changes_nothing(store: Store) -> None:
    await store.record(call("a", attempt()))
    await store.record(call("a", attempt(), attempt()), answer())
    assert await totals(store) == usage_row(calls=1, input_tokens=10, output_tokens=3, cost_nano_usd=700)
    assert await store.find_answer(digest("one"), now=NOON) is None


async def test_a_period_holds_its_first_millisecond_and_not_its_end(store: Store) -> None:
    for started_at in (NOON - 1, NOON, NOON + QUARTER - 1, NOON + QUARTER):
        await store.record(call(str(started_at), started_at=started_at))
    assert (await totals(store)).calls == 2
    assert (await totals(store, NOON + QUARTER, NOON + 2 * QUARTER)).calls == 1
    assert (await totals(store, NOON - QUARTER, NOON + 2 * QUARTER)).calls == 4


async def test_groups_come_most_expensive_first_and_then_by_calls(store: Store) -> None:
    await store.record(call("a", attempt(cost_nano_usd=1), tier="simple"))
    await store.record(call("b", attempt(cost_nano_usd=5), tier="complex"))
    for call_id in "cd":
        await store.record(call(call_id, attempt(cost_nano_usd=0), tier="standard", operation="batch"))
    await store.record(call("e", attempt(cost_nano_usd=0), tier="standard"))
    rows = await store.usage(start=NOON, end=NOON + QUARTER, group_by=[Dimension.TIER, Dimension.OPERATION])
    assert [row.key for row in rows] == [
        ("complex", "chat"),
        ("simple", "chat"),
        ("standard", "batch"),
        ("standard", "chat"),
    ]


async def test_calls_recorded_at_the_same_time_all_count(store: Store) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(store.record, call(str(number), attempt()))
    assert await totals(store) == usage_row(
        calls=100, input_tokens=1_000, output_tokens=300, cost_nano_usd=70_000
    )


async def test_no_text_keeps_a_call_from_being_recorded(store: Store) -> None:
    odd = "half a pair \ud800 and a NUL \0"
    fields = {"error": odd, "operation": odd, "model": odd, "metadata": {odd: odd}}
    await store.record(call(odd, attempt(model=odd, error=odd), **fields), answer(content=odd))
    assert (await totals(store)).cost_nano_usd == 700
    kept = await store.find_answer(digest("one"), now=NOON)
    assert kept is not None
    assert kept.content.startswith("half a pair ")


async def test_an_answer_comes_back_as_it_was_kept(store: Store) -> None:
    kept = answer(content="naïve 🙂", cost_nano_usd=None)
    await store.record(call("a"), kept)
    assert await store.find_answer(kept.digest, now=NOON) == kept
    assert await store.find_answer(digest("other"), now=NOON) is None


async def test_an_answer_replaces_the_one_under_its_digest(store: Store) -> None:
    await store.record(call("a"), answer(content="stale"))
    await store.record(call("b"), answer(content="fresh"))
    found = await store.find_answer(digest("one"), now=NOON)
    assert found == answer(content="fresh")


async def test_an_answer_is_not_found_from_the_moment_it_expires(store: Store) -> None:
    await store.record(call("a"), answer(expires_at=NOON + 10))
    assert await store.find_answer(digest("one"), now=NOON + 9)
    assert await store.find_answer(digest("one"), now=NOON + 10) is None


async def test_purging_deletes_what_has_expired_and_nothing_else(store: Store) -> None:
    await store.record(call("a"), answer("old", expires_at=NOON + 10))
    await store.record(call("b"), answer("new", expires_at=NOON + 11))
    assert await store.purge_answers(now=NOON + 10) == 1
    assert await store.purge_answers(now=NOON + 10) == 0
    assert await store.find_answer(digest("old"), now=NOON) is None
    assert await store.find_answer(digest("new"), now=NOON)


async def test_a_full_cache_lets_the_oldest_answers_go(store: Store) -> None:
    for name in "abcde":
        await store.record(call(name), answer(name, content=name * 3_000))
    found = [name for name in "abcde" if await store.find_answer(digest(name), now=NOON)]
    assert found == ["c", "d", "e"]


async def test_room_that_was_purged_or_replaced_can_be_used_again(store: Store) -> None:
    await store.record(call("a"), answer("a", content="a" * 9_000, expires_at=NOON + 1))
    await store.purge_answers(now=NOON + 1)
    for number in range(5):
        await store.record(call(f"b{number}"), answer("b", content="b" * 4_000))
    await store.record(call("c"), answer("c", content="c" * 4_000))
    found = [name for name in "abc" if await store.find_answer(digest(name), now=NOON)]
    assert found == ["b", "c"]


async def test_an_answer_larger_than_the_cache_is_not_kept_and_displaces_none(store: Store) -> None:
    await store.record(call("a"), answer("small"))
    await store.record(call("b"), answer("huge", content="é" * 5_001))
    assert await store.find_answer(digest("small"), now=NOON)
    assert await store.find_answer(digest("huge"), now=NOON) is None
    assert (await totals(store)).calls == 2


async def test_an_answer_can_be_kept_without_a_call(store: Store) -> None:
    await store.keep_answer(answer(content="stale"))
    await store.keep_answer(answer(content="fresh"))
    await store.keep_answer(answer("huge", content="x" * 10_001))
    assert await store.find_answer(digest("one"), now=NOON) == answer(content="fresh")
    assert await store.find_answer(digest("huge"), now=NOON) is None
    assert await totals(store) == usage_row()


async def test_the_digest_key_is_32_bytes(store: Store) -> None:
    assert len(store.digest_key) == 32


async def test_closing_twice_is_allowed(store: Store) -> None:
    await store.aclose()
    await store.aclose()


async def test_imported_calls_are_added_together_and_those_that_are_there_passed_over(store: Store):
    await store.record(call("b", attempt(cost_nano_usd=5)))
    imported = [call("a", attempt()), call("b", attempt()), call("c", attempt())]
    assert await store.import_calls(imported) == 2
    assert await store.import_calls(imported) == 0
    total = await totals(store)
    assert (total.calls, total.cost_nano_usd) == (3, 5 + 700 + 700)
    assert await store.check() == []


async def test_an_import_that_fails_half_way_adds_nothing(store: Store):
    broken = call("b", attempt(input_tokens=2**70))  # more than a column holds
    with pytest.raises(StorageError):
        await store.import_calls([call("a", attempt()), broken])
    total = await totals(store)
    assert total.calls == 0
