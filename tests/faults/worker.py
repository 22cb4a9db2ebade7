"""tierwise over stdio in a process that is there within milliseconds, to be killed.

The process is forked from one that has imported everything, litellm too; from then on it does what
`tierwise` does once it is imported.
"""

import asyncio
import json
import multiprocessing
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from tests.server.harness import CLIENT, PATHS, request
from tierwise.server.configuration import load_settings
from tierwise.server.serving import run_stdio
from tierwise.server.transports.stdio import Wire

Json = dict[str, Any]

_LONGEST_LINE = 2**24


def _serve(stdin: Connection, stdout: Connection, environ: Mapping[str, str], log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    run_stdio(
        Wire(stdin.fileno(), stdout.fileno()),
        lambda: (load_settings(config=None, environ=environ), environ),
    )


class Worker:
    """A running server, and lines to and from it."""

    def __init__(self, process: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    def send(self, *messages: Json) -> None:
        for message in messages:
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> Json | None:
        """The next message; None once the server is gone, and half a line with it."""
        line = await self._reader.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def greet(self) -> None:
        """The handshake; its answer comes with the others."""
        self.send(
            request(0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=CLIENT),
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
        )

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self._process.kill()

    async def gone(self) -> int:
        """Wait for its end; the exit code."""
        await asyncio.to_thread(self._process.join)
        return self._process.exitcode


@cache
def _fork_server() -> ForkServerContext:
    """What workers are forked by; it runs, and has everything imported or is about to."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.preload"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = PATHS  # it takes no other word for where the modules are
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        os.environ.update({"PYTHONPATH": before} if before is not None else {})
    return context


@asynccontextmanager
async def worker(environ: Mapping[str, str], log: Path) -> AsyncGenerator[Worker]:
    """A server whose stderr is appended to `log`; killed at the end if it still runs."""
    context = _fork_server()
    stdin, to_server = context.Pipe(duplex=False)
    from_server, stdout = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(stdin, stdout, dict(environ), log), daemon=True)
    await asyncio.to_thread(process.start)
    stdin.close()
    stdout.close()
    reader, writer = await _streams(from_server, to_server)
    try:
        yield Worker(process, reader, writer)
    finally:
        if process.is_alive():
            process.kill()
        await asyncio.to_thread(process.join)
        if not writer.transport.is_closing():
            writer.transport.abort()
        from_server.close()
        to_server.close()


async def _streams(source: Connection, sink: Connection) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    readable = os.fdopen(os.dup(source.fileno()), "rb", buffering=0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), readable)
    writable = os.fdopen(os.dup(sink.fileno()), "wb", buffering=0)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, writable)
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)
