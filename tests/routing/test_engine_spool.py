"""A full disk takes nothing from the ledger: what a call cost is written down once there is room."""

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.fake_provider import FakeProvider, ok
from tests.routing.bench import MARKS, PATIENCE, Bench, running
from tierwise.routing.reliability_settings import ReliabilitySettings
from tierwise.storage.budgets import AtLimit, Budget, BudgetPeriod, Committed, Refusal, Reservation
from tierwise.storage.errors import DatabaseFull
from tierwise.storage.ports import Store
from tierwise.storage.records import CachedAnswer, CallRecord
from tierwise.storage.spool import Spool
from tierwise.storage.sqlite.store import SQLiteStore, open_store

pytestmark = MARKS

USAGE = {"prompt_tokens": 50, "completion_tokens": 100, "total_tokens": 150}
COST = 50 * 10_000 + 100 * 20_000


class Filling(SQLiteStore):
    """A store whose disk is full for as long as `full` says so."""

    full = True

    def __init__(self, store: Store) -> None:
        vars(self).update(vars(store))

    async def record(self, call: CallRecord, answer: CachedAnswer | None = None) -> Committed:
        if self.full:
            raise DatabaseFull("The disk is full.")
        return await super().record(call, answer)


async def calls(store: Store, expected: int) -> int:
    """What the calls in the ledger cost, once there are as many as `expected`."""
    with anyio.fail_after(PATIENCE):
        while True:
            (row,) = await store.usage(start=0, end=2**52)
            if row.calls == expected:
                return row.cost_nano_usd
            await anyio.sleep(0.01)


async def ask_in_vain(bench: Bench) -> None:
    receipt = await bench.ask(prompt="one")
    assert receipt.cost == COST
    assert "will be written down later: The disk is full." in (receipt.warning or "")


async def test_with_the_next_call_that_is_written_down_the_earlier_ones_are_too(
    fake: FakeProvider, store: Store, tmp_path: Path
) -> None:
    fake.always("standard", ok(usage=USAGE))
    filling = Filling(store)
    limit = Budget(name="all", period=BudgetPeriod.DAY, limit_nano_usd=10**9)
    async with running(fake, filling, spool=tmp_path / "spool", budgets=(limit,)) as bench:
        await ask_in_vain(bench)
        filling.full = False
        assert (await bench.ask(prompt="two")).warning is None
        assert await calls(store, 2) == 2 * COST
        account = await bench.engine.spending.account(limit)
        assert (account.spent_nano_usd, account.reserved_nano_usd) == (2 * COST, 0)


async def test_what_is_written_down_later_is_whole(fake: FakeProvider, store: Store, tmp_path: Path) -> None:
    details = {"cached_tokens": 20, "audio_tokens": 10}
    usage = {**USAGE, "prompt_tokens_details": details, "cost": COST / 1e9}
    fake.always("standard", ok(usage=usage))
    async with running(fake, Filling(store), spool=tmp_path / "spool") as bench:
        await ask_in_vain(bench)
    async with running(fake, store, spool=tmp_path / "spool"):
        assert await calls(store, 1) == COST
    [[call]] = [batch async for batch in store.export_calls(start=0, end=2**52)]
    [attempt] = call.attempts
    assert (attempt.cost_nano_usd, attempt.cost_reported) == (COST, True)
    assert (attempt.cache_read_tokens, attempt.audio_input_tokens) == (20, 10)


async def test_the_next_engine_writes_down_what_the_last_one_could_not(
    fake: FakeProvider, store: Store, tmp_path: Path
) -> None:
    fake.always("standard", ok(usage=USAGE))
    async with running(fake, Filling(store), spool=tmp_path / "spool") as bench:
        await ask_in_vain(bench)
    async with running(fake, store, spool=tmp_path / "spool"):
        assert await calls(store, 1) == COST


class Unwritable(Filling):
    async def reserve(self, reservation: Reservation, *, now: int) -> tuple[Refusal, ...]:
        raise DatabaseFull("The disk is full.")


@pytest.mark.parametrize("at_limit", list(AtLimit))
async def test_while_nothing_can_be_reserved_only_budgets_that_warn_let_calls_go_on(
    fake: FakeProvider, store: Store, at_limit: AtLimit
) -> None:
    limit = Budget(name="all", period=BudgetPeriod.DAY, limit_nano_usd=10**9, at_limit=at_limit)
    async with running(fake, Unwritable(store), budgets=(limit,)) as bench:
        if at_limit is AtLimit.WARN:
            assert (await bench.ask()).content
        else:
            assert str(await bench.failure()) == "The disk is full."
            assert bench.upstream == []


async def test_a_budget_that_warns_counts_what_could_not_be_reserved(
    fake: FakeProvider, store: Store, tmp_path: Path
) -> None:
    fake.always("standard", ok(usage=USAGE))
    limit = Budget(name="all", period=BudgetPeriod.DAY, limit_nano_usd=10**9, at_limit=AtLimit.WARN)
    unwritable = Unwritable(store)
    async with running(fake, unwritable, spool=tmp_path / "spool", budgets=(limit,)) as bench:
        await ask_in_vain(bench)
        unwritable.full = False
        await bench.ask(prompt="two")
        assert await calls(store, 2) == 2 * COST
        account = await bench.engine.spending.account(limit)
        assert (account.spent_nano_usd, account.reserved_nano_usd) == (2 * COST, 0)
    assert await store.check() == []


async def test_a_call_at_its_deadline_does_not_wait_for_a_locked_database(
    fake: FakeProvider, tmp_path: Path
) -> None:
    fake.always("standard", ok(usage=USAGE))
    path = tmp_path / "tierwise.db"
    soon = ReliabilitySettings(deadline=0.5)
    async with open_store(path, max_cache_bytes=1_000_000, busy_timeout=3600) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with running(fake, store, spool=tmp_path / "spool", reliability=soon) as bench:
                receipt = await bench.ask(prompt="one")
                assert "will be written down later" in (receipt.warning or "")
                other.execute("ROLLBACK")
                assert await calls(store, 1) == COST
        await Spool(tmp_path / "spool").replay(store)
        assert await calls(store, 1) == COST
