"""A process that asks: `python -m tests.routing.breaker_worker DATABASE URL NAME`.

It opens an engine on the database whose breakers open after `FAILURES` failures, and says `ready`. For
each line on stdin, which holds a number, it makes so many calls at once and writes a line of JSON with the
model that served each. By the clock of its breakers each line comes a second later than the one before,
so what other processes did meanwhile has been noticed. It ends with its input.
"""

import json
import sys
from pathlib import Path

import anyio

from tests.fake_provider import FakeProvider
from tests.routing.bench import answer_of, chat, engine_settings, litellm
from tierwise.routing.engine import Engine, open_engine
from tierwise.routing.reliability.breaker import now_ms
from tierwise.routing.reliability_settings import BreakerSettings, ReliabilitySettings
from tierwise.storage.sqlite import open_store

FAILURES = 3
COOLDOWN = 3600.0


async def main(path: Path, url: str, name: str) -> None:
    fake = FakeProvider(port=int(url.rpartition(":")[2].partition("/")[0]))
    settings = engine_settings(
        fake,
        cache_ttl_ms=None,
        litellm=litellm(fake, max_retries=0),
        reliability=ReliabilitySettings(breaker=BreakerSettings(failures=FAILURES, cooldown=COOLDOWN)),
    )
    async with (
        open_store(path, max_cache_bytes=1_000_000, busy_timeout=30) as store,
        open_engine(settings, store, {}) as engine,
    ):
        await engine.load_ahead()
        say("ready")
        asked = lines = 0
        engine.vitals.breakers.now = lambda: now_ms() + lines * 1000
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            number = int(line)
            lines += 1
            say(json.dumps(await serve(engine, [f"{name} {asked + n}" for n in range(number)])))
            asked += number


async def serve(engine: Engine, prompts: list[str]) -> list[str]:
    """Which model answers each of the prompts."""
    served: dict[str, str] = {}

    async def ask(prompt: str) -> None:
        served[prompt] = (await answer_of(await engine.start(chat(prompt)))).model

    async with anyio.create_task_group() as tasks:
        for prompt in prompts:
            tasks.start_soon(ask, prompt)
    return [served[prompt] for prompt in prompts]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
