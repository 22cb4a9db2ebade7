"""Prompts with known outcomes, scored to be measured, and the cuts that they suggest."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tierwise.routing.learning.labels import need
from tierwise.routing.learning.layer import MOST_OUTCOMES, Layer
from tierwise.routing.measures import curve
from tierwise.routing.request import Tier
from tierwise.server.judging import Judge
from tierwise.server.labelled import Labelled
from tierwise.server.settings import Settings
from tierwise.storage.outcomes import OutcomeSource, StoredOutcome, Verdict

_FOLDS = 5
OURS = "tierwise"
"""The score that decides, with what was learned."""

Scores = Mapping[str, float]
"""By who scores; `OURS` first."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The rows of one source, in columns of the same length."""

    scores: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    weak: list[float] = field(default_factory=list[float])
    """What a cheap model scored, 0..1, and below, what a stronger one did; for rows with outcomes."""
    strong: list[float] = field(default_factory=list[float])
    tiers: list[int] = field(default_factory=list[int])
    """0, 1 or 2; for rows with tiers."""

    def add(self, scores: Scores, outcome: tuple[float, float] | Tier) -> None:
        """One more row."""
        for name, score in scores.items():
            self.scores[name].append(score)
        if isinstance(outcome, Tier):
            self.tiers.append(outcome.rank)
        else:
            self.weak.append(outcome[0])
            self.strong.append(outcome[1])


class Suggestion(NamedTuple):
    """Where to cut between the cheap and the strong model."""

    cut: float
    """What scores so much or more goes to the strong one."""
    share: float
    """0..1 of the calls."""
    quality: float


def of_file(rows: Iterable[Labelled], judge: Judge) -> dict[str, Scored]:
    """By source and kind of label; a row with a verdict counts as the outcome that it tells of."""
    found: defaultdict[str, Scored] = defaultdict(Scored)
    for row in rows:
        prior, now = judge.prior(row.prompt, row.turns), judge.judge(row.prompt, row.turns)
        outcome = _outcome_of(row, prior.tier)
        if outcome is None:
            continue
        before = {"before learning": prior.score} if judge.layer.outcomes else {}
        scores = {OURS: now.score, "p_cheap_fails": now.p_cheap_fails, **before}
        kind = " (tiers)" if isinstance(outcome, Tier) else ""
        found[row.source + kind].add({**scores, "prompt length": len(row.prompt)}, outcome)
    return dict(found)


def of_outcomes(outcomes: Sequence[StoredOutcome], key: bytes, settings: Settings) -> dict[str, Scored]:
    """By what brought them, described under `key`; each scored by a layer that has not seen it.

    Where a tier was too weak, the next one is taken to do well, unless it was measured that none does.
    """
    known = [outcome for outcome in outcomes[:MOST_OUTCOMES] if outcome.features and need(outcome)]
    found: defaultdict[str, Scored] = defaultdict(Scored)
    cuts, least = settings.model_routing.rules.cuts(), settings.learning.min_outcomes
    for fold in range(_FOLDS):
        others = [outcome for at, outcome in enumerate(known) if at % _FOLDS != fold]
        layer = Layer.fit(others, key=key, min_outcomes=least, cuts=cuts)
        for outcome in known[fold::_FOLDS]:
            features = outcome.features or b""
            now, before = layer.score_of(features), Layer().score_of(features)
            told = _told(outcome)
            if now is not None and before is not None and told is not None:
                found[outcome.source.value].add({OURS: now, "before learning": before}, told)
    return dict(found)


def together(sources: Iterable[Scored]) -> Scored:
    """The rows with outcomes of all sources as one."""
    pooled = Scored()
    for source in sources:
        if source.weak:
            pooled.scores[OURS] += source.scores[OURS]
            pooled.weak.extend(source.weak)
            pooled.strong.extend(source.strong)
    return pooled


def suggest(scored: Scored, *, saving: float | None = None, quality: float | None = None) -> Suggestion:
    """The cut that spares a share `saving` of the strong calls, or that keeps `quality` of what the strong
    model alone would get with as few strong calls as do; one of the two."""
    ranked = sorted(scored.scores[OURS], reverse=True)
    qualities = curve(scored.scores[OURS], scored.weak, scored.strong)
    calls = round((1 - (saving or 0.0)) * len(ranked))
    if quality is not None:
        calls = next(at for at, value in enumerate(qualities) if value >= quality * qualities[-1])
    cut = 1.0 if calls == 0 else 0.0 if calls == len(ranked) else (ranked[calls - 1] + ranked[calls]) / 2
    share = sum(score >= cut for score in ranked) / len(ranked)
    return Suggestion(cut, share, qualities[round(share * len(ranked))])


def _outcome_of(row: Labelled, chosen: Tier) -> tuple[float, float] | Tier | None:
    if row.tier is not None:
        return row.tier
    if row.weak_ok is not None and row.strong_ok is not None:
        return row.weak_ok, row.strong_ok
    if row.verdict is None:
        return None
    served = (row.tier_served or chosen).value
    return _told(_bare(row.verdict, served))


def _bare(verdict: Verdict, tier: str) -> StoredOutcome:
    return StoredOutcome(
        call_id=None,
        at=0,
        verdict=verdict,
        source=OutcomeSource.RATED,
        tier_served=tier,
        complexity_score=None,
        features=None,
    )


def _told(outcome: StoredOutcome) -> tuple[float, float] | None:
    """What a cheaper and a stronger tier scored, as far as an outcome tells."""
    found = need(outcome)
    if found is None:
        return None
    hopeless = outcome.verdict is Verdict.TOO_WEAK and not found.more
    return (0.0, 0.0) if hopeless else (1 - found.more, 1.0)
