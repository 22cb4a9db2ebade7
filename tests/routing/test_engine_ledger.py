"""What is written down of each call, also by a store in trouble."""

import sqlite3
from pathlib import Path

import pytest

from tests.fake_provider import FakeProvider, ok, status
from tests.routing.bench import (
    MARKS,
    PROMPT,
    answer_of,
    litellm,
    only,
    running,
)
from tierwise.routing.request import Tier
from tierwise.storage.budgets import Committed
from tierwise.storage.errors import DatabaseFull
from tierwise.storage.ports import Store
from tierwise.storage.records import CachedAnswer, CallRecord, Dimension
from tierwise.storage.sqlite.store import SQLiteStore

pytestmark = MARKS

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
ETERNITY = 2**52


async def test_the_sums_of_usage_are_those_of_the_rows(
    fake: FakeProvider, store: Store, database: Path
) -> None:
    fake.next("standard", status(500), ok(usage=USAGE))
    fake.always("large", status(401))
    async with running(fake, store) as bench:
        receipts = [
            await bench.ask(tier=tier, prompt=prompt)
            for tier in (Tier.SIMPLE, Tier.STANDARD)
            for prompt in ("one", "two", "one")
        ]
        await bench.failure(tier=Tier.COMPLEX)
        (total,) = await store.usage(start=0, end=ETERNITY)
        by_model = [
            (row.key, row.input_tokens, row.output_tokens, row.cost_nano_usd)
            for row in await store.usage(start=0, end=ETERNITY, group_by=[Dimension.MODEL])
        ]
    told = (
        sum(receipt.input_tokens for receipt in receipts),
        sum(receipt.output_tokens for receipt in receipts),
        sum(receipt.cost or 0 for receipt in receipts),
    )
    assert (total.input_tokens, total.output_tokens, total.cost_nano_usd) == told
    assert tuple(map(sum, zip(*(row[1:] for row in by_model), strict=True))) == told
    query = "SELECT SUM(input_tokens), SUM(output_tokens), SUM(cost_nano_usd), COUNT(*) FROM attempts"
    assert rows(database, query) == [(*told, 6)]
    assert rows(database, "SELECT COUNT(*) FROM calls") == [(7,)]
    assert (total.calls, total.cached_calls, total.failed_calls) == (7, 2, 1)


def rows(database: Path, query: str) -> list[tuple[int, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def test_listeners_hear_of_each_call_with_the_figures_of_its_receipt(
    fake: FakeProvider, store: Store
) -> None:
    heard: list[CallRecord] = []
    async with running(fake, store) as bench:
        bench.engine.listeners.append(heard.append)
        receipt = await bench.ask(operation="review", metadata={"team": "core"})
    (record,) = heard
    assert record.call_id == receipt.call_id
    assert (record.operation, record.metadata) == ("review", {"team": "core"})
    assert (record.cost_nano_usd, record.saved_nano_usd) == (receipt.cost, receipt.saved)


@pytest.mark.parametrize(
    ("finish_reason", "outcome"), [("stop", "bad_response"), ("content_filter", "content_refused")]
)
async def test_an_answer_without_a_word_is_charged_where_its_usage_is_reported(
    fake: FakeProvider, store: Store, finish_reason: str, outcome: str
) -> None:
    thought = {**USAGE, "completion_tokens_details": {"reasoning_tokens": 100}}
    fake.always("standard", ok(content="", finish_reason=finish_reason, usage=thought))
    settings = litellm(fake, max_retries=0)
    async with running(fake, store, litellm=settings, routing=only("fake/standard")) as bench:
        for watched in (False, True):
            await bench.failure(prompt=f"{watched}", watched=watched)
    for record in bench.records:
        [attempt] = record.attempts
        assert (attempt.outcome, attempt.reasoning_tokens, attempt.estimated) == (outcome, 100, False)
        assert record.cost_nano_usd == 1000 * 10_000 + 100 * 20_000


def break_down(_: CallRecord) -> None:
    raise RuntimeError("a bug in a listener")


async def test_a_listener_that_breaks_takes_nothing_from_anybody(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store) as bench:
        bench.engine.listeners.append(break_down)
        calls = [await bench.start(), await bench.start()]
        assert [(await answer_of(call)).content for call in calls] == [f"answer from standard: {PROMPT}"] * 2
        (row,) = await store.usage(start=0, end=ETERNITY)
        assert row.calls == 2


async def test_without_tracking_answers_are_cached_and_nothing_is_written_down(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store, tracking=False) as bench:
        assert [(await bench.ask()).cached for _ in range(2)] == [False, True]
        (row,) = await store.usage(start=0, end=ETERNITY)
        assert row.calls == 0


# A store in trouble


class Broken(SQLiteStore):
    """A store that fails with `error` where it should write, and where it should `look_up` too."""

    def __init__(self, store: Store, error: Exception, *, look_up: bool) -> None:
        vars(self).update(vars(store))
        self._error = error
        self._look_up = look_up

    async def record(self, call: CallRecord, answer: CachedAnswer | None = None) -> Committed:
        raise self._error

    async def keep_answer(self, answer: CachedAnswer) -> None:
        raise self._error

    async def find_answer(self, digest: bytes, *, now: int) -> CachedAnswer | None:
        if self._look_up:
            raise self._error
        return await super().find_answer(digest, now=now)


async def test_an_answer_that_cannot_be_written_down_is_handed_out_with_a_warning(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, Broken(store, DatabaseFull("The disk is full."), look_up=True)) as bench:
        calls = [await bench.start(), await bench.start()]
        receipts = [await answer_of(call) for call in calls]
        assert bench.records == []
    warning = "This call is not in the ledger yet, and will be written down later: The disk is full."
    assert [receipt.warning for receipt in receipts] == [warning] * 2
    assert {receipt.content for receipt in receipts} == {f"answer from standard: {PROMPT}"}


async def test_a_store_that_breaks_its_contract_neither_ends_the_engine_nor_keeps_an_answer_back(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, Broken(store, ValueError("a bug"), look_up=False)) as bench:
        calls = [await bench.start(), await bench.start()]
        receipts = [await answer_of(call) for call in calls]
        assert (await bench.ask(prompt="another")).content
    assert all("tierwise itself failed" in (receipt.warning or "") for receipt in receipts)


async def test_a_call_that_fails_by_a_fault_of_ours_ends_alone_and_says_so(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, Broken(store, ValueError("a bug"), look_up=True)) as bench:
        for _ in range(2):
            assert "tierwise itself failed" in str(await bench.failure())


@pytest.mark.parametrize("count", [10**15, 2**63, 10**30])
async def test_absurd_token_counts_of_a_provider_cost_nobody_an_answer(
    fake: FakeProvider, store: Store, count: int
) -> None:
    fake.always("standard", ok(usage={"prompt_tokens": count, "completion_tokens": count}))
    async with running(fake, store) as bench:
        assert (await bench.ask()).content == f"answer from standard: {PROMPT}"
        fake.always("standard", ok())
        assert (await bench.ask(prompt="another")).content
