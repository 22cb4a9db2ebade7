"""`tierwise usage`: tables and bars in a terminal."""

from collections.abc import Mapping
from typing import Any

import anyio
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tierwise.routing.engine import Engine
from tierwise.server import usage
from tierwise.server.commands.console import STDOUT, dollars, plain, write_json
from tierwise.server.runtime import open_runtime, run
from tierwise.server.savings import Savings, savings
from tierwise.server.settings import Settings
from tierwise.server.tools.usage import USAGE_SUMMARY, SummaryArguments
from tierwise.server.usage import UsageSummary

_BAR_WIDTH = 24
_WATCH_SECONDS = 2.0


class Report(UsageSummary):
    """What `--json` prints: the summary, with the savings that were asked for."""

    savings: Savings


def run_usage(
    settings: Settings,
    environ: Mapping[str, str],
    arguments: Mapping[str, Any],
    compared_to: str | None,
    *,
    watch: bool,
    as_json: bool,
) -> None:
    """Show what the calls came to that `arguments` (of `usage_summary`) mean, by model if they name no
    other grouping; `watch` goes on until it is interrupted.

    Raises:
        TierwiseError: the arguments do not fit, or the database is unusable.
    """
    parsed = USAGE_SUMMARY.parse(arguments if as_json else {"group_by": "model", **arguments})
    if watch:
        run(_watch, settings, environ, parsed, compared_to)
        return
    found = run(_once, settings, environ, parsed, compared_to)
    if as_json:
        write_json(found)
    else:
        STDOUT.print(rendered(found, parsed.group_by or "model"))


async def _once(
    settings: Settings, environ: Mapping[str, str], arguments: SummaryArguments, compared_to: str | None
) -> Report:
    async with open_runtime(settings, environ) as engine:
        return await report(engine, arguments.query(settings.usage_tracking.time_zone), compared_to)


async def _watch(
    settings: Settings, environ: Mapping[str, str], arguments: SummaryArguments, compared_to: str | None
) -> None:
    group_by = arguments.group_by or "model"
    async with open_runtime(settings, environ) as engine:
        with Live(console=STDOUT, auto_refresh=False) as live:
            while True:
                # Asked anew each time, for at midnight the days become others.
                query = arguments.query(settings.usage_tracking.time_zone)
                live.update(rendered(await report(engine, query, compared_to), group_by), refresh=True)
                await anyio.sleep(_WATCH_SECONDS)


async def report(engine: Engine, query: usage.UsageQuery, compared_to: str | None) -> Report:
    """The summary and the savings of the calls that `query` means.

    Raises:
        InvalidRequest: there is no model `compared_to`, or its price is unknown.
    """
    model = (await engine.catalog()).resolve(compared_to) if compared_to else None
    summary = await usage.usage_summary(engine.store, query)
    saved = await savings(engine.store, query, model)
    return Report(**summary.model_dump(exclude_unset=True), savings=saved)


def rendered(found: Report, group_by: str) -> RenderableType:
    """The report as a terminal shows it."""
    title = Text(f"{found.start} to {found.end}", style="bold")
    return Group(title, _table(found, group_by), plain(_gist(found), "dim"))


def _table(found: Report, group_by: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", footer_style="bold", show_footer=True)
    table.add_column(group_by, "total", overflow="fold")
    for name, total in (
        ("calls", f"{found.total_calls:,}"),
        ("tokens", f"{found.total_tokens:,}"),
        ("cost", dollars(found.total_cost_usd)),
    ):
        table.add_column(name, total, justify="right", no_wrap=True)
    table.add_column("")
    most = max((item.cost for item in found.groups), default=0)
    block = "█" if STDOUT.encoding.startswith("utf") else "#"
    for item in found.groups:
        bar = Text(block * round(_BAR_WIDTH * item.cost / (most or 1)), style="cyan")
        cells = (f"{item.calls:,}", f"{item.tokens:,}", dollars(item.cost))
        table.add_row(plain(item.key or "none"), *cells, bar)
    return table


def _gist(found: Report) -> str:
    cached = f"{found.cached_calls:,} from the cache, worth about {dollars(found.cache_saved_usd)}"
    lines = [
        (f"{found.groups_left_out:,} more are left out", found.groups_left_out),
        (cached, found.cached_calls),
        (f"{dollars(found.saved_usd)} less than on the complex tier's first model", True),
        (_compared(found.savings), found.savings.compared_to),
        (f"{found.failed_calls:,} failed", found.failed_calls),
        (f"{found.cancelled_calls:,} cancelled", found.cancelled_calls),
        (f"{found.unpriced_calls:,} attempts of unknown price", found.unpriced_calls),
        (f"about {dollars(found.projected_monthly_cost)} a month", True),
    ]
    return " · ".join(text for text, shown in lines if shown)


def _compared(found: Savings) -> str:
    return f"{dollars(found.on_compared_usd)} on {found.compared_to}"
