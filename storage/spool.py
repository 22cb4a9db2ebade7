"""Keeps the records of calls that the store cannot take now, until it can: a call's cost must survive.

Each waits in a file of its own, so that processes that share the folder need no agreement: whoever
writes one down twice changes nothing, since the store knows the `call_id`. A file appears under its name
only when it is whole; one that is still a `.part` after a minute was left by a process that was killed, and
is taken if it is whole. On a full disk there is room for some hundred files, which is taken as long as there
is plenty. Where not even that helps, the record waits in memory.
"""

import json
import logging
import os
import stat
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from anyio import Lock, to_thread

from tierwise.storage.ballast import Ballast
from tierwise.storage.budgets import Charge, Crossing
from tierwise.storage.errors import StorageError
from tierwise.storage.files import NO_TRICKS
from tierwise.storage.ports import Ledger
from tierwise.storage.records import AttemptRecord, CallRecord, CallStatus, Finding

_log = logging.getLogger(__name__)

_MOST_IN_MEMORY = 10_000
_BALLAST = "ballast"
_WHOLE, _PART = ".json", ".part"
_ABANDONED_AFTER = 60.0
"""Seconds after which nobody is still writing a file."""


class Spool:
    """Records that wait in `folder`, which is made when it is needed; without one, in memory alone."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory: OrderedDict[str, CallRecord] = OrderedDict()
        self._lock = Lock()
        self.waiting = True
        """Whether there may be something to write down; at first an earlier process may have left it."""

    async def keep(self, call: CallRecord) -> None:
        """Keep `call`, without what routing might learn from it."""
        try:
            await to_thread.run_sync(self._write, call)
        except OSError as error:
            _log.error("Call %s waits in memory, since it cannot be spooled: %s", call.call_id, error)
            self._memory[call.call_id] = call
            if len(self._memory) > _MOST_IN_MEMORY:
                self._memory.popitem(last=False)
        self.waiting = True

    async def replay(self, ledger: Ledger) -> tuple[Crossing, ...]:
        """Write everything down that waits; returns the thresholds that this crosses.

        Raises:
            StorageError: the ledger still cannot take it; what is left waits on.
        """
        crossed: list[Crossing] = []
        async with self._lock:
            for path in await to_thread.run_sync(self._paths):
                call = await to_thread.run_sync(_read, path)
                if call is not None:
                    crossed += (await ledger.record(call)).crossed
                    await to_thread.run_sync(_remove, path)
            while self._memory:
                call_id, call = next(iter(self._memory.items()))
                crossed += (await ledger.record(call)).crossed
                self._memory.pop(call_id, None)
            self.waiting = False
            await to_thread.run_sync(self._prepare)
        return tuple(crossed)

    async def check(self) -> list[Finding]:
        """What waits in the folder: the next start of tierwise writes it down, and so does `replay`."""
        return await to_thread.run_sync(self._check)

    def _check(self) -> list[Finding]:
        paths = self._paths()
        if not paths:
            return []
        unreadable = [path for path in paths if path.suffix == _WHOLE and _read(path) is None]
        found = [Finding(f"The spooled call {path} cannot be read.", repairable=False) for path in unreadable]
        if waiting := len(paths) - len(unreadable):
            text = f"{waiting} calls wait in {self._folder} to be written down."
            found.append(Finding(text, repairable=True))
        return found

    def _prepare(self) -> None:
        if self._folder is not None:
            with suppress(OSError):
                self._folder.mkdir(mode=0o700, exist_ok=True)
                Ballast(self._folder / _BALLAST).take()

    def _write(self, call: CallRecord) -> None:
        if self._folder is None:
            raise OSError("there is no folder for it")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / f"{quote(call.call_id, safe='', errors='replace')}{_WHOLE}"
        text = json.dumps(asdict(call) | {"features": None})
        try:
            _write_whole(path, text)
        except OSError as error:
            ballast = Ballast(self._folder / _BALLAST)
            if not ballast.let_go(error):
                raise
            _write_whole(path, text)
            ballast.take()  # what is left, before the database does

    def _paths(self) -> list[Path]:
        if self._folder is None or not self._folder.is_dir():
            return []
        parts = [path for path in self._folder.glob(f"*{_PART}") if _is_abandoned(path)]
        return sorted([*self._folder.glob(f"*{_WHOLE}"), *parts])


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _ABANDONED_AFTER
    except OSError:
        return False  # its process has just finished it


def _write_whole(path: Path, text: str) -> None:
    part = path.with_suffix(_PART)
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_TRICKS, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _read(path: Path) -> CallRecord | None:
    try:
        values: dict[str, Any] = json.loads(_text(path))
        values["attempts"] = tuple(AttemptRecord(**attempt) for attempt in values["attempts"])
        values["status"] = CallStatus(values["status"])
        values["unreserved"] = tuple(Charge(**charge) for charge in values["unreserved"])
        return CallRecord(**values)
    except FileNotFoundError:
        return None  # another process has written it down
    except (OSError, ValueError, TypeError, KeyError) as error:
        if path.suffix == _PART:
            _log.error("A call is lost: its process was killed while it wrote %s, which goes.", path)
            _remove(path)
        else:
            _log.error("The spooled call %s cannot be read and is left where it is: %s", path, error)
        return None


def _text(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | NO_TRICKS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no file")
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def never_storable(error: StorageError) -> bool:
    """Whether the record itself is what the store cannot take, now or later."""
    return isinstance(error.__cause__, OverflowError)
