"""How hard a prompt is: a first, small analyser that looks at what the prompt asks to be done."""

from collections.abc import Sequence
from dataclasses import dataclass

from tierwise.routing.request import Message, Tier
from tierwise.routing.settings import ComplexityFactors


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
    """Each named feature's signed share of the score."""
    reason: str
    """One short sentence for people."""


_LOOK_UP = frozenset(
    [
        "hi",
        "hello",
        "hey",
        "thanks",
        "thank",
        "yes",
        "no",
        "ok",
        "what",
        "who",
        "when",
        "where",
        "translate",
        "capital",
        "time",
        "date",
    ]
)
_WORK = frozenset(
    [
        "explain",
        "summarize",
        "summarise",
        "debug",
        "write",
        "difference",
        "compare",
        "describe",
        "fix",
        "review",
        "implement",
        "why",
        "how",
    ]
)
_DESIGN = frozenset(
    [
        "design",
        "architecture",
        "architectural",
        "architect",
        "prove",
        "proof",
        "trade-offs",
        "tradeoffs",
        "fault-tolerant",
        "tolerance",
        "distributed",
        "consistency",
        "scalability",
        "comprehensive",
        "analyze",
        "analyse",
        "optimize",
        "derive",
        "strategy",
    ]
)


def analyze(
    prompt: str,
    history: Sequence[Message] = (),
    *,
    factors: ComplexityFactors | None = None,
    cuts: tuple[float, float] = (0.3, 0.7),
) -> Complexity:
    """Judge how hard the last turn, `prompt`, is; pure, without I/O.

    Where nothing in it tells, it counts as standard with a low confidence, never as simple.
    """
    words = prompt[:4000].lower().replace("?", " ").replace(",", " ").replace(".", " ").split()
    found = set(words)
    contributions = {"undecided": 0.45}
    if found & _DESIGN:
        contributions = {"design_or_proof": 0.72 + min(0.06 * len(found & _DESIGN), 0.25)}
    elif found & _WORK:
        contributions = {"explain_or_write": 0.4 + min(0.05 * len(found & _WORK), 0.2)}
    elif found & _LOOK_UP:
        contributions = {"greeting_or_look_up": 0.1 + min(len(words) / 400, 0.5)}
    score = min(sum(contributions.values()), 1.0)
    tier = Tier.SIMPLE if score < cuts[0] else Tier.STANDARD if score < cuts[1] else Tier.COMPLEX
    (feature,) = contributions
    return Complexity(
        score=round(score, 4),
        tier=tier,
        confidence=0.2 if feature == "undecided" else 0.6,
        p_cheap_fails=round(score, 4),
        contributions=contributions,
        reason=f"{tier}: {feature.replace('_', ' ')}",
    )
