"""Ledgers filled by hand, so that days, prices and sizes are those that a test says."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from zoneinfo import ZoneInfo

from tests.server.harness import Installation
from tierwise.server.configuration import load_settings
from tierwise.server.runtime import open_storage
from tierwise.storage.ports import Store
from tierwise.storage.records import CallRecord


def ledger(installation: Installation) -> AbstractAsyncContextManager[Store]:
    """The store of an installation."""
    return open_storage(load_settings(config=None, environ=installation.environ))


async def record(installation: Installation, *calls: CallRecord) -> None:
    async with ledger(installation) as store:
        for call in calls:
            await store.record(call)


def at(text: str, zone: str = "UTC") -> int:
    """Epoch ms of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
