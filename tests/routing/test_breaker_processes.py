"""Two real processes that call the same provider, on one database."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.fake_provider import FakeProvider, status
from tests.routing.bench import Gate
from tests.routing.breaker_worker import FAILURES
from tierwise.storage.ports import Store

pytestmark = pytest.mark.anyio

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


class Worker:
    """See `breaker_worker`."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdout
        self.process = process
        self._lines = BufferedByteReceiveStream(process.stdout)

    async def line(self) -> str:
        return (await self._lines.receive_until(b"\n", 100_000)).decode()

    async def begin(self, calls: int) -> None:
        assert self.process.stdin
        await self.process.stdin.send(f"{calls}\n".encode())

    async def ask(self, calls: int = 1) -> list[str]:
        """The models that serve so many calls at once."""
        await self.begin(calls)
        return json.loads(await self.line())


@asynccontextmanager
async def worker(database: Path, fake: FakeProvider, name: str) -> AsyncGenerator[Worker]:
    command = [sys.executable, "-m", "tests.routing.breaker_worker", str(database), fake.url, name]
    async with await anyio.open_process(
        command, env=ENVIRONMENT, stderr=None, stdin=subprocess.PIPE
    ) as process:
        try:
            started = Worker(process)
            assert await started.line() == "ready"
            yield started
        finally:
            if process.returncode is None:
                process.kill()


def requests(fake: FakeProvider, model: str) -> int:
    """How often the provider has been asked for that model."""
    return sum(request.json["model"] == model for request in fake.requests)


async def until(happened: Callable[[], bool]) -> None:
    while not happened():  # noqa: ASYNC110  the provider sets no event
        await anyio.sleep(0.01)


async def test_two_processes_count_together_leave_alone_together_and_one_call_of_both_tries(
    fake: FakeProvider, store: Store, database: Path
) -> None:
    fake.always("standard", status(500))
    with anyio.fail_after(120):
        async with worker(database, fake, "one") as one, worker(database, fake, "other") as other:
            # Neither has seen as many failures as it takes.
            assert await one.ask() + await other.ask() + await one.ask() == ["fake/peer"] * 3
            [known] = await store.breakers()
            assert (known.failures, known.opened_at is not None) == (FAILURES, True)
            assert await one.ask(5) + await other.ask(5) == ["fake/peer"] * 10
            assert requests(fake, "standard") == FAILURES

            await store.half_open(known.deployment, now=(known.opened_at or 0) + 1)
            gate = Gate()
            fake.next("standard", gate)
            await one.begin(10)
            await other.begin(10)
            await gate.reached()
            # All but the one that tries can be answered while it still does.
            await until(lambda: requests(fake, "peer") == 3 + 10 + 19)
            gate.opened.set()
            served = json.loads(await one.line()) + json.loads(await other.line())
            assert sorted(served) == ["fake/peer"] * 19 + ["fake/standard"]
            assert requests(fake, "standard") == FAILURES + 1
            assert await store.breakers() == []


async def test_a_process_that_is_killed_while_it_tries_is_not_waited_for_longer_than_its_lease(
    fake: FakeProvider, store: Store, database: Path
) -> None:
    fake.always("standard", status(500))
    with anyio.fail_after(120):
        async with worker(database, fake, "one") as one:
            for _ in range(FAILURES):
                await one.ask()
            [known] = await store.breakers()
            await store.half_open(known.deployment, now=(known.opened_at or 0) + 1)
            gate = Gate()
            fake.always("standard", gate)
            await one.begin(1)
            await gate.reached()
            one.process.kill()
        [tried] = await store.breakers()
        assert tried.probe_at is not None
        end = tried.probe_at + tried.lease_ms
        assert not await store.claim_probe(known.deployment, now=end - 1, lease_ms=1)
        assert await store.claim_probe(known.deployment, now=end, lease_ms=1)
