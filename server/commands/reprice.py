"""`tierwise reprice`."""

from collections.abc import Mapping

from tierwise.routing.money.pricing import usd
from tierwise.server.clock import Period
from tierwise.server.commands.console import STDERR, dollars, write_table
from tierwise.server.repricing import Change, Repricing
from tierwise.server.runtime import open_runtime, run
from tierwise.server.settings import Settings
from tierwise.server.tools.usage import USAGE_SUMMARY


def run_reprice(settings: Settings, environ: Mapping[str, str], since: str, *, dry_run: bool) -> None:
    """Correct the costs of the calls since that day, and show what changed by model.

    Raises:
        TierwiseError: `since` is no day, or the database is unusable.
    """
    period = USAGE_SUMMARY.parse({"start": since}).period(settings.usage_tracking.time_zone)
    changes = run(_reprice, settings, environ, period, dry_run)
    changed = sum(change.attempts for change in changes.values())
    if changed:
        _show(changes)
    unknown = sum(change.unknown for change in changes.values())
    reported = sum(change.reported for change in changes.values())
    done = "would change; --dry-run changed nothing" if dry_run else "were changed"
    kept = f" {unknown:,} attempts keep their cost, because no price is known today." if unknown else ""
    kept += f" {reported:,} kept what their provider reported." if reported else ""
    STDERR.print(f"{changed:,} attempts {done}.{kept}")


async def _reprice(
    settings: Settings, environ: Mapping[str, str], period: Period, dry_run: bool
) -> dict[str, Change]:
    async with open_runtime(settings, environ) as engine:
        repricing = Repricing(await engine.catalog())
        await repricing.run(engine.store, period.start, period.end, dry=dry_run)
        return repricing.changes


def _show(changes: Mapping[str, Change]) -> None:
    changed = [(name, change) for name, change in sorted(changes.items()) if change.attempts]
    write_table(
        ["model", "attempts", "old cost", "new cost", "difference"],
        [
            [name, f"{it.attempts:,}", *(dollars(usd(cost)) for cost in (it.old, it.new, it.new - it.old))]
            for name, it in changed
        ],
        right=("attempts", "old cost", "new cost", "difference"),
    )
