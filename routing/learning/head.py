"""One quantity that outcomes correct: the tier score, or P(a cheap model fails)."""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

from tierwise.routing.analysis.model import sigmoid
from tierwise.routing.learning.solver import Row, Weights, solve

MOST_OWN_SHIFT = 2.5
"""No prompt's logit moves by more against the others: chosen as small as the figures in REPORT.md allow."""
MOST_COMMON_SHIFT = 0.85
"""All prompts together move by no more: half the width of the standard band, by the default cuts."""
_FOLDS = 3
_INFLUENCE = 0.025
"""1 / ridge penalty; chosen on the six sources of outcomes of REPORT.md."""
_DOUBT = 1.0
"""Nats by which the outcomes must be likelier before they are trusted in full."""
_TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Example(NamedTuple):
    """What is known of one prompt."""

    row: Row
    prior: float
    """The logit that is to be corrected."""
    threshold: float
    """The logit above which the target is rather 1."""


class Head(NamedTuple):
    """How a logit is corrected."""

    weights: Weights
    trust: float
    """0 to 1: how much better what was learned did on outcomes that it had not seen; 0 is not at all."""
    common: float
    """What is added to every logit."""
    centre: float
    """What the weights alone would change on average, which is not to count twice."""

    def shift(self, prior: float, words: Sequence[int], shapes: Sequence[int], slope: float) -> float:
        """What to add to `prior`; never beyond the sum of the two bounds."""
        learned = slope + self.weights.sum(words, shapes, slope) - prior
        return self.common + _bounded(self.trust * (learned - self.centre), MOST_OWN_SHIFT)


def fit_head(examples: Sequence[Example]) -> Head:
    """Learns from the examples, and by cross-validation how far that is to be trusted."""
    weights, centre, _ = _learn(examples, examples)
    unseen = [0.0] * len(examples)
    for fold in range(_FOLDS):
        seen = [example for at, example in enumerate(examples) if at % _FOLDS != fold]
        _, _, unseen[fold::_FOLDS] = _learn(seen, examples[fold::_FOLDS])
    _, trust, common = min(_tried(examples, unseen, trust) for trust in _TRUSTS)
    return Head(weights, trust, common, centre)


def _learn(seen: Sequence[Example], asked: Sequence[Example]) -> tuple[Weights, float, list[float]]:
    """The weights by `seen`, their mean change there, and what they change beside it in `asked`."""
    weights = solve([example.row for example in seen], _INFLUENCE)
    centre = sum(_change(weights, example) for example in seen) / max(1, len(seen))
    return weights, centre, [_change(weights, example) - centre for example in asked]


def _change(weights: Weights, example: Example) -> float:
    row = example.row
    return row.slope + weights.sum(row.words, row.shapes, row.slope) - example.prior


def _tried(examples: Sequence[Example], unseen: Sequence[float], trust: float) -> tuple[float, float, float]:
    """The loss with so much trust, that trust, and the common shift that goes with it."""
    logits = [
        example.prior - example.threshold + _bounded(trust * change, MOST_OWN_SHIFT)
        for example, change in zip(examples, unseen, strict=True)
    ]
    targets = [example.row.target for example in examples]
    common = 0.0
    for _ in range(10):  # Newton's method, with a prior worth one outcome that there is no such shift
        chances = [sigmoid(logit + common) for logit in logits]
        excess = sum(chances) - sum(targets) + common
        common -= _bounded(excess / (1 + sum(chance * (1 - chance) for chance in chances)), 1.0)
    loss = sum(_loss(logit + common, target) for logit, target in zip(logits, targets, strict=True))
    return loss + _DOUBT * trust, trust, _bounded(common, MOST_COMMON_SHIFT)


def _loss(logit: float, target: float) -> float:
    chance = min(max(sigmoid(logit), 1e-9), 1 - 1e-9)
    return -target * log(chance) - (1 - target) * log(1 - chance)


def _bounded(value: float, most: float) -> float:
    return max(-most, min(most, value))
