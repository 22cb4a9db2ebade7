"""Several real processes on one file."""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.storage.samples import NOON, QUARTER
from tierwise.storage.records import UsageRow
from tierwise.storage.sqlite import open_store

pytestmark = pytest.mark.anyio

# The children import what this process imports, be it the tree or an installed wheel.
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def command(path: Path, name: str, count: int) -> list[str]:
    return [sys.executable, "-m", "tests.storage.sqlite_worker", str(path), name, str(count)]


async def run_workers(path: Path, processes: int, count: int) -> set[str]:
    """The ids that the workers say are committed."""
    committed: set[str] = set()

    async def run(name: str) -> None:
        done = await anyio.run_process(command(path, name, count), env=ENVIRONMENT, stderr=None)
        committed.update(done.stdout.decode().split())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(processes):
                tasks.start_soon(run, f"process{number}")
    return committed


def stored_ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in connection.execute("SELECT call_id FROM calls")]


def sums_of_rows(path: Path) -> tuple[int, ...]:
    with closing(sqlite3.connect(path)) as connection:
        [calls] = connection.execute("SELECT count(*) FROM calls").fetchone()
        tokens_and_cost = "sum(input_tokens), sum(output_tokens), sum(cost_nano_usd)"
        return (calls, *connection.execute(f"SELECT {tokens_and_cost} FROM attempts").fetchone())  # noqa: S608


async def rolled_up(path: Path) -> UsageRow:
    async with open_store(path, max_cache_bytes=20_000) as store:
        [row] = await store.usage(start=NOON, end=NOON + QUARTER)
        return row


async def test_processes_that_record_at_once_leave_exactly_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tierwise.db"
    committed = await run_workers(path, processes=4, count=100)
    assert len(committed) == 400
    assert sorted(stored_ids(path)) == sorted(committed)
    row = await rolled_up(path)
    sums = (row.calls, row.input_tokens, row.output_tokens, row.cost_nano_usd)
    assert sums == sums_of_rows(path) == (400, 8_000, 2_400, 560_000)


async def test_processes_that_meet_a_damaged_file_at_once_set_it_aside_once(tmp_path: Path) -> None:
    path = tmp_path / "tierwise.db"
    path.write_bytes(b"not a database" * 500)
    committed = await run_workers(path, processes=4, count=10)
    assert sorted(stored_ids(path)) == sorted(committed)
    assert len(committed) == 40
    assert len(list(tmp_path.glob("tierwise.db.corrupt-*"))) == 1


async def test_a_killed_process_loses_no_committed_call(tmp_path: Path) -> None:
    path = tmp_path / "tierwise.db"
    with anyio.fail_after(60):
        async with await anyio.open_process(command(path, "victim", 10**6), env=ENVIRONMENT) as process:
            assert process.stdout
            lines = BufferedByteReceiveStream(process.stdout)
            committed = {(await lines.receive_until(b"\n", 100)).decode() for _ in range(200)}
            process.kill()
    assert committed <= set(stored_ids(path))
    row = await rolled_up(path)
    assert (row.calls, row.cost_nano_usd) == (sums_of_rows(path)[0], sums_of_rows(path)[3])
