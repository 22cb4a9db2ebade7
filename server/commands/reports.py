"""`tierwise models` and `tierwise usage`."""

from collections.abc import Mapping

from tierwise.server.commands.console import STDERR, dollars, write_json, write_table
from tierwise.server.runtime import open_runtime, run
from tierwise.server.settings import Settings
from tierwise.server.tools.base import ToolContext
from tierwise.server.tools.models import ModelList, model_list
from tierwise.server.usage import UsageSummary, usage_summary


def run_models(settings: Settings, environ: Mapping[str, str], *, as_json: bool) -> None:
    """List the models that can be used.

    Raises:
        TierwiseError: the settings name a model that does not exist, or the database is unusable.
    """
    listed = run(_models, settings, environ)
    if as_json:
        write_json(listed)
        return
    write_table(
        ["model", "tiers", "$/M in", "$/M out", "window", "health"],
        [
            [
                item.model,
                " ".join(item.tiers),
                _price(item.input_usd_per_million),
                _price(item.output_usd_per_million),
                f"{item.context_window:,}" if item.context_window else "",
                f"{item.health}: set {item.key_variable}" if item.health == "no key" else item.health,
            ]
            for item in listed.models
        ],
        right=("$/M in", "$/M out", "window"),
    )
    STDERR.print(f"[dim]Tiers from {listed.source}.[/dim]")


def run_usage(settings: Settings, environ: Mapping[str, str], days: int, *, as_json: bool) -> None:
    """Show what the last `days` days came to.

    Raises:
        TierwiseError: the database is unusable.
    """
    summary = run(_usage, settings, environ, days)
    if as_json:
        write_json(summary)
        return
    write_table(
        ["model", "calls", "tokens", "cost"],
        [
            *(
                [name, str(item.calls), f"{item.tokens:,}", dollars(item.cost)]
                for name, item in summary.model_breakdown.items()
            ),
            ["total", str(summary.total_calls), f"{summary.total_tokens:,}", dollars(summary.total_cost_usd)],
        ],
        right=("calls", "tokens", "cost"),
    )
    STDERR.print(
        f"[dim]{days} days · {summary.cached_calls} from the cache · saved {dollars(summary.saved_usd)}"
        f" · {summary.failed_calls} failed · about {dollars(summary.projected_monthly_cost)} a month[/dim]"
    )


async def _models(settings: Settings, environ: Mapping[str, str]) -> ModelList:
    async with open_runtime(settings, environ) as engine:
        return await model_list(ToolContext(engine, settings, None))


async def _usage(settings: Settings, environ: Mapping[str, str], days: int) -> UsageSummary:
    async with open_runtime(settings, environ) as engine:
        return await usage_summary(engine.store, days, settings.usage_tracking.time_zone)


def _price(usd_per_million: float | None) -> str:
    return "unknown" if usd_per_million is None else f"{usd_per_million:g}"
