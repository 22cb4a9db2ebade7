"""Several real processes that spend against one limit."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.storage.budget_worker import PARALLEL, RESERVED, SPENT
from tests.storage.samples import DAY, MIDNIGHT, NOON, QUARTER, budget, reservation
from tierwise.storage.sqlite import open_store

pytestmark = pytest.mark.anyio

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
PROCESSES = 4
ROUNDS = 3
LIMIT = 20_000


def command(path: Path, name: str) -> list[str]:
    return [sys.executable, "-m", "tests.storage.budget_worker", str(path), name, str(ROUNDS)]


async def run_workers(path: Path) -> list[dict[str, Any]]:
    """What the workers say of each grant."""
    grants: list[dict[str, Any]] = []

    async def run(name: str) -> None:
        done = await anyio.run_process(command(path, name), env=ENVIRONMENT, stderr=None)
        grants.extend(json.loads(line) for line in done.stdout.splitlines())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(PROCESSES):
                tasks.start_soon(run, f"process{number}")
    return grants


async def test_200_calls_at_once_from_4_processes_never_pass_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "tierwise.db"
    async with open_store(path, max_cache_bytes=20_000) as store:
        await store.set_budget(budget(limit=LIMIT, thresholds=(50, 60, 70)), period_start=MIDNIGHT)
        await store.set_budget(budget("wide", limit=10**9), period_start=MIDNIGHT)
        grants = await run_workers(path)
        account = await store.budget_spent("all", MIDNIGHT, now=NOON)
        wide = await store.budget_spent("wide", MIDNIGHT, now=NOON)
        [usage] = await store.usage(start=MIDNIGHT, end=MIDNIGHT + DAY)
        assert await store.check() == []
        rest = LIMIT - account.spent_nano_usd
        assert await store.reserve(reservation("last", rest + 1), now=NOON) != ()
        assert await store.reserve(reservation("last", rest), now=NOON) == ()
    # Nobody is refused before so many hold or have spent their share, and not all find room.
    assert LIMIT // RESERVED <= len(grants) < PROCESSES * PARALLEL * ROUNDS
    assert max(grant["held"] for grant in grants) <= LIMIT
    assert account == wide
    assert account.spent_nano_usd == usage.cost_nano_usd == SPENT * len(grants)
    assert account.reserved_nano_usd == 0
    assert account.spent_nano_usd <= LIMIT
    assert sorted(percent for grant in grants for percent in grant["crossed"]) == [50, 60, 70]


async def test_a_killed_process_leaves_reservations_that_expire(tmp_path: Path) -> None:
    path = tmp_path / "tierwise.db"
    async with open_store(path, max_cache_bytes=20_000) as store:
        await store.set_budget(budget(limit=LIMIT), period_start=MIDNIGHT)
        with anyio.fail_after(60):
            async with await anyio.open_process(command(path, "victim"), env=ENVIRONMENT) as process:
                assert process.stdout
                await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 100)
                process.kill()
        spent = (await store.budget_spent("all", MIDNIGHT, now=NOON)).spent_nano_usd
        # Whatever the victim held, all that it did not spend can be reserved once it has expired.
        later = reservation("heir", LIMIT - spent, expires_at=NOON + DAY)
        assert await store.reserve(later, now=NOON + QUARTER) == ()
