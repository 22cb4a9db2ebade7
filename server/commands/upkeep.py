"""`tierwise prune` and `tierwise check`."""

import click

from tierwise.server.commands.console import STDERR
from tierwise.server.retention import prune
from tierwise.server.runtime import open_storage, run
from tierwise.server.settings import Settings


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
    """Say where the sums are not those of the calls, and put them right if asked to; the exit code is 0 if
    they are right at the end.

    Raises:
        StorageError: the database is unusable.
    """
    found, left = run(_check, settings, repair)
    for sentence in found:
        click.echo(sentence)
    if not found:
        click.echo("The sums of usage are those of the calls.")
    elif left:
        STDERR.print("tierwise check --repair makes them anew.")
    else:
        click.echo("They were made anew, and are right now.")
    return 1 if left else 0


async def _check(settings: Settings, repair: bool) -> tuple[list[str], list[str]]:
    async with open_storage(settings) as store:
        found = await store.check()
        if not found or not repair:
            return found, found
        await store.rebuild_rollup()
        return found, await store.check()
