"""The connections to an open database: one that writes and one that reads, each on its own thread."""

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar, cast

import aiosqlite
from anyio import CancelScope

from tierwise.storage.sqlite.errors import storage_errors

T = TypeVar("T")
Row = tuple[Any, ...]

_PRAGMAS = (
    # In WAL mode a commit outlives the process without waiting for the disk; only a power cut can
    # undo the last ones, and never damages the file.
    "PRAGMA synchronous = NORMAL",
    # Off by default; an attempt without its call must not exist.
    "PRAGMA foreign_keys = ON",
    # An answer that has expired is overwritten, and not only forgotten. Some builds do so by default.
    "PRAGMA secure_delete = ON",
)


def connect(path: Path, busy_timeout: float) -> sqlite3.Connection:
    """A connection to the existing file at `path`; blocks, so not for the event loop.

    It never begins a transaction by itself, and waits `busy_timeout` seconds for another's lock.
    `mode=rw` because a file that SQLite creates would be readable by others.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None)
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


class _Connection(aiosqlite.Connection):
    async def transact(self, work: Callable[[sqlite3.Connection], T], busy_timeout: float) -> T:
        # What each of aiosqlite's own methods is made of; it carries no types.
        execute = cast("Callable[..., Awaitable[T]]", self._execute)  # pyright: ignore[reportUnknownMemberType]
        return await execute(self._transact, work, monotonic() + busy_timeout)

    def _transact(self, work: Callable[[sqlite3.Connection], T], give_up_at: float) -> T:
        # Transactions run in turn. If each waited the whole time for a lock that another process holds on
        # to, the tenth would wait ten times as long.
        left = max(0, round((give_up_at - monotonic()) * 1000))
        with self._conn as connection:
            connection.execute(f"PRAGMA busy_timeout = {left}")
            # A transaction that reads first and asks for the write lock later fails at once when
            # another process wrote in between, whatever the busy time-out.
            connection.execute("BEGIN IMMEDIATE")
            return work(connection)


class Database:
    """Ask and change one database. Every method raises `StorageError`."""

    def __init__(self, path: Path, busy_timeout: float, writer: _Connection, reader: _Connection) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._writer = writer
        self._reader = reader

    async def fetch(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
        """All rows of one query, as they stood after the last commit of any process."""
        with storage_errors(self._path):
            # aiosqlite passes named parameters on too, though its types do not say so.
            rows = await self._reader.execute_fetchall(sql, cast("Sequence[object]", parameters))
        return list(cast("Iterable[Row]", rows))

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction that holds the write lock; commits, or rolls all of it back.

        `work` runs on the writer's thread, whole and in turn, so the lock is held for no longer than
        its statements take. Another process's lock is waited for as long as the busy time-out, the turn
        included. Cancelling ends only the waiting: what was begun is still committed.
        """
        with storage_errors(self._path):
            return await self._writer.transact(work, self._busy_timeout)


@asynccontextmanager
async def open_database(path: Path, busy_timeout: float) -> AsyncGenerator[Database]:
    """Both connections to a file that `prepare` has made ready."""
    async with _connected(path, busy_timeout) as writer, _connected(path, busy_timeout) as reader:
        yield Database(path, busy_timeout, writer, reader)


@asynccontextmanager
async def _connected(path: Path, busy_timeout: float) -> AsyncGenerator[_Connection]:
    connection = _Connection(partial(connect, path, busy_timeout), iter_chunk_size=64)
    # Cancelled half-way, opening would leak the file and closing would leave a thread that keeps
    # the process from ending.
    with storage_errors(path), CancelScope(shield=True):
        await connection
    try:
        yield connection
    finally:
        with CancelScope(shield=True):
            await connection.close()
