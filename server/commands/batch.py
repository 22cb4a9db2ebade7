"""`tierwise batch`."""

from collections.abc import Mapping
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tierwise.routing.money.pricing import nano_usd, usd
from tierwise.server.batch import Batch, Purse
from tierwise.server.batch_file import BatchFile, Line, open_batch, read_lines
from tierwise.server.commands.console import STDERR, dollars
from tierwise.server.runtime import open_runtime, run
from tierwise.server.settings import Settings

_TOLD = 20
"""Failed lines that are named on stderr; all are in the output."""
_INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended."""


def run_batch(
    settings: Settings,
    environ: Mapping[str, str],
    source: Path,
    out: Path,
    *,
    concurrency: int,
    max_cost_usd: float | None,
) -> int:
    """Answer each line of `source`; says 1 if one has no answer in the end.

    Raises:
        TierwiseError: a file or the settings are unusable.
    """
    next(read_lines(source), None)  # an input that cannot be read leaves no output behind
    limit = None if max_cost_usd is None else nano_usd(max_cost_usd)
    with open_batch(out) as file:
        purse = Purse(limit, file.cost)
        report = _Report(source, file, purse)
        try:
            with report.progress:
                stopped = run(_batch, settings, environ, source, file, purse, report, concurrency)
        except KeyboardInterrupt:
            report.say("Stopped. The same command goes on from here.")
            return _INTERRUPTED
        file.finish(read_lines(source))
    return report.sum_up(out, stopped)


async def _batch(
    settings: Settings,
    environ: Mapping[str, str],
    source: Path,
    file: BatchFile,
    purse: Purse,
    report: "_Report",
    concurrency: int,
) -> str | None:
    """Why lines were left unasked, if some were."""
    async with open_runtime(settings, environ) as engine:
        batch = Batch(engine, settings, file, purse, report.note)
        await batch.run(read_lines(source), concurrency)
    if batch.stopped_at is None or purse.limit is None:
        return None
    line, worst = batch.stopped_at
    return (
        f"Line {line.number} and those after it are left: it may cost up to {dollars(usd(worst))}, and"
        f" {dollars(usd(purse.spent))} of --max-cost {dollars(usd(purse.limit))} is spent. Raise it, and run"
        " the same command again."
    )


class _Report:
    """What is told on stderr: a bar where somebody can see it move, failures, and the sum."""

    def __init__(self, source: Path, file: BatchFile, purse: Purse) -> None:
        self._purse = purse
        self._failed = 0
        self._answered = total = 0
        for line in read_lines(source):
            total += 1
            self._answered += file.is_answered(line)
        self.progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[cost]}"),
            TimeRemainingColumn(),
            console=STDERR,
            transient=True,
            disable=not STDERR.is_terminal,
        )
        self._total = total
        self._bar = self.progress.add_task("", total=total, completed=self._answered, cost=self._cost)

    @property
    def _cost(self) -> str:
        return dollars(usd(self._purse.spent))

    def note(self, line: Line, error: str | None) -> None:
        """Count a line, and tell of its error."""
        self._failed += error is not None
        self._answered += error is None
        if error is not None and self._failed <= _TOLD:
            self.say(f"line {line.number}: {error}")
        if self._failed == _TOLD + 1:
            self.say("… further failures are in the output only.")
        self.progress.update(self._bar, advance=1, cost=self._cost)

    def say(self, text: str) -> None:
        STDERR.print(text, markup=False, soft_wrap=True)

    def sum_up(self, out: Path, stopped: str | None) -> int:
        """Tell how it ended; the exit code."""
        if stopped:
            self.say(stopped)
        failed = f", {self._failed} failed (the same command asks them again)" if self._failed else ""
        self.say(f"{self._answered} of {self._total} answered{failed} · {self._cost} · {out}")
        return 0 if self._answered == self._total else 1
