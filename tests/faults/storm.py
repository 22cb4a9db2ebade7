"""Calls in parallel while providers fail and the machine plays tricks, one fault after another and mixed."""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import anyio

from tests.fake_provider import FakeProvider
from tests.faults.audit import Ledger, Tally, read_ledger, secrets_in
from tests.faults.calls import Asked, ask, number_in, plan, unclear
from tests.faults.catalog import FAULTS, HANGING, HEALTHY, MISHAPS, Fault, Mishap
from tests.faults.servers import Server, Vitals, over_http, over_stdio, until
from tests.server.harness import KEY, Installation, merged, text, through

Json = dict[str, Any]

PARALLEL = 64
DEADLINE = 6.0
"""Seconds for a whole call."""
_ATTEMPT = 2.0
"""Seconds for one attempt."""
_GRACE = 20.0
"""Seconds past its deadline by which a call counts as one that did not end: a busy machine is slow."""
NO_BREAKERS: Json = {"enabled": False}
"""So that each call meets the fault."""
BREAKERS: Json = {"cooldown": 2}
_SETTLING = 30.0
"""Seconds within which the last calls are written down."""
MIXED = "all of these, mixed"


def settings(url: str, *, breaker: Json) -> Json:
    """An installation whose models `fake/…` have the faults; short waits, and a budget of each kind."""
    faulty = {f"fake/{fault.model}": {"input": 10, "output": 20} for fault in FAULTS}
    return merged(
        through(url),
        {
            "litellm": {"timeout": _ATTEMPT, "max_retries": 1, "retry_delay": 0.05},
            "reliability": {"deadline": DEADLINE, "breaker": breaker},
            "defaults": {"max_tokens": 50},
            "server": {"answer_within": 2},
            "usage_tracking": {"pricing": faulty},
            "budgets": [
                {"name": "all", "period": "total", "limit_usd": 0.5, "at_limit": "warn"},
                {"name": "acme", "scope": "tenant", "value": "acme", "period": "total", "limit_usd": 100},
            ],
        },
    )


class Storm:
    """Servers under load; `seed` decides everything but the timing."""

    def __init__(
        self, installation: Installation, fake: FakeProvider, servers: Sequence[Server], seed: int
    ) -> None:
        self._installation = installation
        self._fake = fake
        self._servers = servers
        self._seed = seed
        for fault in FAULTS:
            fake.always(fault.model, fault.behaviour)

    async def warm_up(self, name: str = "warm-up") -> None:
        """Load what the first call waits for; its deadline may pass meanwhile."""
        for place in range(len(self._servers)):
            for attempt in count():
                number = f"{name} {place} {attempt}"
                first = plan(number, [f"fake/{HEALTHY.model}"], 1, self._chance("warm-up"))
                first.patience = None
                await ask(self._servers[place], first)
                if first.result and not first.result.is_error:
                    break

    async def vitals(self) -> list[Vitals]:
        """What each server holds."""
        return [await server.vitals() for server in self._servers]

    async def still_serves(self) -> list[str]:
        """What is wrong with servers that have seen all this."""
        found: list[str] = []
        for place, server in enumerate(self._servers):
            told = await server.client.call_tool("today_usage")
            last = plan(f"last {place}", [f"fake/{HEALTHY.model}"], 1, self._chance("last"))
            last.patience = None
            await ask(server, last)
            if told.is_error or not last.result or last.result.is_error:
                found.append(f"The server over {server.name} does not serve any more: {told}, {last.result}.")
        return found

    async def alone(self, fault: Fault, calls: int) -> Tally:
        """`calls` calls to a model with this fault, half of them with a sound one behind it."""
        chance = self._chance(fault.name)
        calls = -(-calls // 8) if fault.heavy else calls
        planned = (self._plan(f"{fault.model} {number}", [fault], chance) for number in range(calls))
        return await self.run(fault.name, planned, unaided=fault.ends_the_call)

    async def during(self, mishap: Mishap) -> Tally:
        """Calls to a sound model for as long as this happens to the servers."""
        chance = self._chance(mishap.name)

        def planned(number: int) -> Asked:
            return self._plan(f"{mishap.name} {number}", [HEALTHY], chance)

        return await self._run_beside(mishap.name, planned, lambda: self._strike(mishap), mishap.asleep)

    async def mixed(self, seconds: float) -> Tally:
        """Calls to up to three models with any fault, while one mishap follows another."""
        chance, fate = self._chance(MIXED), self._chance("fate")
        mishaps = [mishap for mishap in MISHAPS if mishap.possible]

        def planned(number: int) -> Asked:
            faults = [chance.choice(FAULTS) for _ in range(chance.randint(1, 3))]
            return self._plan(f"mixed {number}", list(dict.fromkeys(faults)), chance)

        async def strike_again_and_again() -> None:
            with anyio.move_on_after(seconds):
                while True:
                    await anyio.sleep(fate.uniform(2, 10))
                    await self._strike(fate.choice(mishaps))

        asleep = max(mishap.asleep for mishap in mishaps)
        return await self._run_beside(MIXED, planned, strike_again_and_again, asleep)

    async def farewell(self, name: str, leave: Callable[[Server], Awaitable[None]]) -> Tally:
        """Calls under way in a server of their own that has to end before they do."""
        chance = self._chance(name)
        planned = [self._plan(f"{name} {number}", [HANGING], chance) for number in range(PARALLEL)]
        planned = [asked for asked in planned if number_in(asked.arguments["prompt"])]
        async with over_stdio(self._installation, name) as server:
            await Storm(self._installation, self._fake, [server], self._seed).warm_up(name)
            async with anyio.create_task_group() as tasks:
                for asked in planned:
                    asked.patience = None
                    tasks.start_soon(ask, server, asked)
                await until(lambda: self._fake.open_requests == len(planned))
                server.leaving = True
                await leave(server)
            with anyio.move_on_after(_SETTLING):
                await server.process.wait()
        tally = await self._audit(name, planned, unaided=True)
        if server.process.returncode:
            tally.violations.append(f"The server ended with exit code {server.process.returncode}.")
        return tally

    def _chance(self, name: str) -> Random:
        return Random(f"{self._seed} {name}")  # noqa: S311  to be had again

    def _plan(self, number: str, faults: Sequence[Fault], chance: Random) -> Asked:
        models = [f"fake/{fault.model}" for fault in faults]
        if chance.random() < 0.5 and HEALTHY not in faults:
            models.append(f"fake/{HEALTHY.model}")
        return plan(number, models, len(self._servers), chance)

    async def _strike(self, mishap: Mishap) -> None:
        pids = [server.process.pid for server in self._servers]
        await mishap.strike(self._installation.data / "tierwise.db", pids)

    async def _run_beside(
        self,
        name: str,
        planned: Callable[[int], Asked],
        happening: Callable[[], Awaitable[None]],
        asleep: float,
    ) -> Tally:
        """Make calls for as long as something happens, `asleep` seconds of which nobody can be held to."""
        over = anyio.Event()

        async def happen() -> None:
            await happening()
            over.set()

        def unless_over() -> Iterator[Asked]:
            for number in count():
                if over.is_set():
                    return
                yield planned(number)

        made: list[Asked] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(happen)
            await self._make(unless_over(), made)
        return await self._audit(name, made, unaided=True, asleep=asleep)

    async def run(self, name: str, planned: Iterator[Asked], *, unaided: bool) -> Tally:
        """Make the calls, `PARALLEL` at a time, and audit what they leave behind.

        `unaided` says that they may fail though a sound model stands behind the others.
        """
        made: list[Asked] = []
        await self._make(planned, made)
        return await self._audit(name, made, unaided=unaided)

    async def _make(self, planned: Iterator[Asked], made: list[Asked]) -> None:
        async def work() -> None:
            for asked in planned:
                made.append(asked)
                await ask(self._servers[asked.server], asked)

        async with anyio.create_task_group() as tasks:
            for _ in range(PARALLEL):
                tasks.start_soon(work)

    async def _audit(self, name: str, made: list[Asked], *, unaided: bool, asleep: float = 0.0) -> Tally:
        tally = Tally(name, calls=len(made))
        ledger = await self._settled(made)
        tally.violations += ledger.faults
        for asked in made:
            self._judge(asked, ledger, tally, unaided=unaided)
        slowest = max(made, key=lambda asked: asked.seconds)
        tally.overrun, tally.slowest = max(0.0, slowest.seconds - DEADLINE - asleep), slowest.number
        tally.violations += self._unrecorded(ledger)
        self._fake.requests.clear()
        for server in self._servers:
            tally.violations += server.faults()
        tally.violations += secrets_in(self._installation)
        return tally

    async def _settled(self, made: list[Asked]) -> Ledger:
        """The ledger, once the last call is in it, or after a while."""
        give_up_at = time.monotonic() + _SETTLING
        while True:
            ledger = await read_ledger(self._installation)
            waiting = self._fake.open_requests or ledger.faults or self._unrecorded(ledger)
            missing = (asked for asked in made if asked.result and asked.number not in ledger.calls)
            if not (waiting or any(missing)) or time.monotonic() > give_up_at:
                return ledger
            await anyio.sleep(0.2)

    def _judge(self, asked: Asked, ledger: Ledger, tally: Tally, *, unaided: bool) -> None:
        complaints = [asked.trouble] if asked.trouble else []
        if asked.result and KEY in asked.result.model_dump_json():
            complaints.append("was told the key")
        if asked.result is None:
            tally.given_up += 1
        elif asked.number not in ledger.calls:
            complaints.append("was answered and is not in the ledger")
        elif asked.result.is_error:
            tally.failed += 1
            complaints += unclear(text(asked.result))
            if f"fake/{HEALTHY.model}" in asked.arguments["fallback_models"] and not unaided:
                complaints.append(f"failed in spite of a sound model: {text(asked.result)}")
        else:
            tally.answered += 1
        if asked.seconds > DEADLINE + _GRACE:
            complaints.append(f"took {asked.seconds:.1f} s")
        tally.violations += [f"Call {asked.number} {complaint}" for complaint in complaints]

    def _unrecorded(self, ledger: Ledger) -> list[str]:
        """Requests that reached the provider and are no attempt in the ledger."""
        recorded = Counter(
            (attempt.model, number)
            for number, calls in ledger.calls.items()
            for call in calls
            for attempt in call.attempts
        )
        seen = Counter(
            (f"fake/{request.json['model']}", number)
            for request in self._fake.requests
            if (number := number_in(request.json["messages"][-1]["content"])) is not None
        )
        return [
            f"{times} requests of {number} reached {model}, and {recorded[model, number]} are in the ledger."
            for (model, number), times in seen.items()
            if times > recorded[model, number]
        ]


@asynccontextmanager
async def opened(folder: Path, breaker: Json, seed: int) -> AsyncGenerator[Storm]:
    """Two servers on one store, with a client to each over stdio and HTTP, warmed up."""
    async with FakeProvider() as fake:
        installation = Installation(folder, settings(fake.url, breaker=breaker))
        async with over_stdio(installation) as piped, over_http(installation) as served:
            storm = Storm(installation, fake, [piped, served], seed)
            await storm.warm_up()
            yield storm


async def host_leaves(server: Server) -> None:
    """The host closes stdin."""
    assert server.process.stdin
    await server.process.stdin.aclose()


async def host_terminates(server: Server) -> None:
    """The host sends SIGTERM."""
    server.process.terminate()


FAREWELLS = {"host closes stdin": host_leaves, "host sends SIGTERM": host_terminates}
