"""The `Store` on SQLite."""

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from anyio import to_thread

from tierwise.storage.breakers import Breaker
from tierwise.storage.budgets import Budget, BudgetAccount, Committed, Refusal, Reservation
from tierwise.storage.conversations import ConversationRecord
from tierwise.storage.outcomes import OutcomeRecord, StoredOutcome
from tierwise.storage.ports import NO_FILTERS, Store
from tierwise.storage.records import (
    AttemptSample,
    Attribute,
    CachedAnswer,
    CallRecord,
    Filters,
    Finding,
    UsageRow,
)
from tierwise.storage.sqlite.breakers import (
    claim_probe,
    half_open,
    note_failure,
    note_success,
    read_breakers,
    release_probe,
)
from tierwise.storage.sqlite.budgets import (
    delete_budget,
    hold_unreserved,
    read_account,
    read_budgets,
    reserve,
    set_budget,
    settle,
)
from tierwise.storage.sqlite.cache import find_alike, find_answer, keep_answer, purge
from tierwise.storage.sqlite.calls import read_calls, read_newest, read_samples, read_scores
from tierwise.storage.sqlite.calls_usage import read_series
from tierwise.storage.sqlite.conversations import (
    find_conversation,
    keep_conversation,
    purge_conversations,
)
from tierwise.storage.sqlite.database import Database, open_database
from tierwise.storage.sqlite.ledger import add_call
from tierwise.storage.sqlite.outcomes import (
    add_outcome,
    import_outcomes,
    keep_features,
    read_outcomes,
    reset_outcomes,
)
from tierwise.storage.sqlite.prepare import prepare
from tierwise.storage.sqlite.soundness import check, repair
from tierwise.storage.sqlite.upkeep import prune, set_costs


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

    async def record(self, call: CallRecord, answer: CachedAnswer | None = None) -> Committed:
        """See `Ledger.record`. Once begun it is carried out: cancelling ends only the waiting for it,
        so a caller that must know that it is committed shields it."""

        def work(connection: sqlite3.Connection) -> Committed:
            hold_unreserved(connection, call)
            row = add_call(connection, call)
            if row is None:
                return Committed()
            if call.features is not None:
                keep_features(connection, row, call.features)
            if answer:
                keep_answer(connection, answer, self._max_cache_bytes)
            return Committed(settle(connection, row, call))

        return await self._database.transact(work)

    async def import_calls(self, calls: Sequence[CallRecord]) -> int:
        def work(connection: sqlite3.Connection) -> int:
            return sum(add_call(connection, call) is not None for call in calls)

        return await self._database.transact(work)

    async def recent_scores(self, limit: int) -> list[float]:
        return await read_scores(self._database, limit)

    async def recent_attempts(self, *, since: int, limit: int) -> list[AttemptSample]:
        return await read_samples(self._database, since, limit)

    async def usage(
        self,
        *,
        start: int,
        end: int,
        group_by: Sequence[Attribute] = (),
        filters: Filters = NO_FILTERS,
    ) -> list[UsageRow]:
        [rows] = await read_series(self._database, (start, end), group_by, filters)
        return rows

    async def usage_series(
        self,
        bounds: Sequence[int],
        *,
        group_by: Sequence[Attribute] = (),
        filters: Filters = NO_FILTERS,
    ) -> list[list[UsageRow]]:
        return await read_series(self._database, bounds, group_by, filters)

    def export_calls(
        self, *, start: int, end: int, filters: Filters = NO_FILTERS, batch: int = 1000
    ) -> AsyncIterator[list[CallRecord]]:
        return read_calls(self._database, start, end, filters, batch)

    async def recent_calls(
        self, *, start: int, end: int, limit: int, filters: Filters = NO_FILTERS
    ) -> list[CallRecord]:
        return await read_newest(self._database, start, end, limit, filters)

    async def set_costs(self, costs: Sequence[tuple[str, int, int]]) -> int:
        return await self._database.transact(partial(set_costs, costs=costs))

    async def prune(self, *, before: int) -> int:
        return await prune(self._database, before)

    async def check(self) -> list[Finding]:
        return await check(self._database)

    async def repair(self) -> None:
        await repair(self._database)

    async def keep_answer(self, answer: CachedAnswer) -> None:
        await self._database.transact(partial(keep_answer, answer=answer, max_bytes=self._max_cache_bytes))

    async def find_answer(self, digest: bytes, *, now: int) -> CachedAnswer | None:
        return await find_answer(self._database, digest, now)

    async def find_alike(self, scope: bytes, *, now: int, limit: int) -> list[tuple[bytes, bytes]]:
        return await find_alike(self._database, scope, now, limit)

    async def purge_answers(self, *, now: int) -> int:
        return await self._database.transact(partial(purge, now=now))

    async def set_budget(self, budget: Budget, *, period_start: int) -> None:
        await self._database.transact(partial(set_budget, budget=budget, period_start=period_start))

    async def delete_budget(self, name: str) -> bool:
        return await self._database.transact(partial(delete_budget, name=name))

    async def budgets(self) -> list[Budget]:
        return await read_budgets(self._database)

    async def reserve(self, reservation: Reservation, *, now: int) -> tuple[Refusal, ...]:
        """See `Budgets.reserve`. As with `record`, what was begun is committed despite cancelling; a
        reservation whose call is then never recorded expires."""
        return await self._database.transact(partial(reserve, reservation=reservation, now=now))

    async def budget_spent(self, name: str, period_start: int, *, now: int) -> BudgetAccount:
        return await read_account(self._database, name, period_start, now)

    async def add_outcome(self, outcome: OutcomeRecord) -> None:
        await self._database.transact(partial(add_outcome, outcome=outcome))

    async def import_outcomes(self, outcomes: Sequence[StoredOutcome]) -> None:
        await self._database.transact(partial(import_outcomes, outcomes=outcomes))

    async def outcomes(self, limit: int) -> list[StoredOutcome]:
        return await read_outcomes(self._database, limit)

    async def reset_outcomes(self) -> int:
        return await self._database.transact(reset_outcomes)

    async def note_failure(
        self, deployment: str, error: str, *, now: int, threshold: int, cooldown_ms: int
    ) -> Breaker:
        def work(connection: sqlite3.Connection) -> Breaker:
            return note_failure(connection, deployment, error, now, threshold, cooldown_ms)

        return await self._database.transact(work)

    async def note_success(self, deployment: str) -> None:
        await self._database.transact(partial(note_success, deployment=deployment))

    async def half_open(self, deployment: str, *, now: int) -> None:
        await self._database.transact(partial(half_open, deployment=deployment, now=now))

    async def claim_probe(self, deployment: str, *, now: int, lease_ms: int) -> bool:
        work = partial(claim_probe, deployment=deployment, now=now, lease_ms=lease_ms)
        return await self._database.transact(work)

    async def release_probe(self, deployment: str, *, probe_at: int) -> None:
        work = partial(release_probe, deployment=deployment, probe_at=probe_at)
        await self._database.transact(work)

    async def breakers(self) -> list[Breaker]:
        return await read_breakers(self._database)

    async def find_conversation(self, conversation_id: str) -> ConversationRecord | None:
        return await find_conversation(self._database, conversation_id)

    async def keep_conversation(self, record: ConversationRecord) -> bool:
        return await self._database.transact(partial(keep_conversation, record=record))

    async def purge_conversations(self, *, before: int) -> int:
        return await self._database.transact(partial(purge_conversations, before=before))

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
