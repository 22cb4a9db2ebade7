"""How hard a prompt is: a tier score and the chance that a cheap model fails, each with its reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tierwise.routing.analysis.features import Features, extract
from tierwise.routing.analysis.model import CUTS, model, sigmoid
from tierwise.routing.request import Message, Tier
from tierwise.routing.settings import ComplexityFactors

UNSURE_CONFIDENCE = 0.3
"""Confidence where nothing in a prompt tells what it asks for: about that of a guess among three."""
DEFAULT_FACTORS = {
    "length": 0.2,
    "technical_terms": 0.3,
    "question_complexity": 0.25,
    "code_present": 0.15,
    "history_depth": 0.1,
    "token_count_weight": 0.2,
    "keyword_weight": 0.3,
    "history_length_weight": 0.1,
}
"""What a factor is measured against: one that is given as here changes nothing, twice as much doubles the
weights of its features, 0 switches them off. The first five are the numbers of `examples/api.json`."""
MOST_SCALE = 4.0
"""No factor multiplies its features by more."""
_LONGEST_LOOK_BACK = 50
"""Turns that are searched for what "go on" goes on with."""
_FACTORS_OF = {
    "length": ("length", "token_count_weight"),
    "topic": ("technical_terms", "keyword_weight"),
    "task": ("question_complexity", "keyword_weight"),
    "main": ("question_complexity", "keyword_weight"),
    "shape": ("code_present",),
    "history": ("history_depth", "history_length_weight"),
}
"""The first part of a feature's name → the factors that scale it."""
_UNSURE = "unsure, nothing tells what is asked"
_WORDING = {
    "task": "asks to {}",
    "main": "asks to {}",
    "topic": "{} words",
    "length": "a {} question",
    "shape": "{}",
    "smalltalk": "small talk",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """What the analysis found."""

    score: float
    """0 to 1; by default standard begins at 0.3 and complex at 0.7."""
    tier: Tier
    confidence: float
    """0 to 1; low where nothing in the prompt tells how hard it is."""
    p_cheap_fails: float
    """0 to 1: how likely a cheap model is to answer it badly."""
    contributions: dict[str, float]
    """Each named feature's signed share: they add up to `score` - 0.5."""
    reason: str
    """One short sentence for people."""


def analyze(
    prompt: str,
    history: Sequence[Message] = (),
    *,
    factors: ComplexityFactors | None = None,
    cuts: tuple[float, float] = CUTS,
) -> Complexity:
    """Judge how hard the last turn, `prompt`, is; pure, without I/O, in bounded time.

    Where nothing in it tells, it counts as standard with a low confidence, never as simple. "Go on",
    and no prompt at all after a tool's result, is as hard as the turn that it continues; apart from that
    the history does not count.
    """
    asked, prefix = extract(prompt), ""
    if (
        (asked.continues or not prompt)
        and _scale("history", factors) > 0
        and (earlier := _continued(history))
    ):
        asked, prefix = earlier, "goes on with what "
    return _judge(asked, _weighted(asked.values, factors), cuts, prefix)


def _weighted(values: Mapping[str, float], factors: ComplexityFactors | None) -> Mapping[str, float]:
    if factors is None:
        return values
    scales = {group: _scale(group, factors) for group in _FACTORS_OF}
    return {name: value * scales.get(name.partition(".")[0], 1.0) for name, value in values.items()}


def _continued(history: Sequence[Message]) -> Features | None:
    """The last turn of the user that says more than to go on."""
    turns = (message for message in reversed(history[-_LONGEST_LOOK_BACK:]) if message.role == "user")
    earlier = (extract(turn.content) for turn in turns)
    return next((asked for asked in earlier if not asked.continues), None)


def _scale(group: str, factors: ComplexityFactors | None) -> float:
    """By how much the user's factors multiply the features of a group."""
    scale = 1.0
    for factor in _FACTORS_OF.get(group, ()):
        given = getattr(factors, factor, None)
        if given is not None:
            scale *= min(given / DEFAULT_FACTORS[factor], MOST_SCALE)
    return scale


def _judge(
    asked: Features, values: Mapping[str, float], cuts: tuple[float, float], prefix: str
) -> Complexity:
    heads = model()
    shares = heads.tier.shares(values)
    logit = sum(shares.values())
    score = heads.score(logit)
    if not asked.evident:
        score = _within_standard(score, cuts)
    tier = Tier.SIMPLE if score < cuts[0] else Tier.STANDARD if score < cuts[1] else Tier.COMPLEX
    slope = (score - 0.5) / logit if logit else 0.0
    return Complexity(
        score=score,
        tier=tier,
        confidence=heads.certainty(logit) if asked.evident else UNSURE_CONFIDENCE,
        p_cheap_fails=sigmoid(sum(heads.fails.shares(values).values())),
        contributions={name: share * slope for name, share in shares.items()},
        reason=f"{tier}: {prefix}{_reason(shares, tier)}" if asked.evident else f"{tier}: {_UNSURE}",
    )


def _within_standard(score: float, cuts: tuple[float, float]) -> float:
    """Pulls the score into the middle half of the standard band."""
    margin = (cuts[1] - cuts[0]) / 4
    return min(max(score, cuts[0] + margin), cuts[1] - margin)


def _reason(shares: Mapping[str, float], tier: Tier) -> str:
    """What counts most: of a simple prompt the features that lower the score, else those that raise it."""
    sign = -1 if tier is Tier.SIMPLE else 1
    ranked = sorted((name for name in shares if name != "base"), key=lambda name: -sign * shares[name])
    told = dict.fromkeys(_worded(name) for name in ranked[:3] if sign * shares[name] > 0)
    return ", ".join(told) or "nothing in it stands out"


def _worded(feature: str) -> str:
    group, _, name = feature.partition(".")
    return _WORDING.get(group, "{}").format(name.replace("_", " "))
