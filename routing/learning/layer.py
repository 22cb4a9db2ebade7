"""The online layer: corrects what the analysis says by how this user's calls turned out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tierwise.routing.analysis.model import CUTS, logit, model, sigmoid
from tierwise.routing.complexity import Complexity
from tierwise.routing.learning.description import Description, unpack
from tierwise.routing.learning.domain import Domain, domain_of
from tierwise.routing.learning.head import Example, Head, fit_head
from tierwise.routing.learning.labels import cheap_failed, need
from tierwise.routing.learning.solver import Row, shape_ids
from tierwise.routing.request import Tier
from tierwise.storage.outcomes import StoredOutcome

MOST_OUTCOMES = 2000
"""The newest so many count: models change, and so does what is asked of them."""
_TELLING = 0.01
"""A change of the score below this is not worth words."""
_UNCERTAIN = 0.7
"""With more confidence there is nothing to be found out."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What was learned; `Layer()` has learned nothing and changes nothing."""

    outcomes: int = 0
    """How many it learned from."""
    score: Head | None = None
    fails: Head | None = None
    domain: Domain | None = None
    cuts: tuple[float, float] = CUTS

    @classmethod
    def fit(
        cls,
        outcomes: Sequence[StoredOutcome],
        *,
        key: bytes,
        min_outcomes: int,
        cuts: tuple[float, float] = CUTS,
    ) -> "Layer":
        """Learns from the newest `MOST_OUTCOMES`, given newest first; the same from the same. `key` is
        the one that they were described with.

        Those without a description that can be read, or whose verdict does not tell anything, don't
        count; with fewer than `min_outcomes` that do, a quantity stays as the analysis gives it. Takes
        up to a second: not for the event loop.
        """
        known = [
            (outcome, description)
            for outcome in outcomes[:MOST_OUTCOMES]
            if outcome.features and (description := unpack(outcome.features))
        ]
        if len(known) < min_outcomes:
            return cls()
        scores, fails = list(_score_examples(known, cuts)), list(_fails_examples(known))
        return cls(
            outcomes=max(len(scores), len(fails)),
            score=fit_head(scores) if len(scores) >= min_outcomes else None,
            fails=fit_head(fails) if len(fails) >= min_outcomes else None,
            domain=domain_of([description.words for _, description in known], key),
            cuts=cuts,
        )

    def adjust(self, complexity: Complexity, features: bytes) -> Complexity:
        """What is known of the prompt, with what was learned; `features` are from `describe`."""
        description = unpack(features) if self.domain else None
        if description is None:
            return complexity
        if self.fails:
            prior = logit(complexity.p_cheap_fails)
            chance = sigmoid(prior + self._shift(self.fails, prior, description))
            complexity = replace(complexity, p_cheap_fails=chance)
        if self.score:
            prior = logit(complexity.score)
            shifted = prior + self._shift(self.score, prior, description)
            complexity = _moved(complexity, sigmoid(shifted), self.score.trust, self.cuts)
        return complexity

    def score_of(self, features: bytes) -> float | None:
        """The score of a prompt of which only the description is left; None if it can't be read."""
        description = unpack(features)
        if description is None:
            return None
        prior = description.tier_logit
        return sigmoid(prior + (self._shift(self.score, prior, description) if self.score else 0.0))

    def _shift(self, head: Head, prior: float, description: Description) -> float:
        words, shapes = description.words, shape_ids(description)
        belongs = self.domain.share(words) if self.domain else 0.0
        return belongs * head.shift(prior, words, shapes, description.fails_logit) if belongs else 0.0


def tier_of(score: float, cuts: tuple[float, float]) -> Tier:
    """The tier that a score falls into."""
    return Tier.SIMPLE if score < cuts[0] else Tier.STANDARD if score < cuts[1] else Tier.COMPLEX


def explored(complexity: Complexity, rate: float, chance: float) -> Complexity:
    """A tier lower where that is uncertain and `chance`, drawn from 0..1, is below `rate`; else the same."""
    if chance >= rate or complexity.confidence > _UNCERTAIN or complexity.tier is Tier.SIMPLE:
        return complexity
    lower = Tier.SIMPLE if complexity.tier is Tier.STANDARD else Tier.STANDARD
    return replace(
        complexity, tier=lower, reason=f"{lower}: tried a tier lower to learn from how it turns out"
    )


def _score_examples(
    known: Sequence[tuple[StoredOutcome, Description]], cuts: tuple[float, float]
) -> Iterator[Example]:
    """The score is above a cut where a higher tier than the one below it was needed."""
    lower, upper = map(logit, cuts)
    for outcome, description in known:
        found = need(outcome)
        if found is not None:
            threshold = lower if found.tier is Tier.SIMPLE else upper
            row = _row(description, lower - threshold, found.more)
            yield Example(row, description.tier_logit, threshold)


def _fails_examples(known: Sequence[tuple[StoredOutcome, Description]]) -> Iterator[Example]:
    for outcome, description in known:
        failed = cheap_failed(outcome)
        if failed is not None:
            yield Example(_row(description, 0.0, failed), description.fails_logit, 0.0)


def _row(description: Description, offset: float, target: float) -> Row:
    """Both heads learn on top of P(a cheap model fails), which orders prompts of a kind better."""
    slope = description.fails_logit
    return Row(description.words, shape_ids(description), slope, slope + offset, target)


def _moved(complexity: Complexity, score: float, trust: float, cuts: tuple[float, float]) -> Complexity:
    tier, change = tier_of(score, cuts), score - complexity.score
    heads = model()
    certainty = heads.certainty(heads.logit(score))
    reason = f"{tier}: {complexity.reason.partition(': ')[2]}"
    if abs(change) >= _TELLING:
        reason += f"; {'harder' if change > 0 else 'easier'} by the outcomes of your calls"
    return replace(
        complexity,
        score=score,
        tier=tier,
        confidence=complexity.confidence + trust * (certainty - complexity.confidence),
        contributions={**complexity.contributions, "learned": change},
        reason=reason,
    )
