"""Several real processes that call a provider against one limit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.fake_provider import FakeProvider, delay
from tests.routing.spending_worker import PARALLEL
from tierwise.storage.budgets import Budget, BudgetPeriod
from tierwise.storage.ports import Store

pytestmark = pytest.mark.anyio

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
PROCESSES = 4
LIMIT = 30_000_000
"""nano-USD: of 200 calls that cost some 330,000 each, and may cost 2 million, a part fits."""
TOTAL = Budget(name="all", period=BudgetPeriod.TOTAL, limit_nano_usd=LIMIT)


async def test_200_calls_at_once_from_4_processes_never_spend_more_than_the_limit(
    fake: FakeProvider, store: Store, database: Path
) -> None:
    fake.always("standard", delay(0.05))
    await store.set_budget(TOTAL, period_start=0)
    told: list[dict[str, Any]] = []
    held: list[int] = []
    ready = [anyio.Event() for _ in range(PROCESSES)]
    go = anyio.Event()

    async def run(number: int) -> None:
        command = [sys.executable, "-m", "tests.routing.spending_worker", str(database), fake.url]
        async with await anyio.open_process(
            [*command, f"process{number}"], env=ENVIRONMENT, stderr=None, stdin=subprocess.PIPE
        ) as process:
            assert process.stdin
            assert process.stdout
            lines = BufferedByteReceiveStream(process.stdout)
            assert await lines.receive_until(b"\n", 100) == b"ready"
            ready[number].set()
            await go.wait()
            await process.stdin.send(b"\n")
            told.append(json.loads(await lines.receive_until(b"\n", 100_000)))

    async def watch(done: anyio.Event) -> None:
        while not done.is_set():
            held.append(await holding(store))
            await anyio.sleep(0.005)

    with anyio.fail_after(120):
        async with anyio.create_task_group() as watching:
            done = anyio.Event()
            watching.start_soon(watch, done)
            async with anyio.create_task_group() as tasks:
                for number in range(PROCESSES):
                    tasks.start_soon(run, number)
                for event in ready:
                    await event.wait()
                go.set()
            done.set()
    account = await store.budget_spent("all", 0, now=2**52)
    (usage,) = await store.usage(start=0, end=2**52)
    costs = [cost for worker in told for cost in worker["costs"]]
    refused = sum(worker["refused"] for worker in told)
    assert len(costs) + refused == usage.calls == PROCESSES * PARALLEL
    assert costs
    assert refused
    assert account.spent_nano_usd == usage.cost_nano_usd == sum(costs) <= LIMIT
    assert LIMIT / 2 < max(held) <= LIMIT


async def holding(store: Store) -> int:
    """What is spent and held back."""
    account = await store.budget_spent("all", 0, now=0)
    return account.spent_nano_usd + account.reserved_nano_usd
