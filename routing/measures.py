"""How well a score routes: the measures of RouteLLM (arXiv:2406.18665) for outcomes, and those for tiers.

Numbers that do not exist, such as the recovered share of a gap that is none, are NaN.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from math import nan
from statistics import fmean

from tierwise.routing.analysis.model import CUTS

Numbers = Sequence[float]


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
    """Share of right tiers."""
    off_by_two: float
    """Share of simple taken for complex, and of complex for simple."""
    concordance: float
    """Share of pairs of different tiers that the score orders rightly (0.5)."""


def routing(score: Numbers, weak: Numbers, strong: Numbers) -> Routing:
    """All n: the score, and what the cheap and the strong model got, 0..1."""
    recovered = _recovered(score, weak, strong)
    return Routing(
        apgr=fmean((before + after) / 2 for before, after in pairwise(recovered)),
        cpt50=_share_to_reach(recovered, 0.5),
        cpt80=_share_to_reach(recovered, 0.8),
        auc=auc(score, [max(0.0, more - less) for less, more in zip(weak, strong, strict=True)]),
        auc_weak=auc(score, [1 - value for value in weak]),
    )


def tiering(score: Numbers, tier: Sequence[int], cuts: tuple[float, float] = CUTS) -> Tiering:
    """n scores in 0..1, n tiers 0, 1 or 2."""
    missed = [abs(bisect_right(cuts, s) - t) for s, t in zip(score, tier, strict=True)]
    return Tiering(
        accuracy=missed.count(0) / len(missed),
        off_by_two=missed.count(2) / len(missed),
        concordance=_concordance(score, tier),
    )


def curve(score: Numbers, weak: Numbers, strong: Numbers) -> list[float]:
    """n + 1: the mean quality when the 0, 1, … n prompts that score highest go to the strong model.

    Prompts that score the same each count as their mean.
    """
    ranked = sorted(zip(score, weak, strong, strict=True), key=lambda row: -row[0])
    gains: list[float] = []
    for _, tied in groupby(ranked, key=lambda row: row[0]):
        group = [more - less for _, less, more in tied]
        gains += [fmean(group)] * len(group)
    start = sum(weak)
    return [(start + gain) / len(ranked) for gain in accumulate(gains, initial=0.0)]


def auc(score: Numbers, positive: Numbers) -> float:
    """Area under the ROC curve; a row counts as positive with weight `positive`, else as negative; n."""
    area = below = positives = 0.0
    ranked = sorted(zip(score, positive, strict=True))
    for _, tied in groupby(ranked, key=lambda row: row[0]):
        group = [weight for _, weight in tied]
        here = sum(group)
        area += here * (below + (len(group) - here) / 2)
        below += len(group) - here
        positives += here
    return area / (positives * below) if positives * below else nan


def _concordance(score: Numbers, tier: Sequence[int]) -> float:
    by_tier = [sorted(s for s, t in zip(score, tier, strict=True) if t == wanted) for wanted in range(3)]
    ordered = pairs = 0.0
    for lower, upper in ((0, 1), (0, 2), (1, 2)):
        below = by_tier[lower]
        ordered += sum((bisect_left(below, s) + bisect_right(below, s)) / 2 for s in by_tier[upper])
        pairs += len(below) * len(by_tier[upper])
    return ordered / pairs if pairs else nan


def _recovered(score: Numbers, weak: Numbers, strong: Numbers) -> list[float]:
    """n + 1: share of the gap recovered by 0, 1, … n strong calls."""
    quality = curve(score, weak, strong)
    gap = quality[-1] - quality[0]
    return [(value - quality[0]) / gap if gap > 0 else nan for value in quality]


def _share_to_reach(recovered: Numbers, level: float) -> float:
    """Percent, between the two calls where the level is passed."""
    for at, (before, after) in enumerate(pairwise(recovered)):
        if after >= level - 1e-12:
            return 100 * (at + (level - before) / (after - before)) / (len(recovered) - 1)
    return nan
