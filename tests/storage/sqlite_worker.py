"""A process that records calls in parallel: `python -m tests.storage.sqlite_worker PATH NAME COUNT`.

It writes the `call_id` of each to stdout once it is committed.
"""

import sys
from pathlib import Path

import anyio

from tests.storage.samples import answer, attempt, call
from tierwise.storage.sqlite import open_store

PARALLEL = 50


async def main(path: Path, name: str, count: int) -> None:
    async with open_store(path, max_cache_bytes=20_000, busy_timeout=30) as store:

        async def record_share(first: int) -> None:
            for number in range(first, count, PARALLEL):
                call_id = f"{name}-{number}"
                await store.record(call(call_id, attempt(outcome="timed_out"), attempt()), answer(call_id))
                sys.stdout.write(f"{call_id}\n")
                sys.stdout.flush()

        async with anyio.create_task_group() as tasks:
            for first in range(PARALLEL):
                tasks.start_soon(record_share, first)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
