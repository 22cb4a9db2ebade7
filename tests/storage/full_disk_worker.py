"""A process on a disk that fills up: `python -m tests.storage.full_disk_worker FOLDER fill|after`.

`fill` leaves no room, records calls until the store takes no more, spools as many as there is room for, and
ends without ceremony. `after` writes down what waits. Both say how many calls they mean.
"""

import os
import sys
from pathlib import Path

import anyio

from tests.storage.samples import NOON, QUARTER, attempt, call
from tierwise.storage.errors import DatabaseFull
from tierwise.storage.spool import Spool
from tierwise.storage.sqlite import open_store

SPOOLED = 20


async def main(folder: Path, task: str) -> None:
    spool = Spool(folder / "calls.spool")
    async with open_store(folder / "calls.db", max_cache_bytes=0) as store:
        await spool.replay(store)
        if task == "after":
            [row] = await store.usage(start=NOON, end=NOON + QUARTER)
            sys.stdout.write(f"{row.calls}\n")
            return
        await store.record(call("first", attempt()))
        _fill(folder / "filler")
        spooled = total = 0
        while spooled < SPOOLED:
            total += 1
            one = call(f"call-{total}", attempt())
            try:
                await store.record(one)
            except DatabaseFull:
                await spool.keep(one)
                spooled += 1
        sys.stdout.write(f"{total + 1}\n")
        sys.stdout.flush()
        os._exit(0)  # what waits in memory is gone


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (2**16, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
