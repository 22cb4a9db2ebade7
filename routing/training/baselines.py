"""What others do, to be measured beside us: prompt length, a keyword formula, litellm's two analysers."""

import importlib
import importlib.util
import os
from collections.abc import Callable
from math import exp
from typing import Any

import numpy as np

from tierwise.routing.training.data import Array

_KEYWORDS = [
    "analyze",
    "analyse",
    "architecture",
    "algorithm",
    "optimize",
    "design",
    "implement",
    "compare",
    "evaluate",
    "debug",
    "refactor",
    "explain",
    "complex",
    "research",
    "strategy",
    "proof",
    "prove",
    "database",
    "distributed",
    "performance",
    "security",
]

_BANDS = {"SIMPLE": 0.0, "MEDIUM": 0.3, "COMPLEX": 0.7, "REASONING": 0.85}
"""litellm's four tiers → where we put them between the cuts 0.3 and 0.7; its last two are both complex."""
_BAND = 0.149
"""How far a score moves a prompt within the band of its tier."""


def length(texts: list[str]) -> Array:
    """(n,): characters, with 0.3 and 0.7 at 100 and 1,000 of them."""
    characters = np.array([len(text) for text in texts])
    return (0.3 + 0.4 * np.log10(characters.clip(1) / 100)).clip(0, 1)


def three_factors(texts: list[str]) -> Array:
    """(n,): 0.3 · tokens / 2000 + 0.5 · keywords / 5 + 0.2 · history, each at most 1: the usual formula."""
    found = [sum(word in text.lower() for word in _KEYWORDS) for text in texts]
    tokens = np.array([len(text) / 4 for text in texts])
    return 0.3 * (tokens / 2000).clip(0, 1) + 0.5 * (np.array(found) / 5).clip(0, 1)


def litellm_router() -> Callable[[str], float]:
    """litellm's rule-based complexity router; its tier decides the band, its score the place in it."""
    strategy = _litellm("router_strategy.complexity_router.complexity_router")
    deployment = {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "none"}}
    models = _litellm("router").Router(model_list=[deployment])
    router = strategy.ComplexityRouter("m", models, {"tiers": dict.fromkeys(_BANDS, "m")})

    def judge(text: str) -> float:
        tier, score, _ = router.classify(text)
        return _BANDS[tier.value] + _BAND / (1 + exp(-5 * score))

    return judge


def litellm_predictor() -> Callable[[str], float]:
    """litellm's tier predictor; in the band of the tier required, 1 - P(the cheapest tier succeeds)."""
    request_type = _litellm("router_strategy.adaptive_router.classifier").classify_prompt
    predictor = _litellm("router_strategy.complexity_router.tier_predictor")
    trained = predictor.TierSuccessPredictor(predictor.resolve_tier_artifact("ultrafeedback"))
    bands = dict(enumerate(_BANDS.values(), start=1))

    def judge(text: str) -> float:
        found = trained.predict(text, request_type(text))
        return bands[found.required_tier] + _BAND * (1 - found.probabilities[1])

    return judge


def each(judge: Callable[[], Callable[[str], float]]) -> Callable[[list[str]], Array]:
    """The baseline of many texts, (n,), made of a judge of one."""

    def judge_all(texts: list[str]) -> Array:
        judge_one = judge()
        return np.array([judge_one(text) for text in texts])

    return judge_all


def _litellm(module: str) -> Any:
    """litellm is no part of training: it is only measured, where it is installed."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    return importlib.import_module(f"litellm.{module}")


def baselines() -> dict[str, Callable[[list[str]], Array]]:
    """By name; litellm's are left out where it is not installed."""
    ours = {"prompt length": length, "three-factor formula": three_factors}
    if importlib.util.find_spec("litellm") is None:
        return ours
    return ours | {
        "litellm complexity router": each(litellm_router),
        "litellm tier predictor": each(litellm_predictor),
    }
