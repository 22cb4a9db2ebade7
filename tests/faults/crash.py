"""Kills servers at random points while they work on one store, and looks at what they leave behind."""

import contextlib
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import anyio
from aiohttp import web

from tests.fake_provider import Exchange, FakeProvider, cut_mid_stream, delay, garbage, status
from tests.faults.audit import NUMBER, Tally, read_ledger, secrets_in
from tests.faults.worker import Json, Worker, worker
from tests.server.harness import Installation, call, merged, through

SETTINGS: Json = {
    "litellm": {"timeout": 5, "max_retries": 1, "retry_delay": 0.01},
    "reliability": {"deadline": 20, "breaker": {"cooldown": 1}},
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
CRASH = "kill -9 at random points"
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


async def run_crash(folder: Path, *, kills: int, seed: int, tell: Callable[[str], None]) -> Tally:
    """Kill `kills` servers, two at a time, in an installation in `folder`; `tell` hears of the progress."""
    tally = Tally(CRASH)
    acknowledged: set[str] = set()
    async with FakeProvider() as fake:
        installation = Installation(folder, merged(through(fake.url), SETTINGS))
        chance = Random(f"provider {seed}")  # noqa: S311  to be had again
        for model in ("small", "standard", "large"):
            fake.always(model, partial(_restless, chance))
        for number in range(-(-kills // 2)):
            callers = [_Caller(f"{seed}-{number}{place}", installation) for place in ("a", "b")]
            async with anyio.create_task_group() as tasks:
                for caller in callers:
                    tasks.start_soon(caller.live_and_die)
            for caller in callers:
                caller.add_to(tally, acknowledged)
            if number % _ROUNDS_PER_AUDIT == 0:
                found = await _audit(installation, acknowledged)
                tally.violations += found
                for violation in found:
                    tell(violation)
                tell(
                    f"{2 * number + 2} kills, {len(acknowledged)} answers, {len(tally.violations)} violations"
                )
    tally.violations += [
        *await _audit(installation, acknowledged),
        *await _start_by_hand(installation),
        *secrets_in(installation),
    ]
    if not acknowledged:
        tally.violations.append("No call was answered, so nothing was tried.")
    return tally


async def _restless(chance: Random, exchange: Exchange) -> web.StreamResponse:
    """A provider that mostly answers, after a while."""
    behave = chance.choices(
        [delay(chance.uniform(0, 0.03)), status(500), cut_mid_stream(2), garbage()], [85, 5, 5, 5]
    )[0]
    return await behave(exchange)


class _Gone(Exception):
    """The server is no more."""


class _Caller:
    """Keeps one server busy with calls until it kills it; `name` decides everything but the timing."""

    def __init__(self, name: str, installation: Installation) -> None:
        self._name = name
        self._installation = installation
        self._chance = Random(name)  # noqa: S311  to be had again
        self._asked = 0
        self._answers: dict[str, bool] = {}
        """By the number of each call whose answer came, whether it was an error."""
        self._violations: list[str] = []

    async def live_and_die(self) -> None:
        """One server from its start to its end."""
        chance = self._chance
        await anyio.sleep(chance.uniform(0, _EARLY / 2))
        early = chance.random() < 0.2
        async with worker(self._installation.environ, self._installation.folder / "stderr") as server:
            server.greet()
            with contextlib.suppress(_Gone):
                await self._load(server, 0 if early else chance.randint(1, _ANSWERS))
            await anyio.sleep(chance.uniform(0, _EARLY if early else _LATE))
            server.kill()
            with contextlib.suppress(_Gone):
                await self._load(server, None)
            code = await server.gone()
        if code != -signal.SIGKILL:
            self._violations.append(f"The server {self._name} ended by itself, with exit code {code}.")

    def add_to(self, tally: Tally, acknowledged: set[str]) -> None:
        """Hand in what came of the calls."""
        failed = sum(self._answers.values())
        tally.calls += self._asked
        tally.failed += failed
        tally.answered += len(self._answers) - failed
        tally.given_up += self._asked - len(self._answers)
        tally.violations += self._violations
        acknowledged.update(self._answers)

    async def _load(self, server: Worker, wanted: int | None) -> None:
        """Ask until `wanted` calls are answered; None asks no more, and takes what still comes.

        Raises:
            _Gone: the server is no more.
        """
        if wanted is not None:
            for _ in range(IN_FLIGHT):
                self._ask(server)
        while wanted is None or len(self._answers) < wanted:
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
        result = message.get("result")
        if result is None:
            self._violations.append(f"A call of {self._name} was answered with {message}.")
            return
        told, is_error = result["content"][0]["text"], bool(result.get("isError"))
        self._answers[f"{self._name}-{message['id']}"] = is_error
        if is_error and "could not start" in told:
            self._violations.append(f"{self._name}: {told}")


async def _audit(installation: Installation, acknowledged: set[str]) -> list[str]:
    ledger = await read_ledger(installation, died=True)
    aside = [f"The database was damaged: {path}." for path in installation.data.glob("*corrupt-*")]
    return [*ledger.faults, *ledger.unwritten(acknowledged), *aside]


async def _start_by_hand(installation: Installation) -> list[str]:
    """What a user does next just works, in processes of its own."""
    found: list[str] = []
    for arguments in (("check",), ("usage", "--json")):
        ended = await installation.run(*arguments)
        if ended.returncode:
            found.append(f"tierwise {' '.join(arguments)}: {(ended.stdout + ended.stderr)!r}")
    log = installation.folder / "stderr"
    return [*found, *([f"There is a traceback in {log}."] if "Traceback" in log.read_text() else [])]
