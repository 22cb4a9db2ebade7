"""Running servers, with a real client on a real transport to each, and what can be seen of them outside."""

import json
import re
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

import anyio
import anyio.abc
import mcp_types as types
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client import Client
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage

from tests.faults.watched import VARIABLE
from tests.server.harness import Installation

_COMMAND = (sys.executable, "-m", "tests.faults.watched", "serve", "--toolset", "full")
_SERVING = re.compile(r"Serving MCP at (\S+)\n")
_PATIENCE = 60
"""Seconds within which a server does what it does at once, however busy the machine is."""
_LONGEST_LINE = 2**26
_MORE_TASKS = 4
_MORE_DESCRIPTORS = 128
"""Connections to the provider and from the client, 64 each, that may happen to be idle: a leak would leave
one for each thousand calls at the least."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process or task does."""
    with anyio.fail_after(_PATIENCE):
        while True:
            if condition():
                return
            await anyio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a server holds."""

    tasks: int
    descriptors: int
    resident_bytes: int


def grown(before: Vitals, after: Vitals, *, memory: float) -> list[str]:
    """What a server holds more of than it may: its memory may be `memory` times what it was."""
    bounds = {
        "tasks": (before.tasks, after.tasks, before.tasks + _MORE_TASKS),
        "descriptors": (before.descriptors, after.descriptors, before.descriptors + _MORE_DESCRIPTORS),
        "bytes": (before.resident_bytes, after.resident_bytes, before.resident_bytes * memory),
    }
    return [
        f"A server holds {now:,} {what}, and held {then:,} near the beginning."
        for what, (then, now, bound) in bounds.items()
        if now > bound
    ]


@dataclass
class Server:
    """A server process and a client of it."""

    name: str
    client: Client
    process: anyio.abc.Process
    log: Path
    """Its stderr."""
    _vitals: Path
    leaving: bool = False
    """It has been told to end."""

    async def vitals(self) -> Vitals:
        self._vitals.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        await until(self._vitals.exists)
        return Vitals(**json.loads(self._vitals.read_text()))

    def faults(self) -> list[str]:
        """What is wrong with the process."""
        found: list[str] = []
        if "Traceback" in self.log.read_text(errors="replace"):
            found.append(f"There is a traceback in {self.log}.")
        if self.process.returncode is not None:
            found.append(f"The server over {self.name} has ended, with exit code {self.process.returncode}.")
        return found


@asynccontextmanager
async def over_stdio(installation: Installation, name: str = "stdio") -> AsyncGenerator[Server]:
    """A server on pipes, and a client of the older era."""
    wire = installation.folder / f"{name}.wire"
    async with (
        _process(installation, name, "--transport", "stdio", stdout=PIPE) as (process, log, vitals),
        Client(_pipes(process, wire), mode="legacy") as client,
    ):
        yield Server(name, client, process, log, vitals)


@asynccontextmanager
async def over_http(installation: Installation, name: str = "HTTP") -> AsyncGenerator[Server]:
    """A server behind streamable HTTP, and a client of the newer era."""
    arguments = ("--transport", "http", "--port", "0")
    async with (
        _process(installation, name, *arguments, stdout=None) as (process, log, vitals),
        Client(await _address(log), mode="auto") as client,
    ):
        yield Server(name, client, process, log, vitals)


@asynccontextmanager
async def _process(
    installation: Installation, name: str, *arguments: str, stdout: int | None
) -> AsyncGenerator[tuple[anyio.abc.Process, Path, Path]]:
    log, vitals = (installation.folder / f"{name}.{suffix}" for suffix in ("log", "vitals"))
    environ = installation.variables | {VARIABLE: str(vitals)}
    async with AsyncExitStack() as stack:
        stderr = stack.enter_context(log.open("ab"))
        process = await stack.enter_async_context(
            await anyio.open_process(
                [*_COMMAND, *arguments], stdin=PIPE, stdout=stdout or stderr, stderr=stderr, env=environ
            )
        )
        try:
            yield process, log, vitals
        finally:
            if process.returncode is None:
                process.terminate()
                with anyio.CancelScope(shield=True), anyio.move_on_after(_PATIENCE, shield=True):
                    await process.wait()
            if process.returncode is None:
                process.kill()


async def _address(log: Path) -> str:
    await until(lambda: _SERVING.search(log.read_text(errors="replace")) is not None)
    found = _SERVING.search(log.read_text(errors="replace"))
    assert found
    return found[1]


@asynccontextmanager
async def _pipes(process: anyio.abc.Process, wire: Path) -> AsyncGenerator[TransportStreams]:
    """The SDK's way to a process, beside which all that comes from it is kept in `wire`."""
    assert process.stdin
    assert process.stdout
    stdin, stdout = process.stdin, BufferedByteReceiveStream(process.stdout)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        with wire.open("ab") as kept:
            async with to_client:
                while True:
                    try:
                        line = await stdout.receive_until(b"\n", _LONGEST_LINE)
                    except (anyio.EndOfStream, anyio.IncompleteRead, anyio.ClosedResourceError):
                        return
                    kept.write(line + b"\n")
                    await to_client.send(SessionMessage(types.jsonrpc_message_adapter.validate_json(line)))

    async def write() -> None:
        async with from_client:
            async for message in from_client:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                try:
                    await stdin.send(text.encode() + b"\n")
                except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                    await to_client.aclose()
                    return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        yield from_server, to_server
        tasks.cancel_scope.cancel()
