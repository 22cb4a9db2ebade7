"""What a check of the SQLite store proves, whatever has happened to budgets, prices and old calls."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.storage.samples import DAY, MIDNIGHT, NOON, answer, attempt, budget, call, reservation
from tierwise.storage.budgets import BudgetScope, Charge
from tierwise.storage.ports import Store
from tierwise.storage.sqlite import open_store

pytestmark = pytest.mark.anyio


async def spend(store: Store, call_id: str, cost: int | None, *budgets: str) -> None:
    await store.reserve(reservation(call_id, 900, *budgets), now=NOON)
    await store.record(call(call_id, attempt(cost_nano_usd=cost)))


async def spent(store: Store, name: str = "all", start: int = MIDNIGHT) -> int:
    return (await store.budget_spent(name, start, now=NOON)).spent_nano_usd


async def damaged(path: Path, sql: str) -> list[tuple[str, bool]]:
    """What a check finds once `sql` was done behind the store's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(sql)
    async with open_store(path, max_cache_bytes=10_000) as store:
        return [(finding.text, finding.repairable) for finding in await store.check()]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A store with a budget, a call that was charged to it and an answer."""
    path = tmp_path / "tierwise.db"
    async with open_store(path, max_cache_bytes=10_000) as store:
        await store.set_budget(budget(), period_start=MIDNIGHT)
        await spend(store, "a", 300)
        await store.keep_answer(answer())
        assert await store.check() == []
    return path


async def test_a_budget_made_later_is_sound(store: Store) -> None:
    await store.record(call("before", attempt(cost_nano_usd=100)))
    await store.reserve(reservation("under way", 900), now=NOON)
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await store.record(call("under way", attempt(cost_nano_usd=20)))
    await spend(store, "after", 3)
    assert await spent(store) == 103
    assert await store.check() == []


async def test_calls_that_were_imported_leave_budgets_sound(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await store.import_calls([call("imported", attempt())])
    assert await spent(store) == 0
    assert await store.check() == []


@pytest.mark.parametrize("cost", [300, None])
async def test_a_correction_of_prices_leaves_budgets_sound(store: Store, cost: int | None) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await spend(store, "a", cost)
    before = await spent(store)
    for corrected in (1, 40):
        await store.set_costs([("a", 0, corrected)])
        assert await store.check() == []
    await store.repair()
    assert await spent(store) == before


async def test_pruning_leaves_budgets_what_was_spent(store: Store) -> None:
    await store.set_budget(budget(limit=9_000), period_start=MIDNIGHT)
    await spend(store, "a", 300)
    await spend(store, "b", None)
    assert await store.prune(before=NOON + DAY) == 2
    await store.repair()
    assert await spent(store) == 1_200
    assert await store.check() == []


async def test_a_call_that_ends_in_another_period_is_charged_where_it_was_reserved(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    tomorrow = (Charge(budget="all", period_start=MIDNIGHT + DAY),)
    await store.reserve(reservation("a", 900), now=NOON)
    await store.reserve(reservation("a", 900, charges=tomorrow), now=NOON)
    await store.record(call("a", attempt()))
    assert (await spent(store), await spent(store, start=MIDNIGHT + DAY)) == (0, 700)
    assert await store.check() == []


async def test_charges_go_with_their_budget(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await spend(store, "a", 300)
    await store.delete_budget("all")
    await store.set_budget(budget(scope=BudgetScope.TENANT, scope_value="acme"), period_start=MIDNIGHT)
    assert await spent(store) == 0
    assert await store.check() == []
    await spend(store, "b", 300)
    await store.set_budget(budget(), period_start=MIDNIGHT)
    assert await spent(store) == 600
    assert await store.check() == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE spent SET nano_usd = 299",
        "DELETE FROM charges",  # without the trigger's carrying it over, as below
        "UPDATE spent SET opened_with = 1",
    ],
)
async def test_an_account_that_is_not_the_sum_of_its_charges_is_found_and_made_anew(
    path: Path, damage: str
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER charge_removed")
    [(text, repairable)] = await damaged(path, damage)
    assert text.startswith("The budget 'all' counts ")
    assert "in the period from 2026-11-18 (UTC)" in text
    assert repairable
    async with open_store(path, max_cache_bytes=10_000) as store:
        await store.repair()
        assert await store.check() == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE charges SET nano_usd = 299", "1 charges to budgets are not what their calls cost."),
        ("DELETE FROM calls", "1 rows of attempts belong to calls that are not there."),
        ("DELETE FROM budgets", "1 rows of spent belong to budgets that are not there."),
    ],
)
async def test_rows_that_contradict_each_other_are_found_and_left_alone(
    path: Path, damage: str, told: str
) -> None:
    assert (told, False) in await damaged(path, damage)
    async with open_store(path, max_cache_bytes=10_000) as store:
        await store.repair()
        assert told in [finding.text for finding in await store.check()]


async def test_a_cache_that_miscounts_its_size_is_found_and_counts_anew(path: Path) -> None:
    [(text, repairable)] = await damaged(path, "UPDATE cache_size SET bytes = bytes + 1")
    assert text.startswith("The cache counts 3")
    assert repairable
    async with open_store(path, max_cache_bytes=10_000) as store:
        await store.repair()
        assert await store.check() == []


async def test_damage_to_the_file_is_told_in_place_of_what_it_says(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        # An index that no longer has what its table has: nothing else notices.
        connection.execute("PRAGMA writable_schema = ON")
        wrong = "replace(sql, 'started_at', 'latency_us') WHERE name = 'calls_by_start'"
        connection.execute(f"UPDATE sqlite_master SET sql = {wrong}")  # noqa: S608
        connection.commit()
    async with open_store(path, max_cache_bytes=10_000) as store:
        found = await store.check()
    assert found
    assert all(finding.text.startswith("The database file is damaged: ") for finding in found)
    assert not any(finding.repairable for finding in found)
