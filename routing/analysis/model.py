"""The two heads: linear in the named features, with their weights in `weights.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import exp, log
from typing import Any

CUTS = (0.3, 0.7)
"""Scores at which standard and complex begin by default."""
_CUT_LOGIT = 0.8472978603872037
"""ln(0.7 / 0.3): the logit of a score at a cut, by its sign."""


class MalformedWeights(ValueError):
    """The weights file isn't one; the message says what is wrong with it."""


def sigmoid(logit: float) -> float:
    """1 / (1 + e^-x), safe for any finite x."""
    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))


def logit(chance: float) -> float:
    """The inverse of `sigmoid`; what is nearer to 0 or 1 than a millionth counts as that far from it."""
    chance = min(max(chance, 1e-6), 1 - 1e-6)
    return log(chance / (1 - chance))


@dataclass(frozen=True, slots=True)
class Head:
    """bias + Σ weight · feature."""

    bias: float
    weights: Mapping[str, float]

    def shares(self, features: Mapping[str, float]) -> dict[str, float]:
        """Each known feature's part of the sum; "base" is the bias."""
        known = {name: self.weights[name] * value for name, value in features.items() if name in self.weights}
        return {"base": self.bias, **known}


@dataclass(frozen=True, slots=True)
class Model:
    """Both heads, as trained by `python -m tierwise.routing.training`."""

    tier: Head
    """Its sum is 0 in the middle of the standard band and ±`cut` at the cuts."""
    cut: float
    fails: Head
    """Its sum is the logit of P(a cheap model fails)."""

    def score(self, logit: float) -> float:
        """The tier head's sum on the scale from 0 to 1, where the cuts are 0.3 and 0.7; monotone."""
        return sigmoid(logit * _CUT_LOGIT / self.cut)

    def logit(self, score: float) -> float:
        """The inverse of `score`."""
        return logit(score) * self.cut / _CUT_LOGIT

    def certainty(self, logit: float) -> float:
        """P(the tier that the score falls into), by the ordinal model that the head was trained as."""
        standard_or_more, complex_ = sigmoid(logit + self.cut), sigmoid(logit - self.cut)
        return max(1 - standard_or_more, standard_or_more - complex_, complex_)


def parse_model(text: str) -> Model:
    """Reads the text of a weights file.

    Raises:
        MalformedWeights: the text is not JSON, or lacks a part, or has one that is not a number.
    """
    try:
        data: dict[str, Any] = json.loads(text)
        model = Model(_head(data["tier"]), float(data["cut"]), _head(data["fails"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedWeights(
            f"The weights file is malformed ({type(error).__name__}: {error}). Reinstall the package, "
            "or write the file anew with `python -m tierwise.routing.training`."
        ) from error
    if not model.cut > 0:
        raise MalformedWeights("The weights file is malformed: `cut` must be above 0.")
    return model


def _head(data: dict[str, Any]) -> Head:
    return Head(float(data["bias"]), {str(name): float(value) for name, value in data["weights"].items()})


@cache
def model() -> Model:
    """The shipped weights, read once."""
    return parse_model(
        resources.files("tierwise.routing.analysis").joinpath("weights.json").read_text(encoding="utf-8")
    )
