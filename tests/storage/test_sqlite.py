"""What only the SQLite store promises: its files, its rows, and what it says when they are at fault."""

import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any

import anyio
import pytest

from tests.storage.samples import NOON, QUARTER, answer, attempt, call, digest
from tierwise.storage.errors import (
    DatabaseBusy,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseTooNew,
    StorageError,
)
from tierwise.storage.ports import Store
from tierwise.storage.sqlite import migrate as migrations
from tierwise.storage.sqlite import open_store
from tierwise.storage.sqlite.errors import storage_errors
from tierwise.storage.sqlite.migrate import migrate
from tierwise.storage.sqlite.prepare import prepare

pytestmark = pytest.mark.anyio

SIZE = 64 * 1024**2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "tierwise.db"


async def record(path: Path, *call_ids: str) -> None:
    async with open_store(path, max_cache_bytes=SIZE) as store:
        for call_id in call_ids:
            await store.record(call(call_id, attempt()))


async def count(store: Store) -> int:
    [row] = await store.usage(start=NOON, end=NOON + QUARTER)
    return row.calls


def query(path: Path, sql: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


def overwrite_table(path: Path, name: str) -> None:
    """Damage one table; the header and the schema stay sound."""
    [row] = query(path, f"SELECT rootpage FROM sqlite_master WHERE name = '{name}'")  # noqa: S608
    with path.open("r+b") as file:
        file.seek((row["rootpage"] - 1) * 4096)
        file.write(b"\xff" * 4096)


def overwrite(path: Path) -> None:
    path.write_bytes(b"not a database" * 500)


def set_aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.corrupt-*Z"))


async def test_what_was_recorded_is_there_after_opening_again(path: Path) -> None:
    async with open_store(path, max_cache_bytes=SIZE) as store:
        key = store.digest_key
        await store.record(call("a"), answer())
    async with open_store(path, max_cache_bytes=SIZE) as store:
        assert store.digest_key == key
        assert await count(store) == 1
        assert await store.find_answer(digest("one"), now=NOON) == answer()


async def test_files_are_for_their_owner_alone(path: Path) -> None:
    umask = os.umask(0)
    try:
        async with open_store(path, max_cache_bytes=SIZE) as store:
            await store.record(call("a"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(umask)
    names = ["cache.key", *(f"tierwise.db{suffix}" for suffix in ("", "-shm", "-wal", ".lock"))]
    assert modes == dict.fromkeys(names, 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_damaged_key_is_replaced_with_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await record(path, "a")
    path.with_name("cache.key").write_bytes(b"short")
    async with open_store(path, max_cache_bytes=SIZE) as store:
        assert len(store.digest_key) == 32
        assert path.with_name("cache.key").read_bytes() == store.digest_key
    assert "cache.key" in caplog.text


@pytest.mark.parametrize("content", [b"not a database" * 500, b"SQLite format 3\0" + b"\xff" * 9_000])
async def test_a_file_that_is_no_database_is_set_aside(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    await record(path, "a")
    [aside] = set_aside(path)
    assert aside.read_bytes() == content
    assert str(aside) in caplog.text
    assert len(query(path, "SELECT * FROM calls")) == 1


async def test_a_damaged_file_is_set_aside_once_by_those_who_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tierwise.db"
    at_once = Barrier(8)

    def run(_: int) -> bytes:
        at_once.wait(10)
        return prepare(path, busy_timeout=10)

    for _ in range(5):
        overwrite(path)
        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(run, range(8)))) == 1
    assert len(set_aside(path)) == 5


async def test_a_truncated_database_is_set_aside(path: Path) -> None:
    await record(path, "a")
    os.truncate(path, 3 * 4096)
    await record(path, "b")
    assert [aside.stat().st_size for aside in set_aside(path)] == [3 * 4096]


async def test_a_database_with_a_damaged_table_is_set_aside(path: Path) -> None:
    await record(path, "a")
    overwrite_table(path, "calls")
    await record(path, "b")
    assert len(set_aside(path)) == 1


async def test_damage_met_in_use_is_said_and_the_next_start_sets_the_file_aside(path: Path) -> None:
    async with open_store(path, max_cache_bytes=SIZE) as store:
        await store.record(call("a"), answer(content="x" * 5 * 1024**2))
    overwrite_table(path, "calls")
    with pytest.raises(StorageError, match=r"is damaged\. Restart tierwise"):
        await record(path, "b")
    assert set_aside(path) == []
    await record(path, "c")
    assert len(set_aside(path)) == 1
    assert len(query(path, "SELECT * FROM calls")) == 1


async def test_whoever_still_holds_the_damaged_file_does_not_touch_the_new_one(path: Path) -> None:
    async with open_store(path, max_cache_bytes=SIZE) as holder:
        await holder.record(call("a"))
        overwrite(path)
        Path(f"{path}-wal").write_bytes(b"not a log" * 5_000)
        async with open_store(path, max_cache_bytes=SIZE) as store:
            await store.record(call("b"))
            await holder.aclose()
            await store.record(call("c"))
    [aside] = set_aside(path)
    assert Path(f"{aside}-wal").read_bytes() == b"not a log" * 5_000
    assert {row["call_id"] for row in query(path, "SELECT call_id FROM calls")} == {"b", "c"}


async def test_a_sound_database_is_never_set_aside(path: Path) -> None:
    await record(path, "a")
    path.with_name("tierwise.db.damaged").touch()
    await record(path, "b")
    assert set_aside(path) == []
    assert not path.with_name("tierwise.db.damaged").exists()


async def test_a_database_of_a_later_version_is_refused_and_left_alone(path: Path) -> None:
    await record(path, "a")
    query(path, "PRAGMA user_version = 999")
    before = path.read_bytes()
    with pytest.raises(DatabaseTooNew, match=r"schema 999.*Upgrade tierwise"):
        await record(path, "b")
    assert path.read_bytes() == before


async def test_a_write_lock_held_by_another_is_waited_for_and_then_said(path: Path) -> None:
    async with open_store(path, max_cache_bytes=SIZE, busy_timeout=0.05) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseBusy, match="locked by another process"):
                await store.record(call("a"))
            assert await count(store) == 0
        await store.record(call("a"))
        assert await count(store) == 1


async def test_the_time_in_the_queue_counts_as_waiting_for_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a call behind ten others would wait ten times as long for a lock that is not let go."""
    async with open_store(path, max_cache_bytes=SIZE, busy_timeout=3600) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            asked_and_begun = iter((0.0, 3600.0))
            monkeypatch.setattr("tierwise.storage.sqlite.database.monotonic", lambda: next(asked_and_begun))
            with anyio.fail_after(30), pytest.raises(DatabaseBusy):
                await store.record(call("a"))


async def test_opening_while_another_prepares_the_file_says_that_it_is_busy(path: Path) -> None:
    await record(path, "a")
    with closing(sqlite3.connect(f"{path}.lock", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseBusy):
            async with open_store(path, max_cache_bytes=SIZE, busy_timeout=0.05):
                pass


async def test_a_record_that_was_begun_is_committed_though_its_caller_is_cancelled(path: Path) -> None:
    async with open_store(path, max_cache_bytes=SIZE) as store:
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.record, call("a", attempt()))
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
    async with open_store(path, max_cache_bytes=SIZE) as store:
        assert await count(store) == 1


async def test_cancelling_its_owner_still_closes_the_store(path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with open_store(path, max_cache_bytes=SIZE) as store:
            await store.record(call("a"))
            scope.cancel()
            await anyio.sleep_forever()
    # SQLite removes it when the last connection is closed.
    assert not Path(f"{path}-wal").exists()


async def test_a_call_that_cannot_be_stored_whole_leaves_nothing(path: Path) -> None:
    async with open_store(path, max_cache_bytes=SIZE) as store:
        with pytest.raises(StorageError):
            await store.record(call("a", attempt(), attempt(model=None)), answer())
        with pytest.raises(StorageError):
            await store.record(call("b", tier=None))
        assert await count(store) == 0
        await store.record(call("a", attempt()))
        assert await count(store) == 1


async def test_a_folder_in_place_of_the_file_is_said(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StorageError, match="unable to open database file"):
        await record(path, "a")
    assert path.is_dir()


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that not even root can write")
async def test_a_folder_that_cannot_be_written_is_said() -> None:
    with pytest.raises(DatabaseReadOnly, match="Make it and its folder writable"):
        await record(Path("/sys/kernel/tierwise.db"), "a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write any file")
async def test_a_file_that_cannot_be_written_is_said_at_the_start(path: Path) -> None:
    await record(path, "a")
    path.chmod(0o400)
    with pytest.raises(DatabaseReadOnly):
        await record(path)


def fill(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 2")
    connection.execute("CREATE TABLE filler AS SELECT zeroblob(100000)")


def write_query_only(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.execute("CREATE TABLE forbidden (x)")


@pytest.mark.parametrize(("fail", "expected"), [(fill, DatabaseFull), (write_query_only, DatabaseReadOnly)])
async def test_errors_of_sqlite_itself_become_ours(tmp_path: Path, fail: Any, expected: type) -> None:
    path = tmp_path / "x.db"
    connect = closing(sqlite3.connect(path))
    with connect as connection, pytest.raises(expected, match=str(path)), storage_errors(path):
        fail(connection)


async def test_an_error_without_its_own_class_says_what_sqlite_said(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connect = closing(sqlite3.connect(path))
    with connect as connection, pytest.raises(StorageError, match="no such table: y"), storage_errors(path):
        connection.execute("SELECT * FROM y")


OF_VERSION_2 = f"""
    INSERT INTO labels VALUES (1, 'openai', 'small', 'simple', 'chat', '', '');
    INSERT INTO calls VALUES (1, 'a', {NOON}, 15250, 1, 'ok', NULL, NULL, NULL, 0, NULL, NULL, NULL);
    INSERT INTO attempts VALUES (1, 0, 1, 'ok', NULL, {NOON}, 12500, 10, 3, 4, 0, 0, 0, 700, NULL, NULL);
    PRAGMA user_version = 2;
"""  # noqa: S608  a number of ours


async def test_calls_of_an_earlier_version_are_read_and_corrected(path: Path) -> None:
    path.parent.mkdir()
    scripts = sorted(Path(migrations.__file__).with_name("migrations").glob("*.sql"))[:2]
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("".join(script.read_text("utf-8") for script in scripts) + OF_VERSION_2)
    async with open_store(path, max_cache_bytes=SIZE) as store:
        await store.repair()
        found = [batch async for batch in store.export_calls(start=0, end=NOON + 1)]
        assert found == [[call("a", attempt(cache_read_tokens=4))]]
        assert await store.set_costs([("a", 0, 5)]) == 1
        assert await store.check() == []


async def test_an_empty_file_is_migrated_once_by_those_who_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    at_once = Barrier(4)

    def run(_: int) -> int:
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
            at_once.wait(10)
            migrate(connection, path)
            return connection.execute("SELECT count(*) FROM cache_size").fetchone()[0]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(run, range(4))) == [1, 1, 1, 1]


async def test_the_cache_size_is_the_sum_of_its_answers(path: Path) -> None:
    async with open_store(path, max_cache_bytes=1_500) as store:
        for number in range(20):
            name = str(number % 7)
            await store.record(call(str(number)), answer(name, expires_at=NOON + number))
            await store.purge_answers(now=NOON + number // 2)
    [sums] = query(path, "SELECT (SELECT bytes FROM cache_size) AS kept, sum(bytes) AS added FROM answers")
    assert sums["kept"] == sums["added"] > 0
