"""Kills servers at random points while they work on one store, and looks at what they leave behind."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import anyio
from aiohttp import web

from tests.fake_provider import Exchange, FakeProvider, cut_mid_stream, delay, garbage, status
from tests.faults.audit import NUMBER, read_ledger, secrets_in
from tests.faults.worker import Json, Worker, worker
from tests.server.harness import Installation, call, merged, through

SETTINGS: Json = {
    "litellm": {"timeout": 5, "max_retries": 1, "retry_delay": 0.01},
    "reliability": {"deadline": 20},
    "defaults": {"max_tokens": 50},
    "budgets": [
        {"name": "all", "period": "total", "limit_usd": 10_000},
        {"name": "acme", "scope": "tenant", "value": "acme", "period": "total", "limit_usd": 1},
        {
            "name": "notes",
            "scope": "operation",
            "value": "note",
            "period": "total",
            "limit_usd": 0.1,
            "at_limit": "warn",
        },
    ],
}
IN_FLIGHT = 16
"""Calls that each server has in hand."""
_ANSWERS = 60
"""The most that a server gives before it is killed."""
_LATE = 0.05
"""Seconds after its last answer within which a server is killed; the next transaction may be anywhere."""
_EARLY = 0.4
"""Seconds after its start within which a server is killed that is to give no answer."""
_ROUNDS_PER_AUDIT = 5
"""After the others the next server meets what the killed ones left, with nobody in between."""


@dataclass
class Tally:
    """What the killing has come to."""

    kills: int = 0
    answered: set[str] = field(default_factory=set[str])
    """Numbers of the calls whose answer, be it an error, reached their caller."""
    violations: list[str] = field(default_factory=list[str])


async def run_crash(folder: Path, *, kills: int, seed: int, tell: Callable[[str], None]) -> Tally:
    """Kill `kills` servers, two at a time, in an installation in `folder`; `tell` hears of the progress."""
    tally = Tally()
    async with FakeProvider() as fake:
        installation = Installation(folder, merged(through(fake.url), SETTINGS))
        chance = Random(f"provider {seed}")  # noqa: S311  to be had again
        for model in ("small", "standard", "large"):
            fake.always(model, partial(_restless, chance))
        for number in range(-(-kills // 2)):
            async with anyio.create_task_group() as tasks:
                for place in ("a", "b"):
                    name = f"{seed}-{number}{place}"
                    tasks.start_soon(_live_and_die, installation, name, tally)
            if number % _ROUNDS_PER_AUDIT == 0:
                await _audit(installation, tally)
                tell(
                    f"{tally.kills} kills, {len(tally.answered)} answers, {len(tally.violations)} violations"
                )
    await _audit(installation, tally)
    await _start_by_hand(installation, tally)
    tally.violations += secrets_in(installation)
    return tally


async def _restless(chance: Random, exchange: Exchange) -> web.StreamResponse:
    """A provider that mostly answers, after a while."""
    behave = chance.choices(
        [delay(chance.uniform(0, 0.03)), status(500), cut_mid_stream(2), garbage()], [85, 5, 5, 5]
    )[0]
    return await behave(exchange)


async def _live_and_die(installation: Installation, name: str, tally: Tally) -> None:
    """One server from its start to its end, as `name` decides."""
    chance = Random(name)  # noqa: S311  to be had again
    await anyio.sleep(chance.uniform(0, _EARLY / 2))
    early = chance.random() < 0.2
    wanted = 0 if early else chance.randint(1, _ANSWERS)
    client = _Caller(name, chance)
    async with worker(installation.environ, installation.folder / "stderr") as server:
        server.greet()
        with contextlib.suppress(_Gone):
            await client.load(server, wanted)
        await anyio.sleep(chance.uniform(0, _EARLY if early else _LATE))
        server.kill()
        tally.kills += 1
        with contextlib.suppress(_Gone):
            await client.load(server, None)
        code = await server.gone()
    if code != -9:
        tally.violations.append(f"The server {name} ended by itself, with exit code {code}.")
    tally.answered |= client.answered
    tally.violations += client.violations


class _Gone(Exception):
    """The server is no more."""


class _Caller:
    """Keeps a server busy with calls, all of which `chance` decides."""

    def __init__(self, name: str, chance: Random) -> None:
        self.answered: set[str] = set()
        self.violations: list[str] = []
        self._name = name
        self._chance = chance
        self._asked = 0

    async def load(self, server: Worker, wanted: int | None) -> None:
        """Ask until `wanted` calls are answered; None asks no more, and takes what still comes.

        Raises:
            _Gone: the server is no more.
        """
        if wanted is not None:
            for _ in range(IN_FLIGHT):
                self._ask(server)
        while wanted is None or len(self.answered) < wanted:
            message = await server.receive()
            if message is None:
                raise _Gone
            if message.get("id"):
                self._note(message)
                if wanted is not None:
                    self._ask(server)

    def _ask(self, server: Worker) -> None:
        self._asked += 1
        chance = self._chance
        prompt = f"Prompt {chance.randrange(20)}" if chance.random() < 0.3 else f"{self._name} {self._asked}"
        arguments: Json = {
            "prompt": prompt,
            "tier": chance.choice(["simple", "standard"]),
            "tenant": chance.choice(["acme", "other"]),
            "operation": chance.choice(["note", "chat"]),
            "metadata": {NUMBER: f"{self._name}-{self._asked}"},
        }
        server.send(call(self._asked, "chat", **arguments))
        if chance.random() < 0.05:
            cancelled = {"requestId": chance.randint(1, self._asked)}
            server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})

    def _note(self, message: Json) -> None:
        self.answered.add(f"{self._name}-{message['id']}")
        result = message.get("result")
        if result is None:
            self.violations.append(f"A call of {self._name} was answered with {message}.")
        elif result.get("isError") and "could not start" in result["content"][0]["text"]:
            self.violations.append(f"{self._name}: {result['content'][0]['text']}")


async def _audit(installation: Installation, tally: Tally) -> None:
    ledger = await read_ledger(installation)
    tally.violations += [*ledger.faults, *ledger.unwritten(tally.answered)]
    tally.violations += [
        f"The database was damaged: {path}." for path in installation.data.glob("*corrupt-*")
    ]


async def _start_by_hand(installation: Installation, tally: Tally) -> None:
    """What a user does next just works, in processes of its own."""
    for arguments in (("check",), ("usage", "--json")):
        ended = await installation.run(*arguments)
        if ended.returncode:
            tally.violations.append(f"tierwise {' '.join(arguments)}: {(ended.stdout + ended.stderr)!r}")
    if "Traceback" in (installation.folder / "stderr").read_text(errors="replace"):
        tally.violations.append(f"There is a traceback in {installation.folder / 'stderr'}.")
