"""`tierwise import`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from tierwise.routing.catalog.catalog import Catalog
from tierwise.routing.clock import zone
from tierwise.routing.errors import UnknownModel
from tierwise.server.errors import UnusableFile
from tierwise.server.runtime import open_runtime, run
from tierwise.server.settings import Settings
from tierwise.server.usage_file import IMPORTED, UsageFile, calls_of, read_usage_file
from tierwise.storage.ports import Ledger
from tierwise.storage.records import CallRecord, Dimension

_QUARTER_MS = 15 * 60 * 1000


def run_import(settings: Settings, environ: Mapping[str, str], path: Path) -> None:
    """Put the usage file at `path` into the ledger; all of it, or nothing.

    Raises:
        UnusableFile: it is no whole usage file, or another state of it is in the ledger.
        TierwiseError: the database is unusable.
    """
    added = run(_import, settings, environ, read_usage_file(path))
    click.echo(f"Imported {added:,} calls from {path}." if added else f"{path} is in the ledger already.")


async def _import(settings: Settings, environ: Mapping[str, str], file: UsageFile) -> int:
    local = zone(settings.usage_tracking.time_zone)
    async with open_runtime(settings, environ) as engine:
        calls = calls_of(file, local, _provider_of(await engine.catalog()))
        return await add_once(engine.store, calls)


async def add_once(ledger: Ledger, calls: Sequence[CallRecord]) -> int:
    """Add imported calls, oldest first, unless just these are there; says how many were added.

    Raises:
        UnusableFile: other imported calls are there in the same time.
    """
    if not calls:
        return 0
    start = calls[0].started_at // _QUARTER_MS * _QUARTER_MS
    end = (calls[-1].started_at // _QUARTER_MS + 1) * _QUARTER_MS
    # The sums stay when calls are pruned, so they tell what the calls' ids no longer can.
    [known] = await ledger.usage(start=start, end=end, filters={Dimension.OPERATION: IMPORTED})
    cost = sum(call.cost_nano_usd or 0 for call in calls)
    if (known.calls, known.cost_nano_usd) == (len(calls), cost):
        return 0
    if known.calls:
        raise UnusableFile(
            "Nothing was imported: the ledger holds other imported calls of the same days, perhaps from an"
            " earlier state of this file. Importing both would count calls twice."
        )
    return await ledger.import_calls(calls)


def _provider_of(catalog: Catalog) -> Callable[[str], str]:
    def provider(model: str) -> str:
        try:
            return catalog.resolve(model).provider
        except UnknownModel:
            return "unknown"

    return provider
