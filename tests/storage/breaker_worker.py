"""A process that wants to try: `python -m tests.storage.breaker_worker PATH NOW`.

It says `ready`, waits for a line on stdin, claims the probe of `DEPLOYMENT` from `PARALLEL` tasks at
once and writes how many of them may try. It does not end before stdin does.
"""

import sys
from pathlib import Path

import anyio

from tierwise.storage.sqlite import open_store

DEPLOYMENT = "fake/model"
PARALLEL = 20
LEASE_MS = 30_000


async def main(path: Path, now: int) -> None:
    granted: list[bool] = []

    async with open_store(path, max_cache_bytes=1_000_000, busy_timeout=30) as store:

        async def claim() -> None:
            granted.append(await store.claim_probe(DEPLOYMENT, now=now, lease_ms=LEASE_MS))

        say("ready")
        await anyio.to_thread.run_sync(sys.stdin.readline)
        async with anyio.create_task_group() as tasks:
            for _ in range(PARALLEL):
                tasks.start_soon(claim)
        say(str(sum(granted)))
        await anyio.to_thread.run_sync(sys.stdin.readline)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
