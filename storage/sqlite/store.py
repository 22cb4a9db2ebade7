"""The `Store` on SQLite."""

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from anyio import to_thread

from tierwise.storage.ports import Store
from tierwise.storage.records import CachedAnswer, CallRecord, Dimension, UsageRow
from tierwise.storage.sqlite.cache import find_answer, keep_answer, purge
from tierwise.storage.sqlite.database import Database, open_database
from tierwise.storage.sqlite.ledger import add_call, read_usage
from tierwise.storage.sqlite.prepare import prepare


class SQLiteStore(Store):
    """Made by `open_store`. `record` is durable against the end of the process, by kill -9 too."""

    def __init__(
        self, database: Database, digest_key: bytes, max_cache_bytes: int, resources: AsyncExitStack
    ) -> None:
        self._database = database
        self._digest_key = digest_key
        self._max_cache_bytes = max_cache_bytes
        self._resources = resources

    @property
    def digest_key(self) -> bytes:
        return self._digest_key

    async def record(self, call: CallRecord, answer: CachedAnswer | None = None) -> None:
        """See `Store.record`. Once begun it is carried out: cancelling ends only the waiting for it,
        so a caller that must know that it is committed shields it."""

        def work(connection: sqlite3.Connection) -> None:
            if add_call(connection, call) and answer:
                keep_answer(connection, answer, self._max_cache_bytes)

        await self._database.transact(work)

    async def keep_answer(self, answer: CachedAnswer) -> None:
        await self._database.transact(partial(keep_answer, answer=answer, max_bytes=self._max_cache_bytes))

    async def find_answer(self, digest: bytes, *, now: int) -> CachedAnswer | None:
        return await find_answer(self._database, digest, now)

    async def purge_answers(self, *, now: int) -> int:
        return await self._database.transact(partial(purge, now=now))

    async def usage(self, *, start: int, end: int, group_by: Sequence[Dimension] = ()) -> list[UsageRow]:
        return await read_usage(self._database, start=start, end=end, group_by=group_by)

    async def aclose(self) -> None:
        await self._resources.aclose()


@asynccontextmanager
async def open_store(
    path: Path, *, max_cache_bytes: int, busy_timeout: float = 5.0
) -> AsyncGenerator[SQLiteStore]:
    """The store in the file at `path`, created with its folder as needed; closed at the end.

    `busy_timeout` is how many seconds to wait while another process writes. A damaged file is set
    aside, with a warning in the log, and a new one begun.

    Raises:
        StorageError: the file cannot be opened; its subclass and message say why.
    """
    key = await to_thread.run_sync(prepare, path, busy_timeout)
    async with AsyncExitStack() as resources:
        database = await resources.enter_async_context(open_database(path, busy_timeout))
        yield SQLiteStore(database, key, max_cache_bytes, resources)
