"""`tierwise prune` and `tierwise check`."""

import click

from tierwise.server.commands.console import STDERR
from tierwise.server.retention import prune
from tierwise.server.runtime import open_storage, run, spool_folder
from tierwise.server.settings import Settings
from tierwise.storage.ports import Store
from tierwise.storage.records import Finding
from tierwise.storage.spool import Spool


def run_prune(settings: Settings, keep_days: int) -> None:
    """Delete the calls of older days, and say how many.

    Raises:
        StorageError: the database is unusable.
    """
    click.echo(f"Deleted {run(_prune, settings, keep_days):,} calls; their sums are kept.")


async def _prune(settings: Settings, keep_days: int) -> int:
    async with open_storage(settings) as store:
        return await prune(store, keep_days, settings.usage_tracking.time_zone)


def run_check(settings: Settings, *, repair: bool) -> int:
    """Say what is wrong with the store, a line for each finding, and put right what can be if asked to; the
    exit code is 0 if nothing is wrong at the end.

    Raises:
        StorageError: the database is unusable.
    """
    found, left = run(_check, settings, repair)
    for finding in found:
        click.echo(finding.text)
    if not found:
        click.echo("The database is sound: its sums and budgets are those of the calls.")
    elif not left:
        click.echo("That is put right now.")
    elif repair:
        for finding in left:
            STDERR.print(f"Not repaired: {finding.text}", soft_wrap=True, markup=False)
    elif any(finding.repairable for finding in found):
        STDERR.print("tierwise check --repair puts right what follows from the rest.")
    return 1 if left else 0


async def _check(settings: Settings, repair: bool) -> tuple[list[Finding], list[Finding]]:
    spool = Spool(spool_folder(settings))
    async with open_storage(settings) as store:
        found = await _findings(store, spool)
        if not found or not repair:
            return found, found
        await spool.replay(store)
        await store.repair()
        return found, await _findings(store, spool)


async def _findings(store: Store, spool: Spool) -> list[Finding]:
    return [*await store.check(), *await spool.check()]
