"""What the SQLite store promises of its tables: sums that can be proved, sizes that are bounded."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.storage.samples import DAY, HOUR, MIDNIGHT, NOON, QUARTER, attempt, call, outcome
from tierwise.storage.errors import TooManyGroups
from tierwise.storage.ports import Store
from tierwise.storage.records import Dimension, MetadataKey
from tierwise.storage.sqlite import open_store
from tierwise.storage.sqlite.rollup import rebuild_day

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store of this test lies."""
    return tmp_path / "tierwise.db"


def execute(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def query(path: Path, sql: str) -> int:
    """The one number that the answer is."""
    [(number,)] = execute(path, sql)
    return number


def add_calls(path: Path, count: int, name: str = "many", **fields: Any) -> None:
    """Many calls at once, all like one but for what `fields` make of their number `n`."""
    names = ", ".join(["latency_us", "labels", "status", "cached", *fields])
    values = ", ".join(["1", "1", "'ok'", "0", *(str(value) for value in fields.values())])
    execute(
        path,
        f"""
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT {count})
        INSERT INTO calls (call_id, {names}) SELECT '{name}-' || n, {values} FROM number
        """,  # noqa: S608
    )


async def three_days(store: Store) -> None:
    for number, started_at in enumerate([MIDNIGHT - 1, NOON, NOON + QUARTER, NOON + HOUR, MIDNIGHT + DAY]):
        tried = attempt(model=f"model{number % 2}", outcome="timed_out")
        await store.record(call(str(number), tried, attempt(), started_at=started_at))


@pytest.mark.parametrize("span", [1, 4, 96])
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE usage SET cost_nano_usd = cost_nano_usd + 1 WHERE span = {span} AND quarter = {quarter}",
        "UPDATE usage SET calls = calls - 1 WHERE span = {span} AND quarter = {quarter}",
        "DELETE FROM usage WHERE span = {span} AND quarter = {quarter}",
        "INSERT INTO usage VALUES ({span}, {quarter}, 99, 1, 0, 0, 0, 0, 0, 0, 0, 0)",
    ],
)
async def test_sums_that_are_not_those_of_the_calls_are_found_and_made_anew(
    path: Path, damage: str, span: int
) -> None:
    async with open_store(path, max_cache_bytes=0) as store:
        await three_days(store)
        assert await store.check() == []
        before = execute(path, "SELECT * FROM usage")
        execute(path, damage.format(span=span, quarter=NOON // QUARTER // span * span))
        *_, finding = await store.check()
        assert finding.text.startswith("On 2026-11-18 (UTC), ")
        await store.repair()
        assert await store.check() == []
        assert execute(path, "SELECT * FROM usage") == before


async def test_a_call_that_lost_its_rows_is_found(path: Path) -> None:
    async with open_store(path, max_cache_bytes=0) as store:
        await three_days(store)
        execute(path, "DELETE FROM attempts WHERE call = 1")
        [finding] = await store.check()
        assert finding.text.startswith("On 2026-11-17 (UTC), ")


async def test_a_day_that_is_pruned_while_sums_are_made_anew_keeps_its_own(path: Path) -> None:
    async with open_store(path, max_cache_bytes=0) as store:
        await three_days(store)
        before = execute(path, "SELECT * FROM usage")
        await store.prune(before=MIDNIGHT)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        rebuild_day(connection, MIDNIGHT // DAY - 1)
    assert execute(path, "SELECT * FROM usage") == before


async def test_features_are_kept_for_the_newest_10_000_calls_only(path: Path) -> None:
    async with open_store(path, max_cache_bytes=0) as store:
        for call_id in ("a", "b"):
            await store.record(call(call_id, features=b"f"))
        await store.add_outcome(outcome("a"))
        add_calls(path, 9_998, started_at=NOON)
        assert execute(path, "SELECT call FROM features") == [(1,), (2,)]
        await store.record(call("c", features=b"f"))
        assert execute(path, "SELECT call FROM features") == [(2,), (10_001,)]
        # A later verdict of the same source keeps what was copied with the first.
        await store.add_outcome(outcome("a", at=NOON + 1))
        [found] = await store.outcomes(1)
        assert (found.at, found.features) == (NOON + 1, b"f")


async def test_pruning_takes_many_calls_in_several_transactions(path: Path) -> None:
    async with open_store(path, max_cache_bytes=0) as store:
        await store.record(call("a", attempt()))
        add_calls(path, 4_500, started_at=MIDNIGHT - DAY)
        assert await store.prune(before=NOON) == 4_500
        assert execute(path, "SELECT call_id FROM calls") == [("a",)]
        assert len(execute(path, "SELECT * FROM attempts")) == 1


async def test_pruning_gives_the_room_back_to_the_disk_while_others_use_the_file(path: Path) -> None:
    async with open_store(path, max_cache_bytes=0) as other, open_store(path, max_cache_bytes=0) as store:
        await other.record(call("a", attempt()))
        add_calls(path, 50_000, started_at=MIDNIGHT - DAY)
        full = query(path, "PRAGMA page_count")
        assert await store.prune(before=MIDNIGHT) == 50_000
        assert query(path, "PRAGMA page_count") < full / 5
        assert query(path, "PRAGMA freelist_count") <= query(path, "PRAGMA page_count") / 10
        await other.record(call("b", attempt()))
        [row] = await other.usage(start=NOON, end=NOON + QUARTER)
        assert row.calls == 2
    assert path.stat().st_size < full * 4096 / 5
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]


async def test_pruning_a_little_leaves_the_room_for_the_calls_to_come(path: Path) -> None:
    async with open_store(path, max_cache_bytes=0) as store:
        await store.record(call("a", attempt()))
        add_calls(path, 20_000, started_at=NOON)
        add_calls(path, 1_000, "old", started_at=MIDNIGHT - DAY)
        full = query(path, "PRAGMA page_count")
        assert await store.prune(before=MIDNIGHT) == 1_000
        assert query(path, "PRAGMA page_count") == full


async def test_a_call_takes_less_than_250_bytes(path: Path) -> None:
    async with open_store(path, max_cache_bytes=0):
        pass
    empty = path.stat().st_size
    async with open_store(path, max_cache_bytes=0) as store:
        for number in range(2_000):
            served = {"provider": "anthropic", "model": f"anthropic/claude-sonnet-4-{number % 5}"}
            details = {
                "started_at": NOON + number * 60_000,
                "complexity_score": number / 7_000,
                "tier_served": "standard",
            }
            tried = attempt(**served, input_tokens=1_000 + number, cost_nano_usd=10**6 + number)
            await store.record(
                call(
                    f"{number:024x}",
                    tried,
                    finish_reason="stop",
                    saved_nano_usd=10**7 + number,
                    **served,
                    **details,
                )
            )
    assert (path.stat().st_size - empty) / 2_000 < 250


async def test_long_periods_are_read_from_rows_of_days(path: Path) -> None:
    """The rows of quarters and hours within whole days are gone, and nobody misses them."""
    async with open_store(path, max_cache_bytes=0) as store:
        await three_days(store)
        start, end = MIDNIGHT - QUARTER, MIDNIGHT + DAY
        before = await store.usage(start=start, end=end, group_by=[Dimension.MODEL])
        execute(path, f"DELETE FROM usage WHERE span < 96 AND quarter >= {MIDNIGHT // QUARTER}")  # noqa: S608
        assert await store.usage(start=start, end=end, group_by=[Dimension.MODEL]) == before


async def test_metadata_is_summed_up_over_more_calls_than_are_read_at_once(path: Path) -> None:
    halves = """'{"half":"' || (n % 2) || '"}'"""
    async with open_store(path, max_cache_bytes=0) as store:
        await store.record(call("a", attempt()))
        add_calls(path, 60_000, started_at=NOON, metadata=halves)
        add_calls(path, 52_000, "later", started_at=f"{NOON} + n", metadata=halves)
        rows = await store.usage(start=NOON, end=NOON + HOUR, group_by=[MetadataKey("half")])
        assert {row.key: row.calls for row in rows} == {("0",): 56_000, ("1",): 56_000, ("",): 1}


async def test_sums_by_a_key_with_more_values_than_anyone_reads_are_refused(path: Path) -> None:
    async with open_store(path, max_cache_bytes=0) as store:
        await store.record(call("a", attempt()))
        add_calls(path, 100_001, started_at=f"{NOON} + n", metadata="""'{"id":"' || n || '"}'""")
        with pytest.raises(TooManyGroups, match="more than 100,000 groups"):
            await store.usage(start=NOON, end=NOON + HOUR, group_by=[MetadataKey("id")])
        [row] = await store.usage(start=NOON, end=NOON + HOUR, filters={MetadataKey("id"): "77777"})
        assert row.calls == 1
