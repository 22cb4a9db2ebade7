"""The faults that are tried: what providers do wrong, and what happens to the machine around the server."""

import os
import resource
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
from aiohttp import web

from tests.fake_provider import (
    Behaviour,
    Exchange,
    blocked,
    cut_mid_stream,
    delay,
    empty,
    fails_mid_stream,
    faults,
    garbage,
    hang,
    no_usage,
    ok,
    rate_limited,
    refusal,
    refuse,
    slow_drip,
    status,
)


@dataclass(frozen=True)
class Fault:
    """Something that providers do."""

    name: str
    behaviour: Behaviour
    ends_the_call: bool = False
    """The provider says that the request itself is wrong, so that no other is asked."""

    quick: bool = True
    """It shows at once."""
    heavy: bool = False
    """It keeps both sides busy with megabytes, so that an eighth of the calls have to do."""

    @property
    def model(self) -> str:
        """The fake provider's model that behaves so."""
        return self.name.replace(" ", "-").replace(",", "")


def _echo_of_the_key() -> Behaviour:
    async def answer(exchange: Exchange) -> web.StreamResponse:
        key = exchange.request.headers.get("Authorization", "")
        return await refusal(401, f"Incorrect API key provided: {key}. Yours was {key.split()[-1]}")(exchange)

    return answer


FAULTS = (
    Fault("none", ok()),
    Fault("429 with retry-after", rate_limited(1)),
    Fault("500", status(500)),
    Fault("503 with a page of HTML", status(503, "<html>" + "overloaded " * 100_000)),
    Fault("error of 500 MB", faults.huge_error(500)),
    Fault("401 that quotes the key", _echo_of_the_key()),
    Fault("404", status(404)),
    Fault("400", refusal(400, "temperature must be blue"), ends_the_call=True),
    Fault("prompt too long", refusal(400, "This model's maximum context length is 10 tokens")),
    Fault("redirect to another host", faults.redirects("http://127.0.0.2:9/v1/chat/completions")),
    Fault("never answers", hang(), quick=False),
    Fault("answers late", delay(1), quick=False),
    Fault("headers that trickle", faults.slow_headers(), quick=False),
    Fault("body that trickles", faults.slow_body(), quick=False),
    Fault("writes too slowly", slow_drip(0.3, 100), quick=False),
    Fault("connection closed", refuse()),
    Fault("connection reset", faults.resets()),
    Fault("no HTTP at all", faults.no_http()),
    Fault("page in place of an answer", garbage()),
    Fault("wrong content type", faults.mistyped("text/plain")),
    Fault("missing fields", faults.holding(...)),
    Fault("fields of the wrong type", faults.holding("seven")),
    Fault("another protocol's messages", faults.foreign_events()),
    Fault("bytes that are no UTF-8", faults.invalid_utf8()),
    Fault("stream cut with a reset", cut_mid_stream(3)),
    Fault("stream cut politely", cut_mid_stream(3, politely=True)),
    Fault("stream that reports an error", fails_mid_stream(3)),
    Fault("stream without end", faults.endless_stream(), heavy=True),
    Fault("event without end", faults.endless_event(), heavy=True),
    Fault("answer of 500 MB", faults.huge(500), heavy=True),
    Fault("500 MB packed into 500 KB", faults.bomb("gzip"), heavy=True),
    Fault("packed answer that is cut", faults.cut_packed()),
    Fault("header of 100 MB", faults.huge_header(), heavy=True),
    Fault("empty answer", empty()),
    Fault("refusal by the provider's filter", blocked()),
    Fault("no usage", no_usage()),
    Fault("absurd usage", faults.wrong_usage(10**15)),
    Fault("usage that is not a number", faults.wrong_usage(float("nan"))),
)
HEALTHY = FAULTS[0]
HANGING = next(fault for fault in FAULTS if fault.name == "never answers")


@dataclass(frozen=True)
class Mishap:
    """Something that happens around the servers while they work."""

    name: str
    strike: Callable[[Path, Sequence[int]], Awaitable[None]]
    """Makes it happen and pass, to the database and the processes of these ids."""
    asleep: float = 0.0
    """Seconds for which the processes do nothing: they cannot keep a deadline meanwhile."""
    possible: bool = True
    """On this system."""


async def _lock_the_database(database: Path, pids: Sequence[int]) -> None:
    with closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        await anyio.sleep(12)


async def _fill_the_disk(database: Path, pids: Sequence[int]) -> None:
    """No file of the processes may grow beyond some pages."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    try:
        for pid, (_, hard) in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (32_768, hard))
        await anyio.sleep(3)
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)


_SLEEP = 3.0


async def _suspend(database: Path, pids: Sequence[int]) -> None:
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        await anyio.sleep(_SLEEP)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


MISHAPS = (
    Mishap("database locked for 12 s", _lock_the_database),
    Mishap("disk full for 3 s", _fill_the_disk, possible=hasattr(resource, "prlimit")),
    Mishap("servers suspended for 3 s", _suspend, asleep=_SLEEP),
)
