"""`tierwise export`."""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tierwise.server.commands.console import STDERR
from tierwise.server.exports import Format, export
from tierwise.server.files import replacing
from tierwise.server.runtime import open_storage, run
from tierwise.server.settings import Settings
from tierwise.server.tools.usage import USAGE_SUMMARY
from tierwise.server.usage import UsageQuery


def run_export(settings: Settings, arguments: Mapping[str, Any], format: str, output: Path | None) -> None:
    """Write what `arguments` (of `usage_summary`) mean to a file, or to stdout; an old file is replaced
    once the new one is whole.

    Raises:
        TierwiseError: the arguments do not fit, the file cannot be written, or the database is unusable.
    """
    query = USAGE_SUMMARY.parse(arguments).query(settings.usage_tracking.time_zone)
    with _opened(output) as file:
        run(_export, settings, query, cast("Format", format), file)


@contextmanager
def _opened(output: Path | None) -> Generator[IO[bytes]]:
    if output:
        with replacing(output) as file:
            yield file
    else:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()


async def _export(settings: Settings, query: UsageQuery, format: Format, file: IO[bytes]) -> None:
    async with open_storage(settings) as store:
        total = None
        if query.group_by is None and not query.filters:
            [everything] = await store.usage(start=query.period.start, end=query.period.end)
            total = everything.calls
        with _progress(hidden=not STDERR.is_terminal or file.isatty()) as progress:
            task = progress.add_task("Exporting", total=total)
            await export(store, query, format, file, lambda rows: progress.advance(task, rows))


def _progress(*, hidden: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=STDERR, disable=hidden, transient=True)
