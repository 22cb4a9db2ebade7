"""A process that spends in parallel: `python -m tests.storage.budget_worker PATH NAME ROUNDS`.

Each of its tasks reserves 100 and, if that is granted, spends 70, again and again. It writes a line
of JSON for each grant: what the account held right after it, and the thresholds that were crossed.
"""

import json
import sys
from pathlib import Path

import anyio

from tests.storage.samples import MIDNIGHT, NOON, attempt, call, reservation
from tierwise.storage.sqlite import SQLiteStore, open_store

PARALLEL = 50
RESERVED = 100
SPENT = 70


async def spend(store: SQLiteStore, call_id: str) -> None:
    if await store.reserve(reservation(call_id, RESERVED, "all", "wide"), now=NOON):
        return
    held = await store.budget_spent("all", MIDNIGHT, now=NOON)
    committed = await store.record(call(call_id, attempt(cost_nano_usd=SPENT)))
    crossed = [crossing.percent for crossing in committed.crossed]
    line = {"held": held.spent_nano_usd + held.reserved_nano_usd, "crossed": crossed}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def main(path: Path, name: str, rounds: int) -> None:
    async with open_store(path, max_cache_bytes=20_000, busy_timeout=30) as store:

        async def spend_often(task: int) -> None:
            for number in range(rounds):
                await spend(store, f"{name}-{task}-{number}")

        async with anyio.create_task_group() as tasks:
            for task in range(PARALLEL):
                tasks.start_soon(spend_often, task)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
