"""Writes calls down, and tells what their budgets have to say of it."""

import logging
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.abc

from tierwise.routing.money.spending import Alert, Spending
from tierwise.storage.budgets import Budget, Committed
from tierwise.storage.errors import DatabaseBusy, StorageError
from tierwise.storage.ports import Store
from tierwise.storage.records import CachedAnswer, CallRecord
from tierwise.storage.spool import Spool, never_storable

_log = logging.getLogger(__name__)

Listener = Callable[[CallRecord], None]
Alarm = Callable[[Alert], None]


class Books:
    """The way of calls into the ledger. `tracking` says that they are written down at all."""

    def __init__(
        self,
        store: Store,
        spending: Spending,
        spool: Path | None,
        tasks: anyio.abc.TaskGroup,
        *,
        tracking: bool,
    ) -> None:
        self.listeners: list[Listener] = []
        self.alarms: list[Alarm] = []
        self._store = store
        self._spending = spending
        self._spool = Spool(spool)
        self._tasks = tasks
        self._tracking = tracking

    async def record(self, record: CallRecord, answer: CachedAnswer | None, due: float) -> Committed | str:
        """Commit by `due` (of `anyio.current_time`); a call that was answered is not failed for it, so
        trouble comes back as a warning."""
        try:
            committed = await self._commit(record, answer, due)
            for listener in self.listeners:
                listener(record)
        except StorageError as error:
            _log.error("Call %s is not in the ledger: %s", record.call_id, error)
            if never_storable(error) or not self._tracking:
                return f"This call is not in the ledger: {error}"
            await self._spool.keep(record)
            return f"This call is not in the ledger yet, and will be written down later: {error}"
        except Exception:  # noqa: BLE001  the answer is paid for, and other callers wait for theirs
            _log.exception("Call %s was not written down in full", record.call_id)
            return "tierwise itself failed while it wrote this call down; its log on stderr says how."
        if self._spool.waiting:
            self._tasks.start_soon(self.replay)
        return committed

    async def _commit(self, record: CallRecord, answer: CachedAnswer | None, due: float) -> Committed:
        with anyio.CancelScope(deadline=due):
            if self._tracking:
                return await self._store.record(record, answer)
            if answer is not None:
                await self._store.keep_answer(answer)
            return Committed()
        # It may still be committed: the spool writes the same down, which changes nothing then.
        raise DatabaseBusy("The database did not take it in time.")

    async def replay(self) -> None:
        """Write the calls down that could not be written down before."""
        try:
            for alert in await self._spending.alerts(await self._spool.replay(self._store)):
                self._raise_alarm(alert)
        except StorageError as error:
            _log.warning("Spooled calls still wait to be written down: %s", error)

    async def warning(
        self, record: CallRecord, budgets: tuple[Budget, ...], written: Committed | str
    ) -> str | None:
        """What the receipt has to say of trouble with the ledger, or of the call's budgets."""
        if isinstance(written, str):
            return written
        try:
            alerts = await self._spending.alerts(written.crossed)
            overrun = await self._spending.overrun(budgets) if record.cost_nano_usd != 0 else []
        except StorageError as error:
            return f"The budgets cannot be read: {error}"
        for alert in alerts:
            self._raise_alarm(alert)
        return " ".join(dict.fromkeys([*(alert.message for alert in alerts), *overrun])) or None

    def _raise_alarm(self, alert: Alert) -> None:
        _log.warning("%s", alert.message)
        for alarm in self.alarms:
            alarm(alert)
