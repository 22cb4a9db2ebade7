"""Several real processes that want to try the same deployment."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.storage.breaker_worker import DEPLOYMENT, LEASE_MS
from tests.storage.samples import NOON
from tierwise.storage.ports import Store
from tierwise.storage.sqlite import open_store

pytestmark = pytest.mark.anyio

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
PROCESSES = 4
COOLDOWN = 60_000
LATER = NOON + COOLDOWN


class Worker:
    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdout
        self.process = process
        self._lines = BufferedByteReceiveStream(process.stdout)

    async def says(self) -> str:
        return (await self._lines.receive_until(b"\n", 100)).decode()

    async def go_on(self) -> None:
        assert self.process.stdin
        await self.process.stdin.send(b"\n")


async def start(path: Path) -> Worker:
    command = [sys.executable, "-m", "tests.storage.breaker_worker", str(path), str(LATER)]
    worker = Worker(await anyio.open_process(command, env=ENVIRONMENT, stderr=None, stdin=subprocess.PIPE))
    assert await worker.says() == "ready"
    return worker


async def open_breaker(store: Store) -> None:
    for _ in range(5):
        await store.note_failure(DEPLOYMENT, "timeout", now=NOON, threshold=5, cooldown_ms=COOLDOWN)


async def test_of_80_who_come_at_once_in_4_processes_one_may_try(tmp_path: Path) -> None:
    path = tmp_path / "tierwise.db"
    granted: list[int] = []

    async def run(worker: Worker) -> None:
        await worker.go_on()
        granted.append(int(await worker.says()))
        await worker.go_on()
        await worker.process.wait()

    with anyio.fail_after(60):
        async with open_store(path, max_cache_bytes=1_000_000) as store:
            await open_breaker(store)
            workers = [await start(path) for _ in range(PROCESSES)]
            async with anyio.create_task_group() as tasks:
                for worker in workers:
                    tasks.start_soon(run, worker)
            for worker in workers:
                await worker.process.aclose()
    assert sorted(granted) == [0] * (PROCESSES - 1) + [1]


async def test_when_the_process_that_tries_is_killed_another_may_once_its_lease_is_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tierwise.db"
    with anyio.fail_after(60):
        async with open_store(path, max_cache_bytes=1_000_000) as store:
            await open_breaker(store)
            worker = await start(path)
            await worker.go_on()
            assert await worker.says() == "1"
            worker.process.kill()
            await worker.process.aclose()
            assert not await store.claim_probe(DEPLOYMENT, now=LATER + LEASE_MS - 1, lease_ms=LEASE_MS)
            assert await store.claim_probe(DEPLOYMENT, now=LATER + LEASE_MS, lease_ms=LEASE_MS)
