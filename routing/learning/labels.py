"""What a verdict on a call says of what its prompt needs."""

from typing import NamedTuple

from tierwise.routing.request import Tier
from tierwise.storage.outcomes import OutcomeSource, StoredOutcome, Verdict


class Need(NamedTuple):
    """Was a tier enough?"""

    tier: Tier
    """Simple or standard: the one below the cut that is spoken of."""
    more: float
    """1 where a higher tier was needed, 0 where it was not."""


def need(outcome: StoredOutcome) -> Need | None:
    """None where it tells nothing of where the prompt should have gone.

    That the complex tier did well does not say whether it had to; that it did badly, in everyday use,
    is no reason to send such prompts to a cheaper one. Where it was measured that no tier does well,
    though, a higher one is money for nothing.
    """
    if outcome.tier_served not in tuple(Tier):
        return None
    tier, verdict = Tier(outcome.tier_served), outcome.verdict
    if outcome.source is OutcomeSource.ESCALATED and tier is not Tier.SIMPLE:
        tier = tuple(Tier)[tier.rank - 1]  # the answer that did not do was of the tier below
    if verdict is Verdict.OVERKILL:
        return Need(Tier.STANDARD if tier is Tier.COMPLEX else Tier.SIMPLE, 0.0)
    if tier is Tier.COMPLEX:
        hopeless = verdict is Verdict.TOO_WEAK and outcome.source is OutcomeSource.MEASURED
        return Need(Tier.SIMPLE, 0.0) if hopeless else None
    return Need(tier, float(verdict is Verdict.TOO_WEAK))


def cheap_failed(outcome: StoredOutcome) -> float | None:
    """1 where the cheap model failed, or would have; 0 where it did; None where nobody knows."""
    if outcome.tier_served not in tuple(Tier):
        return None
    if outcome.verdict is Verdict.TOO_WEAK:
        return 1.0
    if outcome.tier_served == Tier.SIMPLE:
        return 0.0
    return 0.0 if outcome.verdict is Verdict.OVERKILL and outcome.tier_served == Tier.STANDARD else None
