"""A process that asks in parallel: `python -m tests.routing.spending_worker DATABASE URL NAME`.

It opens an engine on the database, says `ready`, waits for a line on stdin, makes `PARALLEL` calls at
once and writes, as a line of JSON, what each served call cost in nano-USD and how many were refused.
"""

import json
import sys
from pathlib import Path

import anyio

from tests.fake_provider import FakeProvider
from tests.routing.bench import answer_of, chat, engine_settings
from tierwise.routing.engine import Engine, open_engine
from tierwise.routing.errors import BudgetExceeded
from tierwise.storage.sqlite import open_store

PARALLEL = 50
MAX_TOKENS = 50


async def main(path: Path, url: str, name: str) -> None:
    port = int(url.rpartition(":")[2].partition("/")[0])
    settings = engine_settings(FakeProvider(port=port), cache_ttl_ms=None)
    costs: list[int | None] = []
    refused = 0

    async def ask(engine: Engine, number: int) -> None:
        nonlocal refused
        try:
            request = chat(f"{name} {number}", max_tokens=MAX_TOKENS)
            costs.append((await answer_of(await engine.start(request))).cost)
        except BudgetExceeded:
            refused += 1

    async with (
        open_store(path, max_cache_bytes=1_000_000, busy_timeout=30) as store,
        open_engine(settings, store, {}) as engine,
    ):
        await engine.load_ahead()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.readline)
        async with anyio.create_task_group() as tasks:
            for number in range(PARALLEL):
                tasks.start_soon(ask, engine, number)
    sys.stdout.write(json.dumps({"costs": costs, "refused": refused}) + "\n")


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
