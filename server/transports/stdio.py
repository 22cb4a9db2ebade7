"""MCP over stdin and stdout, and nothing but MCP on stdout.

`claim_standard_streams` moves the two descriptors out of everybody's reach before anything heavy is
imported. From then on, for good, reading stdin gives end-of-file and whatever is written to stdout
goes to stderr. The wire runs over asyncio's pipe transports, which take half the time of the SDK's
worker threads; where a stream is no pipe (a file, Windows) the threads serve.
"""

import asyncio
import logging
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any

import anyio

_log = logging.getLogger(__name__)

_GRACE_SECONDS = 0.5
"""For which answers may still go out once stdin has ended."""
MAX_LINE_BYTES = 64 * 2**20
"""A longer message ends the connection: it cannot be told from garbage that never ends."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Private descriptors of what were stdin and stdout."""

    stdin: int
    stdout: int


def claim_standard_streams() -> Wire:
    """Take descriptors 0 and 1 for the protocol and put harmless ones in their place."""
    wire = Wire(_private_copy(0), _private_copy(1))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # stderr is closed
        os.dup2(null, 1)
    os.close(null)
    return wire


def _private_copy(descriptor: int) -> int:
    copy = os.dup(descriptor)  # not inherited by children
    if copy > 2:
        return copy
    higher = _private_copy(descriptor)
    os.close(copy)
    return higher


class _PipeWriter:
    """Text to a pipe; `flush` waits while the other side is slow."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, text: str) -> None:
        self._writer.write(text.encode())

    async def flush(self) -> None:
        await self._writer.drain()


class _PipeReader:
    """Lines from a pipe, as text."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.ended = anyio.Event()

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await self._next_line():
            yield line.decode("utf-8", errors="replace")
        self.ended.set()

    async def _next_line(self) -> bytes:
        try:
            return await self._reader.readline()
        except ValueError:
            _log.error("A message of over %d bytes came in: the connection ends.", MAX_LINE_BYTES)
            return b""


async def _open_pipes(wire: Wire, stack: AsyncExitStack) -> tuple[Any, Any]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    source = os.fdopen(wire.stdin, "rb", buffering=0, closefd=False)
    read_transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    stack.callback(read_transport.close)
    sink = os.fdopen(wire.stdout, "wb", buffering=0, closefd=False)
    write_transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sink)
    stack.callback(write_transport.close)
    return _PipeReader(reader), _PipeWriter(asyncio.StreamWriter(write_transport, protocol, None, loop))


def _open_files(wire: Wire) -> tuple[Any, Any]:
    stdin = TextIOWrapper(os.fdopen(wire.stdin, "rb", closefd=False), encoding="utf-8", errors="replace")
    stdout = TextIOWrapper(os.fdopen(wire.stdout, "wb", closefd=False), encoding="utf-8")
    return anyio.wrap_file(stdin), anyio.wrap_file(stdout)


async def _open_streams(wire: Wire, stack: AsyncExitStack) -> tuple[Any, Any]:
    if sys.platform != "win32" and _can_be_polled(wire.stdin) and _can_be_polled(wire.stdout):
        return await _open_pipes(wire, stack)
    return _open_files(wire)


def _can_be_polled(descriptor: int) -> bool:
    """Files and devices such as /dev/null are always ready, and refuse to be waited for."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


async def serve_stdio(server: Any, wire: Wire) -> None:
    """Serve one client until it closes stdin."""
    from tierwise.server.transports.lines import serve_lines

    async with AsyncExitStack() as stack:
        stdin, stdout = await _open_streams(wire, stack)
        ended = getattr(stdin, "ended", None)  # a file has no client that could hang
        async with anyio.create_task_group() as tasks:
            if ended is not None:
                tasks.start_soon(_end_soon_after, ended, tasks.cancel_scope)
            await serve_lines(server, stdin, stdout)
            tasks.cancel_scope.cancel()


async def _end_soon_after(end: anyio.Event, scope: anyio.CancelScope) -> None:
    """A client that has closed our stdin but reads no answers would hold the server for ever."""
    await end.wait()
    await anyio.sleep(_GRACE_SECONDS)
    scope.cancel()
