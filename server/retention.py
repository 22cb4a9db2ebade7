"""Lets old calls go; what they came to stays."""

import logging

import anyio

from tierwise.routing.clock import zone
from tierwise.server.clock import last_days
from tierwise.server.settings import UsageSettings
from tierwise.storage.errors import StorageError
from tierwise.storage.ports import Ledger

_log = logging.getLogger(__name__)

_DAY = 24 * 60 * 60


async def prune(ledger: Ledger, keep_days: int, time_zone: str | None) -> int:
    """Delete the calls of all whole UTC days before the last `keep_days` local days; says how many."""
    return await ledger.prune(before=last_days(keep_days, zone(time_zone)).start)


async def prune_by_itself(ledger: Ledger, keep_days: int, time_zone: str | None) -> int:
    """The same, but nothing where no call is younger: by a clock that is years ahead, all of them are old."""
    period = last_days(keep_days, zone(time_zone))
    [younger] = await ledger.usage(start=period.start, end=period.end)
    return await prune(ledger, keep_days, time_zone) if younger.calls else 0


async def prune_daily(ledger: Ledger, settings: UsageSettings) -> None:
    """Keep to `keep_days` now, and once a day until cancelled; done at once where there is none."""
    while settings.keep_days is not None:
        try:
            await prune_by_itself(ledger, settings.keep_days, settings.time_zone)
        except StorageError as error:
            _log.warning("Old calls could not be deleted: %s", error)
        await anyio.sleep(_DAY)
