"""Which models suit a task and a purse, by what the catalogue knows of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tierwise.routing.catalog.models import Model
from tierwise.routing.request import Tier

Task = Literal["general", "code", "reasoning", "extraction", "vision", "tools", "long_context"]
Means = Literal["low", "medium", "high"]

_NEEDS: dict[Task, tuple[str, ...]] = {
    "general": (),
    "code": ("function_calling",),
    "reasoning": ("reasoning",),
    "extraction": ("response_schema",),
    "vision": ("vision",),
    "tools": ("function_calling",),
    "long_context": (),
}
"""What a model must be known to have."""
_EASIEST: dict[Task, Tier] = {"code": Tier.STANDARD, "reasoning": Tier.STANDARD}
"""Models of lower tiers are not for it; any tier is for the others."""
_LONG_CONTEXT = 200_000
_WANTED: dict[Means, Tier] = {"low": Tier.SIMPLE, "medium": Tier.STANDARD, "high": Tier.COMPLEX}
_MOST = 3
_PICO_PER_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Recommendation:
    model: Model
    reason: str
    """What speaks for it, in words."""


def recommend(
    models: Iterable[tuple[Model, tuple[Tier, ...]]], task: Task = "general", means: Means = "medium"
) -> tuple[Recommendation, ...]:
    """The best three of those models whose key is there, the best first.

    With `low` means the cheapest come first, with `high` those of the highest tier, with `medium` those
    nearest to the standard tier; where that is equal, the price decides.
    """
    able = [
        (model, tier)
        for model, tiers in models
        if model.key_present and model.price and (tier := _tier(tiers, task)) and _suits(model, task)
    ]
    if means == "low":
        able.sort(key=lambda pair: _blended(pair[0]))
    else:
        able.sort(key=lambda pair: (abs(pair[1].rank - _WANTED[means].rank), _blended(pair[0])))
    return tuple(Recommendation(model, _reason(model, tier, task)) for model, tier in able[:_MOST])


def _tier(tiers: tuple[Tier, ...], task: Task) -> Tier | None:
    """The highest tier that the model serves, if that is high enough."""
    highest = max(tiers, key=lambda tier: tier.rank, default=None)
    return highest if highest and highest.rank >= _EASIEST.get(task, Tier.SIMPLE).rank else None


def _suits(model: Model, task: Task) -> bool:
    roomy = task != "long_context" or (model.context_window or 0) >= _LONG_CONTEXT
    return roomy and all(model.has(capability) for capability in _NEEDS[task])


def _blended(model: Model) -> int:
    """Three input tokens for each output token, the mix that price comparisons commonly use."""
    return 3 * model.price.rates.input + model.price.rates.output if model.price else 0


def _reason(model: Model, tier: Tier, task: Task) -> str:
    parts = [f"serves the {tier} tier", *(f"has {need.replace('_', ' ')}" for need in _NEEDS[task])]
    if task == "long_context":
        parts.append(f"reads {model.context_window or 0:,} tokens")
    if model.price:
        rates = model.price.rates
        cost = f"${rates.input / _PICO_PER_MICRO:g} in and ${rates.output / _PICO_PER_MICRO:g} out"
        parts.append(f"{cost} a million tokens")
    return ", ".join(parts)
