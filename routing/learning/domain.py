"""Is a prompt of the kind that outcomes are known of? What they teach holds for their kind alone.

Without this, 400 outcomes of function calls turn the tiers of everyday prompts upside down.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from math import log
from typing import NamedTuple

from tierwise.routing.complexity import analyze
from tierwise.routing.learning.description import describe, unpack

_SMOOTHING = 0.5
"""Added to the count of every word."""
_DIFFERENT_WORDS = 5000
"""About as many as there are in use."""
_CLEAR = 1.0
"""Log-odds from which a prompt belongs entirely, where those with outcomes stand out from everyday ones."""
_QUARTER = 4
"""One in so many of the prompts with outcomes may belong in part only."""
_BAND = 2.0
"""Width, in log-odds, of belonging in part."""

Words = Sequence[int]


class Domain(NamedTuple):
    """Naive Bayes by the words: the prompts with outcomes against `usual.json`, everyday ones of all kinds.

    If the outcomes are of everyday prompts themselves, they do not stand out, and every prompt belongs.
    """

    own: Mapping[int, int]
    """Word -> in how many prompts with outcomes it is."""
    usual: Mapping[int, int]
    sizes: tuple[float, float]
    """Sums of both, smoothed."""
    belongs: float
    """Log-odds from which a prompt belongs entirely."""

    def share(self, words: Words) -> float:
        """0 to 1: how far a prompt belongs to those with outcomes."""
        return max(0.0, min(1.0, 1 - (self.belongs - self.log_odds(words)) / _BAND))

    def log_odds(self, words: Words, *, seen: int = 0) -> float:
        """That it does; `seen` is 1 for a prompt that was counted itself, which is to tell nothing."""
        odds, (own_size, usual_size) = 0.0, self.sizes
        for word in words:
            own, usual = self.own.get(word, 0) - seen, self.usual.get(word, 0)
            if own or usual:
                odds += log((own + _SMOOTHING) / own_size) - log((usual + _SMOOTHING) / usual_size)
        return odds


def domain_of(prompts: Sequence[Words], key: bytes) -> Domain:
    """From the words of the prompts with outcomes, described under `key`."""
    own, usual = _counts(prompts), _usual(key)
    padding = _SMOOTHING * _DIFFERENT_WORDS
    found = Domain(own, usual, (own.total() + padding, usual.total() + padding), _CLEAR)
    ranked = sorted(found.log_odds(words, seen=1) for words in prompts)
    return found._replace(belongs=min(_CLEAR, ranked[len(ranked) // _QUARTER]))


def _counts(prompts: Iterable[Words]) -> Counter[int]:
    return Counter(word for words in prompts for word in words)


@lru_cache(maxsize=2)
def _usual(key: bytes) -> Counter[int]:
    text = resources.files("tierwise.routing.learning").joinpath("usual.json").read_text(encoding="utf-8")
    described = (unpack(describe(prompt, (), analyze(prompt), key)) for prompt in json.loads(text))
    return _counts(description.words for description in described if description)
