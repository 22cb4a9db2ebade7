"""The connections to an open database: one that writes and one that reads, each on its own thread."""

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
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
    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        # What each of aiosqlite's own methods is made of; it carries no types.
        execute = cast("Callable[..., Awaitable[T]]", self._execute)  # pyright: ignore[reportUnknownMemberType]
        return await execute(self._transact, work)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._conn as connection:
            # A transaction that reads first and asks for the write lock later fails at once when
            # another process wrote in between, whatever the busy time-out.
            connection.execute("BEGIN IMMEDIATE")
            return work(connection)


class Database:
    """Ask and change one database. Every method raises `StorageError`."""

    def __init__(self, path: Path, writer: _Connection, reader: _Connection) -> None:
        self._path = path
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
        its statements take. Cancelling ends only the waiting: what was begun is still committed.
        """
        with storage_errors(self._path):
            return await self._writer.transact(work)


@asynccontextmanager
async def open_database(path: Path, busy_timeout: float) -> AsyncGenerator[Database]:
    """Both connections to a file that `prepare` has made ready."""
    async with _connected(path, busy_timeout) as writer, _connected(path, busy_timeout) as reader:
        yield Database(path, writer, reader)


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
