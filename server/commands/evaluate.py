"""`tierwise eval`."""

from collections.abc import Mapping
from dataclasses import astuple
from math import isnan
from pathlib import Path

import click

from tierwise.routing.learning.layer import MOST_OUTCOMES
from tierwise.routing.measures import curve, routing, tiering
from tierwise.server.commands.chart import in_terminal, write_picture
from tierwise.server.commands.console import note, write_table
from tierwise.server.errors import UnusableFile
from tierwise.server.evaluation import OURS, Scored, of_file, of_outcomes, suggest, together
from tierwise.server.judging import learned_judge
from tierwise.server.labelled import read_labelled
from tierwise.server.runtime import open_storage, run
from tierwise.server.settings import Settings
from tierwise.storage.outcomes import StoredOutcome

_MOST_POINTS = 500
_ROUTING = ("APGR", "CPT50", "CPT80", "AUC", "AUCwk")
_RANDOM = (0.5, 50.0, 80.0, 0.5, 0.5)
_TIERING = ("accuracy", "off by two", "concordance")


def run_eval(
    settings: Settings,
    path: Path | None,
    *,
    pictures: tuple[Path, ...],
    saving: float | None,
    quality: float | None,
) -> None:
    """Measure on a labelled file, or without one on the outcomes in the store.

    Raises:
        TierwiseError: the file, the database or a picture's file is unusable, or nothing can be measured.
    """
    if path is None:
        sources = of_outcomes(*run(_outcomes, settings), settings)
    else:
        sources = of_file(read_labelled(path), run(learned_judge, settings))
    if not sources:
        raise UnusableFile("There is nothing to measure: no label tells whether a stronger tier was needed.")
    _show_outcomes({name: scored for name, scored in sources.items() if scored.weak})
    _show_tiers({name: scored for name, scored in sources.items() if scored.tiers}, settings)
    pooled = together(sources.values())
    if pooled.weak:
        _show_curve(pooled, pictures)
        _show_suggestions(pooled, saving, quality)
    elif pictures or saving is not None or quality is not None:
        raise UnusableFile("The curve and the cuts need rows with weak_ok and strong_ok, or verdicts.")


async def _outcomes(settings: Settings) -> tuple[list[StoredOutcome], bytes]:
    async with open_storage(settings) as store:
        return await store.outcomes(MOST_OUTCOMES), store.digest_key


def _show_outcomes(sources: Mapping[str, Scored]) -> None:
    rows: list[list[str]] = []
    for source, scored in sources.items():
        count = str(len(scored.weak))
        rows += [
            [source, name, count, *map(_figure, astuple(routing(scores, scored.weak, scored.strong)))]
            for name, scores in scored.scores.items()
        ]
        rows.append([source, "random", count, *map(_figure, _RANDOM)])
    if rows:
        write_table(["source", "by", "rows", *_ROUTING], rows, right=("rows", *_ROUTING))


def _show_tiers(sources: Mapping[str, Scored], settings: Settings) -> None:
    cuts, rows = settings.model_routing.rules.cuts(), list[list[str]]()
    for source, scored in sources.items():
        for name, scores in scored.scores.items():
            found = tiering(scores, scored.tiers, cuts)
            cut = name in (OURS, "before learning")
            figures = astuple(found) if cut else (float("nan"), float("nan"), found.concordance)
            rows.append([source, name, str(len(scored.tiers)), *map(_figure, figures)])
    if rows:
        write_table(["source", "by", "rows", *_TIERING], rows, right=("rows", *_TIERING))


def _show_curve(pooled: Scored, pictures: tuple[Path, ...]) -> None:
    qualities = curve(pooled.scores[OURS], pooled.weak, pooled.strong)
    click.echo("\nQuality against the share of calls that go to the strong model\n")
    click.echo(in_terminal(qualities))
    step = max(1, len(qualities) // _MOST_POINTS)
    thinned = [*qualities[:-1:step], qualities[-1]]
    for path in pictures:
        write_picture(path, {OURS: thinned, "random": [qualities[0], qualities[-1]]})
        note(f"Wrote {path}.")


def _show_suggestions(pooled: Scored, saving: float | None, quality: float | None) -> None:
    wanted: list[tuple[str, dict[str, float]]] = []
    if saving is not None:
        wanted.append((f"To spare {saving:.0%} of the strong calls", {"saving": saving}))
    if quality is not None:
        wanted.append((f"To keep {quality:.0%} of the strong model's quality", {"quality": quality}))
    always = sum(pooled.strong) / len(pooled.strong)
    for goal, target in wanted:
        found = suggest(pooled, **target)
        click.echo(
            f"\n{goal}: model_routing.rules.complex.min_complexity = {found.cut:.3f}\n"
            f"  {found.share:.0%} strong calls, quality {found.quality:.3f} (always strong: {always:.3f})"
        )


def _figure(value: float) -> str:
    return "–" if isnan(value) else f"{value:.1f}" if value > 1 else f"{value:.3f}"  # noqa: RUF001
