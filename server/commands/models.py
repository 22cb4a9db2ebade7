"""`tierwise models`."""

from collections.abc import Mapping

from tierwise.server.commands.console import note, write_json, write_table
from tierwise.server.runtime import open_runtime, run
from tierwise.server.settings import Settings
from tierwise.server.tools.base import ToolContext
from tierwise.server.tools.models import ModelList, model_list


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
    note(f"Tiers from {listed.source}.")


async def _models(settings: Settings, environ: Mapping[str, str]) -> ModelList:
    async with open_runtime(settings, environ) as engine:
        return await model_list(ToolContext(engine, settings))


def _price(usd_per_million: float | None) -> str:
    return "unknown" if usd_per_million is None else f"{usd_per_million:g}"
