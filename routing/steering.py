"""What moves a call to another tier than its own score: the user's overrides, share and verdicts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nextafter

from tierwise.routing.request import ChatRequest, Tier
from tierwise.routing.settings import Override

FEWEST_SCORES = 50
"""Calls that must be known before `strong_share` is taken from them."""
_LOOKED_AT = 10_000
"""Characters of a prompt that overrides look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """A tier to use, or to stay at or above, and the reason for it."""

    tier: Tier | None = None
    floor: Tier | None = None
    reason: str = ""

    def apply(self, judged: Tier) -> Tier:
        """The tier for a call that was judged to need `judged`."""
        wanted = self.tier or judged
        return self.floor if self.floor and self.floor.rank > wanted.rank else wanted


def overridden(request: ChatRequest, overrides: Sequence[Override]) -> Steering:
    """What the first override that matches `request` says."""
    text = request.prompt[:_LOOKED_AT]
    for override in overrides:
        if override.operation is not None and override.operation == request.operation:
            return Steering(tier=override.tier, reason=f"{override.tier}: override for {request.operation}")
        if override.pattern is not None and re.search(override.pattern, text):
            return Steering(tier=override.tier, reason=f"{override.tier}: override for {override.pattern!r}")
        word = _first_word(override.keywords, text)
        if word is not None:
            return Steering(tier=override.tier, reason=f"{override.tier}: override for {word!r}")
    return Steering()


def _first_word(words: Sequence[str], text: str) -> str | None:
    return next((word for word in words if re.search(rf"(?i)(?<!\w){re.escape(word)}(?!\w)", text)), None)


def cuts_for_share(scores: Sequence[float], share: float, fixed: tuple[float, float]) -> tuple[float, float]:
    """The cuts that send the hardest `share` of calls with these `scores` to the complex tier.

    The other cut stays, unless it would come to lie above; `fixed` as long as too few are known.
    """
    if len(scores) < FEWEST_SCORES:
        return fixed
    too_easy = sorted(scores, reverse=True)[int(len(scores) * share)]
    harder = [score for score in scores if score > too_easy]
    # Many calls can have one score: rather a smaller share than all of them.
    cut = min(harder) if harder else nextafter(too_easy, inf)
    return min(fixed[0], cut), cut
