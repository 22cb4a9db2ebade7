"""Which models may come into question for a request, in which order, and what to say of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tierwise.routing.abilities import DOES
from tierwise.routing.catalog.catalog import Catalog
from tierwise.routing.catalog.models import Model
from tierwise.routing.request import ChatRequest, Preference, Strategy, Tier
from tierwise.routing.settings import DefaultSettings, RoutingSettings
from tierwise.routing.strategies import CHANGING, Option


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """What the settings say about choosing."""

    enabled: bool = True
    allow_downgrade: bool = False
    max_tokens: int
    strategy: Strategy = "priority"
    judge_model: str | None = None


def policy_settings(routing: RoutingSettings, defaults: DefaultSettings) -> PolicySettings:
    """The same, out of the sections that hold it."""
    return PolicySettings(
        enabled=routing.enabled,
        allow_downgrade=routing.allow_downgrade,
        max_tokens=defaults.max_tokens,
        strategy=routing.strategy,
        judge_model=routing.cascade.judge_model,
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """A model that may come into question, the tier for which, and why."""

    model: Model
    tier: Tier
    reason: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Models that come one after another in the order that `strategy` gives them."""

    placed: tuple[Placed, ...]
    strategy: Strategy = "priority"
    name: str | None = None
    """What the models are called together; None is by their tier."""
    limit: int | None = None
    """Only the first so many that can serve."""

    @property
    def changing(self) -> bool:
        return self.strategy in CHANGING


def groups(request: ChatRequest, tier: Tier, catalog: Catalog, settings: PolicySettings) -> Iterator[Group]:
    """Every model that may come into question, best group first.

    Raises:
        UnknownModel: the request names a model that does not exist.
    """
    rows = _ladder if request.task is None else _makers
    ladder = [group for group in rows(request, tier, catalog, settings) if group.placed]
    if request.fallback_models is None:
        after, why = catalog.fallback_chain if request.task is None else (), "litellm.fallback_chain"
    else:
        after = tuple(catalog.resolve(name) for name in request.fallback_models)
        ladder, why = [_head(group) for group in ladder[:1]], "fallback_models of the call"
    yield from ladder
    yield Group(
        placed=tuple(Placed(model, catalog.tier_of(model) or tier, f"next in {why}") for model in after)
    )


def strategy_of(request: ChatRequest, settings: PolicySettings) -> Strategy:
    """How the models of a tier are ordered for `request`."""
    chosen = request.named_model is not None or request.preference is not None
    given = chosen or not settings.enabled or request.task is not None
    return "priority" if given else request.strategy or settings.strategy


def ranked(group: Group, placed: Placed, rank: int, option: Option) -> str:
    """The reason for a candidate that its strategy has put at place `rank`, from 0."""
    if group.strategy not in _BY:
        return placed.reason
    speed = f" ({_speed(option)})" if group.strategy == "least_latency" else ""
    all_of_them = group.name or f"the {placed.tier} tier"
    return f"{_place(rank + 1)} of {all_of_them} by {_BY[group.strategy]}{speed}"


_BY: dict[Strategy, str] = {
    "least_cost": "cost",
    "least_latency": "speed",
    "round_robin": "turn",
    "random": "lot",
}


def _speed(option: Option) -> str:
    if option.ms_per_token is not None:
        return f"{option.ms_per_token:.3g} ms a token"
    if option.attempts:
        return "no answer of late"
    return "being tried" if option.used_at else "not tried of late"


def _place(number: int) -> str:
    return "first" if number == 1 else f"number {number}"


def _head(group: Group) -> Group:
    """The group's first model. Which that is in a changing order, or by cost, shows when it is known who
    can serve; in a given one it is known, and what follows in place of it is the caller's to say."""
    given = group.strategy not in _BY
    return replace(group, placed=group.placed[:1]) if given else replace(group, limit=1)


def _ladder(request: ChatRequest, tier: Tier, catalog: Catalog, settings: PolicySettings) -> Iterator[Group]:
    if request.named_model is not None:
        model = catalog.resolve(request.named_model)
        yield Group(placed=(Placed(model, catalog.tier_of(model) or tier, "asked for by name"),))
    elif request.preference is not None:
        yield from _preferred(request.preference, catalog)
    elif not settings.enabled and catalog.default_model:
        model = catalog.default_model
        yield Group(placed=(Placed(model, catalog.tier_of(model) or tier, "litellm.default_model"),))
    else:
        for rung in _rungs(request, tier, settings):
            yield Group(placed=tuple(_of_tier(rung, catalog)), strategy=strategy_of(request, settings))


def _preferred(preference: Preference, catalog: Catalog) -> Iterator[Group]:
    """The models of all tiers, as `auto:…` asks for them."""
    if preference == "best":
        yield from (Group(placed=tuple(_of_tier(tier, catalog))) for tier in reversed(Tier))
    else:
        placed = [it for tier in Tier for it in _of_tier(tier, catalog)]
        strategy = "least_cost" if preference == "cheap" else "least_latency"
        yield Group(placed=tuple(placed), strategy=strategy, name="all tiers")


def _makers(request: ChatRequest, tier: Tier, catalog: Catalog, settings: PolicySettings) -> Iterator[Group]:
    """Who comes into question for what is no chat."""
    if request.named_model is not None:
        yield Group(placed=(Placed(catalog.resolve(request.named_model), tier, "asked for by name"),))
    elif makers := catalog.media.get(request.modality):
        key = f"model_routing.media.{request.modality}"
        yield Group(
            placed=tuple(
                Placed(model, tier, f"{_place(place)} of {key}")
                for place, model in enumerate(makers.models, start=1)
            ),
            strategy="least_cost" if makers.by_cost else "priority",
            name=f"those that {DOES[request.modality]}",
        )


def _of_tier(tier: Tier, catalog: Catalog) -> Iterator[Placed]:
    models = catalog.tiers.get(tier, ())
    weights = catalog.weights.get(tier) or (1.0,) * len(models)
    for place, (model, weight) in enumerate(zip(models, weights, strict=True), start=1):
        yield Placed(model, tier, f"{_place(place)} of the {tier} tier", weight)


def _rungs(request: ChatRequest, tier: Tier, settings: PolicySettings) -> list[Tier]:
    """The tiers in the order in which they may serve."""
    if strategy_of(request, settings) == "cascade":
        return [rung for rung in Tier if request.tier is None or rung.rank >= request.tier.rank]
    downward = settings.allow_downgrade or request.max_cost_usd is not None
    upward = [rung for rung in Tier if rung.rank >= tier.rank]
    lower = [rung for rung in reversed(Tier) if rung.rank < tier.rank]
    return upward + lower if downward else upward
