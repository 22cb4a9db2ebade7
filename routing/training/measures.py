"""How well a score routes: the measures of RouteLLM (arXiv:2406.18665) for outcomes, and those for tiers."""

from dataclasses import dataclass

import numpy as np

from tierwise.routing.analysis.model import CUTS
from tierwise.routing.training.data import Array


@dataclass(frozen=True, slots=True)
class Routing:
    """On rows with outcomes; the value of a random score in brackets."""

    apgr: float
    """Area under performance gap recovered against the share of strong calls (0.5)."""
    cpt50: float
    """Least share of strong calls, in percent, that recovers half of the gap (50)."""
    cpt80: float
    """The same for 80% of the gap (80)."""
    auc: float
    """Chance that a prompt which only the strong model gets right outscores another (0.5)."""
    auc_weak: float
    """Chance that a prompt which the cheap model fails outscores another (0.5)."""


@dataclass(frozen=True, slots=True)
class Tiering:
    """On rows with tiers."""

    accuracy: float
    """Share of right tiers, with the fixed cuts."""
    off_by_two: float
    """Share of simple taken for complex, and of complex for simple."""
    concordance: float
    """Share of pairs of different tiers that the score orders rightly (0.5)."""


def routing(score: Array, weak: Array, strong: Array) -> Routing:
    """All (n,): the score, and what the cheap and the strong model got, 0..1."""
    recovered = _recovered(score, strong - weak)
    return Routing(
        apgr=float((recovered[1:] + recovered[:-1]).mean() / 2),
        cpt50=_share_to_reach(recovered, 0.5),
        cpt80=_share_to_reach(recovered, 0.8),
        auc=auc(score, (strong - weak).clip(0, 1)),
        auc_weak=auc(score, (1 - weak).clip(0, 1)),
    )


def tiering(score: Array, tier: Array) -> Tiering:
    """`score` in 0..1, `tier` 0, 1 or 2; both (n,)."""
    predicted = np.searchsorted(np.array(CUTS), score, side="right")
    higher = tier[:, None] > tier[None, :]
    difference = score[:, None] - score[None, :]
    ordered = (difference > 0) + 0.5 * (difference == 0)
    return Tiering(
        accuracy=float((predicted == tier).mean()),
        off_by_two=float((abs(predicted - tier) == 2).mean()),
        concordance=float(ordered[higher].mean()),
    )


def auc(score: Array, positive: Array) -> float:
    """Area under the ROC curve; a row counts as positive with weight `positive`, else as negative; (n,)."""
    _, at = np.unique(score, return_inverse=True)
    positives, negatives = np.bincount(at, positive), np.bincount(at, 1 - positive)
    below = np.cumsum(negatives) - negatives / 2
    return float(positives @ below / (positives.sum() * negatives.sum()))


def _recovered(score: Array, gain: Array) -> Array:
    """(n + 1,): share of the gap recovered by 0, 1, … n strong calls; inside a tie, its mean gain."""
    _, at = np.unique(-score, return_inverse=True)
    mean = np.bincount(at, gain) / np.bincount(at)
    recovered = np.concatenate(([0.0], np.cumsum(mean[np.sort(at)])))
    return recovered / gain.sum()


def _share_to_reach(recovered: Array, level: float) -> float:
    calls = len(recovered) - 1
    last = int(np.argmax(recovered >= level - 1e-12))
    step = recovered[last] - recovered[last - 1]
    return 100 * (last - 1 + (level - recovered[last - 1]) / step) / calls
