"""Ridge-penalised logistic regression on a given offset, in plain Python.

Dual coordinate ascent (S. Shalev-Shwartz, T. Zhang, "Stochastic Dual Coordinate Ascent Methods for
Regularized Loss Minimization", 2013): no step size to choose, the same result every time, and a bound
for free: one row moves a sum by no more than `influence` times what the two rows have in common.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tierwise.routing.analysis.model import sigmoid
from tierwise.routing.learning.description import LEVELS, SHAPES, WORDS, Description

_WORD = 0.25
_SLOPE = 9.0
_LEVEL = 16.0
"""Squared scales of a word, of the prior's logit and of the bias; that of a level of a count is 1. Chosen
on the six sources of outcomes of REPORT.md."""
_VISITS = 6000
"""To rows, in all passes together: the more rows, the fewer passes they need."""
_PASSES = (3, 10)
_NEWTON_STEPS = 2
_FIRST_SHAPE = WORDS
_SIZE = WORDS + SHAPES * LEVELS


class Row(NamedTuple):
    """One prompt of which something is known."""

    words: Sequence[int]
    shapes: Sequence[int]
    slope: float
    """The prior's logit, of which the regression may also change the scale."""
    offset: float
    """The sum without anything learned."""
    target: float
    """0 to 1: how it came out."""


class Weights(NamedTuple):
    """What was learned."""

    by_id: Sequence[float]
    slope: float
    bias: float

    def sum(self, words: Sequence[int], shapes: Sequence[int], slope: float) -> float:
        """What it adds to the offset."""
        weight = self.by_id.__getitem__
        return sum(map(weight, words)) + sum(map(weight, shapes)) + self.slope * slope + self.bias


def shape_ids(description: Description) -> list[int]:
    """An id for each level that each count reaches: what is learned of a level holds for all above it."""
    return [
        _FIRST_SHAPE + place * LEVELS + step
        for place, level in enumerate(description.levels)
        for step in range(level)
    ]


def solve(rows: Sequence[Row], influence: float) -> Weights:
    """The weights under which the targets are likely, and small: 1 / `influence` is the ridge penalty."""
    by_id = [0.0] * _SIZE
    weight = by_id.__getitem__
    slope = bias = 0.0
    pulls = [0.0] * len(rows)
    sizes = [_LEVEL + _SLOPE * row.slope**2 + len(row.shapes) + _WORD * len(row.words) for row in rows]
    fewest, most = _PASSES
    for _ in range(max(fewest, min(most, _VISITS // max(1, len(rows))))):
        for at, row in enumerate(rows):
            known = sum(map(weight, row.words)) + sum(map(weight, row.shapes)) + slope * row.slope + bias
            pull = _pull(row.offset + known, pulls[at], sizes[at], row.target, influence)
            change = pull - pulls[at]
            pulls[at] = pull
            slope += _SLOPE * change * row.slope
            bias += _LEVEL * change
            for word in row.words:
                by_id[word] += _WORD * change
            for shape in row.shapes:
                by_id[shape] += change
    return Weights(by_id, slope, bias)


def _pull(total: float, pull: float, size: float, target: float, influence: float) -> float:
    """How much a row pulls at the weights once it is content, given those of all others."""
    others = total - size * pull
    for _ in range(_NEWTON_STEPS):
        chance = sigmoid(others + size * pull)
        excess = pull - influence * (target - chance)
        pull -= excess / (1 + influence * size * chance * (1 - chance))
    return max(-influence, min(influence, pull))
