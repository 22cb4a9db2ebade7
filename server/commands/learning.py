"""`tierwise tune` and `tierwise outcomes`."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path

import click

from tierwise.routing.learning.head import Head
from tierwise.routing.learning.layer import MOST_OUTCOMES
from tierwise.server.commands.console import note, write_table
from tierwise.server.judging import Judge, judge_of
from tierwise.server.labelled import Labelled, outcomes_of, read_labelled
from tierwise.server.runtime import open_storage, run
from tierwise.server.settings import Settings
from tierwise.storage.outcomes import StoredOutcome

_ALL = 2**62
"""More outcomes than there can be."""


def run_tune(settings: Settings, path: Path, *, reset: bool) -> None:
    """Take the labels of a file for outcomes, and say what is learned from all that there are.

    Raises:
        TierwiseError: the file or the database is unusable; nothing was changed.
    """
    rows = read_labelled(path)
    kept, judge = run(_tune, settings, rows, reset)
    click.echo(f"{len(rows)} labelled prompts taken in; {kept} outcomes in the store.")
    write_table(
        ["learns", "trust", "moves all by"],
        [_row("score", judge.layer.score), _row("p_cheap_fails", judge.layer.fails)],
        right=("trust", "moves all by"),
    )
    if not settings.learning.enabled:
        note("learning.enabled is false: none of this is used.")
    elif not (judge.layer.score or judge.layer.fails):
        least = settings.learning.min_outcomes
        note(f"Nothing is learned from fewer than {least} outcomes that tell something.")


async def _tune(settings: Settings, rows: Sequence[Labelled], reset: bool) -> tuple[int, Judge]:
    async with open_storage(settings) as store:
        found = outcomes_of(rows, Judge(settings, store.digest_key))
        if reset:
            await store.reset_outcomes()
        await store.import_outcomes(found)
        return len(await store.outcomes(MOST_OUTCOMES)), await judge_of(settings, store)


def _row(name: str, head: Head | None) -> list[str]:
    if head is None:
        return [name, "too few", ""]
    return [name, f"{head.trust:.0%}", f"{head.common:+.2f}"]


def run_export(settings: Settings) -> None:
    """Write every outcome to stdout as a line of JSON, the newest first; features in base64.

    Raises:
        StorageError: the database cannot be used.
    """
    for outcome in run(_outcomes, settings):
        features = outcome.features and b64encode(outcome.features).decode()
        click.echo(dumps({**asdict(outcome), "features": features}))


def run_reset(settings: Settings) -> None:
    """Forget every outcome, and with them what was learned.

    Raises:
        StorageError: the database cannot be used.
    """
    click.echo(f"{run(_reset, settings)} outcomes forgotten.")


async def _outcomes(settings: Settings) -> list[StoredOutcome]:
    async with open_storage(settings) as store:
        return await store.outcomes(_ALL)


async def _reset(settings: Settings) -> int:
    async with open_storage(settings) as store:
        return await store.reset_outcomes()
