"""Fits the two heads.

**Fails.** Six sources of outcomes are too few to learn single weights that hold elsewhere: left one out,
free ridge weights rank unseen sources worse than equal ones. So the weights are set by hand to small
round numbers (`DIFFICULTY`, in the spirit of R. Dawes, "The robust beauty of improper linear models",
1979), and only their common scale and the bias are fitted.

**Tier.** An ordinal logistic model (P. McCullagh, "Regression models for ordinal data", 1980) with two
cuts at ±cut, on top of a fixed multiple of the same difficulty; ridge-penalised, and with the signs that
the words have by their meaning (`RAISE`, `LOWER`), so that design never makes a prompt look easier.
"""

from collections.abc import Callable

import numpy as np

from tierwise.routing.analysis.lexicon import lexicon
from tierwise.routing.analysis.model import Head, Model
from tierwise.routing.training.data import EVERYDAY, Array, Prompts

DIFFICULTY = {
    "length.long": 2.0,
    "length.short": -1.0,
    "shape.numbers": 1.0,
    "shape.operators": 1.0,
    "shape.latex": 1.0,
    "shape.code": 1.0,
    "shape.quotes": 1.0,
    "shape.literal": 1.0,
    "shape.relations": 1.0,
    "topic.maths": 1.0,
    "topic.condition": 1.0,
    "topic.quantity": 1.0,
    "task.solve": 1.0,
    "topic.constraint": 0.5,
    "topic.sequence": 0.5,
    "task.explain": -0.5,
    "task.prove": 1.0,
    "task.design": 1.0,
    "task.translate": -1.0,
    "topic.systems": 0.5,
    "smalltalk.share": -4.0,
}
"""What makes a cheap model fail within one kind of questions: quantities and relations to keep track of."""
DIFFICULTY_SHARE = 2.0
"""What one unit of difficulty adds to the tier head's sum; chosen leaving one source out."""
SMALLEST_CUT = 0.3
"""Keeps the standard band from closing where there are few rows."""
GRADIENT_STEPS = 3_000
"""More than enough: the last ones change nothing in the fourth decimal."""
RIDGE = 1.0
"""Penalty on the squared weights of the tier head; chosen leaving one source out."""

_CATEGORIES = sorted({category for found in lexicon().words.values() for category in found})
_TASKS = [name for kind, name in _CATEGORIES if kind == "task"]
_NO_TIER = {"politeness", "smalltalk", "continue", "condition", "quantity"}
"""Topics that have no weight of their own in the tier head."""
_TOPICS = [name for kind, name in _CATEGORIES if kind == "topic" and name not in _NO_TIER]
RAISE = {
    *(f"{group}.{task}" for group in ("task", "main") for task in ("prove", "design", "analyse")),
    *(f"task.{task}" for task in ("plan", "build", "refactor", "debug", "compare", "review")),
    *(f"topic.{topic}" for topic in _TOPICS if topic not in ("office", "creative", "brief", "format")),
    *("length.long", "shape.asks", "shape.long_words", "shape.commas"),
}
"""Tier features whose weights may not be negative."""
LOWER = {"length.short", "smalltalk.share", "topic.brief"} | {
    f"{group}.{task}" for group in ("task", "main") for task in ("look_up", "translate", "command")
}
"""Tier features whose weights may not be positive."""
TIER_FEATURES = sorted(
    RAISE
    | LOWER
    | {f"{group}.{task}" for group in ("task", "main") for task in _TASKS}
    | {f"topic.{topic}" for topic in _TOPICS}
)


def fit(tiers: Prompts, outcomes: Prompts) -> Model:
    """Both heads, from rows with tiers and rows with outcomes."""
    tier, cut = fit_tier(tiers)
    return Model(tier, cut, fit_fails(outcomes, tiers))


def difficulty(prompts: Prompts) -> Array:
    """(n,): the weighted sum that both heads share."""
    return prompts.matrix(list(DIFFICULTY)) @ np.array(list(DIFFICULTY.values()))


def fit_fails(outcomes: Prompts, tiers: Prompts) -> Head:
    """Scale and bias of the difficulty, by logistic regression with an intercept for every source.

    Every source counts the same; the bias is the mean of their intercepts: that of a usual source. Among
    them is the everyday set, where a cheap model is taken to fail at what is complex, at half of what is
    standard and at nothing simple, as its rubric says: benchmarks have no greetings to calibrate by. That
    moves the chances, not the order of the prompts.
    """
    chat = tiers.where(tiers.source == EVERYDAY)
    fails = np.concatenate([1 - outcomes.labels[:, 0], chat.labels / 2])
    sources, of_source = np.unique(np.concatenate([outcomes.source, chat.source]), return_inverse=True)
    own = np.eye(len(sources))[of_source]
    x = np.column_stack([np.concatenate([difficulty(outcomes), difficulty(chat)]), own])
    weight = 1 / own.sum(axis=0)[of_source]

    def slope(parameters: Array) -> Array:
        return x.T @ (weight * (fails - _sigmoid(x @ parameters)))

    start = np.array([0.0] * (1 + len(sources)))
    found = _climb(slope, start, _curvature(x * np.sqrt(weight)[:, None]), (start - np.inf, start + np.inf))
    scale, bias = float(found[0]), float(found[1:].mean())
    return Head(bias, {name: scale * value for name, value in DIFFICULTY.items()})


def fit_tier(tiers: Prompts) -> tuple[Head, float]:
    """The tier head, and where its sum cuts (at plus and minus this)."""
    x, offset = tiers.matrix(TIER_FEATURES), DIFFICULTY_SHARE * difficulty(tiers)

    def slope(parameters: Array) -> Array:
        return _tier_slope(parameters, x, offset, tiers.labels)

    start = np.array([0.0] * len(TIER_FEATURES) + [2.0, 0.0])
    curvature = RIDGE + 4 * _curvature(np.column_stack([x, np.ones((len(x), 2))]))
    found = _climb(slope, start, curvature, _bounds())
    weights = {name: DIFFICULTY_SHARE * value for name, value in DIFFICULTY.items()}
    for name, value in zip(TIER_FEATURES, found[:-2], strict=True):
        weights[name] = weights.get(name, 0.0) + float(value)
    return Head(float(found[-1]), weights), float(found[-2])


def _bounds() -> tuple[Array, Array]:
    lowest = [0.0 if name in RAISE else -np.inf for name in TIER_FEATURES]
    highest = [0.0 if name in LOWER else np.inf for name in TIER_FEATURES]
    return np.array([*lowest, SMALLEST_CUT, -np.inf]), np.array([*highest, np.inf, np.inf])


def _tier_slope(parameters: Array, x: Array, offset: Array, tier: Array) -> Array:
    """Gradient of the penalised log-likelihood of the tiers (n,), in (weights, cut, bias)."""
    weights, cut, bias = parameters[:-2], parameters[-2], parameters[-1]
    logit = x @ weights + offset + bias
    upper, lower = _sigmoid(logit + cut), _sigmoid(logit - cut)
    chance = np.choose(tier.astype(int), [1 - upper, upper - lower, lower]).clip(1e-9)
    of_upper = np.array([-1.0, 1.0, 0.0])[tier.astype(int)] * upper * (1 - upper) / chance
    of_lower = np.array([0.0, -1.0, 1.0])[tier.astype(int)] * lower * (1 - lower) / chance
    # Every tier counts the same, however many rows it has.
    size = np.bincount(tier.astype(int))
    weight = (len(tier) / len(size) / size)[tier.astype(int)]
    of_upper, of_lower = weight * of_upper, weight * of_lower
    slope = of_upper + of_lower
    return np.array([*(x.T @ slope - RIDGE * weights), (of_upper - of_lower).sum(), slope.sum()])


def _climb(
    slope: Callable[[Array], Array], start: Array, curvature: float, bounds: tuple[Array, Array]
) -> Array:
    """The highest point within the bounds of a concave function, of which `slope` is the gradient.

    Accelerated projected gradient steps: A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding
    algorithm", 2009; `curvature` is an upper bound of the function's.
    """
    found = ahead = start
    for number in range(GRADIENT_STEPS):
        last, found = found, np.clip(ahead + slope(ahead) / curvature, *bounds)
        ahead = found + number / (number + 3) * (found - last)
    return found


def _curvature(x: Array) -> float:
    """Upper bound of the curvature of a logistic likelihood with these rows."""
    return float(np.linalg.norm(x, 2) ** 2) / 4


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x.clip(-30, 30)))
