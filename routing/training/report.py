"""Writes REPORT.md: our figures from sources that were not trained on, beside those of others."""

from dataclasses import astuple
from pathlib import Path

import numpy as np

from tierwise.routing.analysis.model import Model
from tierwise.routing.measures import routing, tiering
from tierwise.routing.training.baselines import baselines
from tierwise.routing.training.data import EVERYDAY, Array, Mask, Prompts
from tierwise.routing.training.fit import fit_fails, fit_tier

PATH = Path(__file__).parent / "REPORT.md"
FOLDS = 5
"""Our everyday set is one source and most of the tiers: it is cross-validated; others are left out whole."""

_HEAD = """# How well the analyser routes

Written by `python -m tierwise.routing.training`; don't edit. Every figure of ours comes from a model that
was fitted without the source that it is measured on (the everyday set: {folds}-fold cross-validation).
The hand-set choices (dictionary, features, `DIFFICULTY`, the two constants of `fit.py`) were made looking at
these sources, so read the figures as somewhat flattering; the paraphrases in the tests were written apart.
`score` is the tier score, `p_cheap_fails` the other head. Random: APGR and AUCs 0.5, CPT50 50, CPT80 80.
"""


def scores(model: Model, prompts: Prompts) -> Array:
    """(n,): tier scores, as `analyze` gives them with its default cuts."""
    names = sorted(model.tier.weights)
    logits = prompts.matrix(names) @ np.array([model.tier.weights[name] for name in names]) + model.tier.bias
    raw = np.array([model.score(float(logit)) for logit in logits])
    evident = np.array([found.evident for found in prompts.features])
    return np.where(evident, raw, raw.clip(0.4, 0.6))


def fails(model: Model, prompts: Prompts) -> Array:
    """(n,): logits of P(a cheap model fails)."""
    names = sorted(model.fails.weights)
    return prompts.matrix(names) @ np.array([model.fails.weights[name] for name in names]) + model.fails.bias


def unseen_tier_scores(tiers: Prompts) -> Array:
    """(n,): each source scored by a model that was fitted without it; the everyday set by folds."""
    found = np.zeros(len(tiers))
    for hidden in _held_out(tiers):
        head, cut = fit_tier(tiers.where(~hidden))
        found[hidden] = scores(Model(head, cut, head), tiers.where(hidden))
    return found


def _held_out(tiers: Prompts) -> list[Mask]:
    fold = np.random.default_rng(0).permutation(len(tiers)) % FOLDS
    everyday = tiers.source == EVERYDAY
    others = [tiers.source == source for source in tiers.sources if source != EVERYDAY]
    return [*others, *(everyday & (fold == number) for number in range(FOLDS))]


def unseen_fails(outcomes: Prompts, tiers: Prompts) -> Array:
    """(n,): logits of the other head, each source by a model that was fitted without it."""
    found = np.zeros(len(outcomes))
    for source in outcomes.sources:
        hidden = outcomes.source == source
        head = fit_fails(outcomes.where(~hidden), tiers)
        found[hidden] = fails(Model(head, 1.0, head), outcomes.where(hidden))
    return found


def write(model: Model, tiers: Prompts, outcomes: Prompts) -> str:
    """The report's text; also written to `PATH`."""
    tier_scores = {"ours": unseen_tier_scores(tiers)} | {
        name: score(tiers.texts) for name, score in baselines().items()
    }
    outcome_scores = {
        "ours: p_cheap_fails": unseen_fails(outcomes, tiers),
        "ours: score": scores(model, outcomes),
    } | {name: score(outcomes.texts) for name, score in baselines().items()}
    text = "\n".join(
        [
            _HEAD.format(folds=FOLDS),
            "## Tiers\n\nAccuracy with the cuts 0.3 and 0.7, off by two, concordance.\n",
            *_tier_tables(tiers, tier_scores),
            "## Outcomes\n",
            *_outcome_tables(outcomes, outcome_scores),
            "## The shipped weights\n\nMeans over the rows they were fitted to; a test holds them to this.\n",
            *_pins(model, tiers, outcomes),
        ]
    )
    PATH.write_text(text, encoding="utf-8")
    return text


def _tier_tables(tiers: Prompts, scored: dict[str, Array]) -> list[str]:
    lines: list[str] = []
    for name, score in scored.items():
        groups = {source: tiers.source == source for source in tiers.sources}
        groups["**all but everyday**"] = tiers.source != EVERYDAY
        rows = {
            group: astuple(tiering(score[at].tolist(), tiers.labels[at].astype(int).tolist()))
            for group, at in groups.items()
        }
        lines += _table(name, ("accuracy", "off by two", "concordance"), rows)
    return lines


def _outcome_tables(outcomes: Prompts, scored: dict[str, Array]) -> list[str]:
    lines: list[str] = []
    for name, score in scored.items():
        rows: dict[str, tuple[float, ...]] = {}
        for source in outcomes.sources:
            at = outcomes.source == source
            rows[source] = astuple(routing(score[at].tolist(), *outcomes.labels[at].T.tolist()))
        rows["**mean**"] = tuple(np.mean(list(rows.values()), axis=0))
        lines += _table(name, ("APGR", "CPT50", "CPT80", "AUC", "AUCwk"), rows)
    return lines


def _pins(model: Model, *parts: Prompts) -> list[str]:
    rows: dict[str, tuple[float, ...]] = {}
    for prompts in parts:
        chances = 1 / (1 + np.exp(-fails(model, prompts)))
        for source in prompts.sources:
            at = prompts.source == source
            rows[source] = (float(scores(model, prompts)[at].mean()), float(chances[at].mean()))
    return _table("shipped", ("mean score", "mean p_cheap_fails"), rows)


def _table(title: str, columns: tuple[str, ...], rows: dict[str, tuple[float, ...]]) -> list[str]:
    cells = [[name, *(f"{v:.1f}" if v > 1 else f"{v:.3f}" for v in row)] for name, row in rows.items()]
    lines = [[title, *columns], ["---"] + ["--:"] * len(columns), *cells]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]
