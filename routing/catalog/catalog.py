"""The models that this installation knows, and the tiers that they serve."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from tierwise.routing.catalog.ladders import KNOWN_PROVIDERS
from tierwise.routing.catalog.listings import NO_LISTINGS, Listing
from tierwise.routing.catalog.local import by_size, ladder_places
from tierwise.routing.catalog.models import LocalModels, Model
from tierwise.routing.catalog.price_map import PriceMap
from tierwise.routing.catalog.resolver import Resolver, key_variable
from tierwise.routing.media import Modality
from tierwise.routing.request import Tier
from tierwise.routing.settings import LiteLLMSettings, ModelPrice, ProviderSettings, RoutingSettings

_MOST_DEALT = 20
"""Models of endpoints that are dealt to the tiers unasked. Of a market with hundreds, nobody means the
cheapest or the dearest."""


@dataclass(frozen=True, slots=True)
class Makers:
    """The models that draw, or speak, or listen."""

    models: tuple[Model, ...] = ()
    by_cost: bool = False
    """The cheapest is the first to be asked; else the order is the user's."""


_NO_MAKERS: Mapping[Modality, Makers] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Everything that a plan may choose from. Keys themselves are not in it."""

    tiers: Mapping[Tier, tuple[Model, ...]]
    fallback_chain: tuple[Model, ...] = ()
    default_model: Model | None = None
    others: tuple[Model, ...] = ()
    """Models that belong to no tier, but have an alias or are listed by an endpoint."""
    media: Mapping[Modality, Makers] = field(default_factory=lambda: _NO_MAKERS)
    source: str
    """Where the tiers come from, in words."""
    hint: str = "set model_routing.rules, or a provider's key such as OPENAI_API_KEY."
    """What to do where no tier has a model."""
    weights: Mapping[Tier, tuple[float, ...]] = field(default_factory=dict[Tier, tuple[float, ...]])
    """Of the models of those tiers that have weights, in their order."""
    _resolver: Resolver = field(repr=False)

    def resolve(self, name: str) -> Model:
        """The model that a caller means by an alias, a bare name or `provider/model`.

        Raises:
            UnknownModel: the name is none of these; the message names the nearest known ones.
        """
        return self._resolver.model(name)

    @property
    def aliases(self) -> tuple[str, ...]:
        """The short names that the settings give to models."""
        return tuple(self._resolver.aliases)

    def models(self) -> Iterator[tuple[Model, tuple[Tier, ...]]]:
        """Each model that answers in words once, with the tiers that it serves."""
        listed = [model for models in self.tiers.values() for model in models]
        extra = (*self.fallback_chain, *((self.default_model,) if self.default_model else ()), *self.others)
        for model in dict.fromkeys((*listed, *extra)):
            if model.modality in (None, Modality.CHAT):
                yield model, tuple(tier for tier in Tier if model in self.tiers.get(tier, ()))

    def tier_of(self, model: Model) -> Tier | None:
        """The lowest tier that `model` serves."""
        return next((tier for tier in Tier if model in self.tiers.get(tier, ())), None)


def build_catalog(
    litellm: LiteLLMSettings,
    routing: RoutingSettings,
    pricing: Mapping[str, ModelPrice],
    *,
    environ: Mapping[str, str],
    price_map: PriceMap,
    today: date,
    local: LocalModels | None = None,
    rate_limited: Iterable[str] = (),
    listings: Mapping[str, Listing] = NO_LISTINGS,
) -> Catalog:
    """The catalogue that settings, keys and what was found on this machine make together.

    Tiers come from the first of: the user's rules (a tier without a rule gets none); the built-in
    ladders of all providers whose key is there, cheapest first; `litellm.default_model`; what endpoints
    list, by price; `local`.

    Raises:
        UnknownModel: a name in the settings is no model, or one of `rate_limited` no provider's.
    """
    resolver = Resolver(litellm, pricing, environ, price_map, local, listings)
    for name in rate_limited:
        resolver.check_provider("reliability.rate_limits", name)
    default = (
        resolver.setting("litellm.default_model", litellm.default_model) if litellm.default_model else None
    )
    tiers, source = _ruled(routing, resolver, default), "model_routing.rules"
    if not any(tiers.values()):
        tiers, source = _laddered(litellm, environ, resolver, today), "the providers whose keys are set"
    if not any(tiers.values()) and default:
        tiers, source = dict.fromkeys(Tier, (default,)), "litellm.default_model"
    fallback_chain = tuple(
        resolver.setting("litellm.fallback_chain", name) for name in litellm.fallback_chain
    )
    aliased = tuple(resolver.setting("litellm.providers", alias) for alias in resolver.aliases)
    offered = _offered(listings, resolver)
    if not any(tiers.values()) and 0 < len(offered) <= _MOST_DEALT:
        tiers, source = _dealt(offered), f"the models of {' and '.join(listings)}, by price"
    if not any(tiers.values()) and local:
        tiers = {
            tier: tuple(resolver.model(f"{local.provider}/{name}") for name in local.tiers[tier])
            for tier in Tier
        }
        source = f"{local.provider} on this machine, since no provider's key is set"
    return Catalog(
        tiers=tiers,
        fallback_chain=fallback_chain,
        default_model=default,
        others=(*aliased, *offered),
        media={modality: _makers(modality, routing, resolver, today) for modality in _MADE},
        source=source,
        weights=_weights(routing, tiers),
        _resolver=resolver,
    )


def _ruled(
    routing: RoutingSettings, resolver: Resolver, default: Model | None
) -> dict[Tier, tuple[Model, ...]]:
    """The rules' tiers. A tier with no rule for it or above it gets the default model, else what the
    tier below has: prompts of every tier must be served by somebody."""
    tiers: dict[Tier, tuple[Model, ...]] = {}
    for tier in Tier:
        rule = routing.rules.get(tier)
        names = rule.model if rule else ()
        tiers[tier] = tuple(resolver.setting(f"model_routing.rules.{tier}.model", name) for name in names)
    ruled = [tier for tier in Tier if tiers[tier]]
    for tier in Tier if ruled else ():
        if tier.rank > ruled[-1].rank:
            tiers[tier] = (default,) if default else tiers[ruled[-1]]
    return tiers


def _weights(
    routing: RoutingSettings, tiers: Mapping[Tier, tuple[Model, ...]]
) -> dict[Tier, tuple[float, ...]]:
    """Those of the rules; a tier that has the models of another one has its weights too."""
    ruled = {tier: rule.weights for tier in Tier if (rule := routing.rules.get(tier)) and rule.weights}
    return {
        tier: weights
        for tier, models in tiers.items()
        for owner, weights in ruled.items()
        if tiers[owner] == models and (tier is owner or not routing.rules.get(tier))
    }


_MADE = (Modality.IMAGE, Modality.SPEECH, Modality.TRANSCRIPTION)


def _makers(modality: Modality, routing: RoutingSettings, resolver: Resolver, today: date) -> Makers:
    """Those that the settings list; else one of each provider, also of those whose key is missing, so that
    somebody who has none at all is told which to set."""
    names = routing.media.of(modality)
    if names:
        key = f"model_routing.media.{modality}"
        return Makers(tuple(resolver.setting(key, name) for name in names))
    known = ((provider, it.media.get(modality)) for provider, it in KNOWN_PROVIDERS.items())
    models = [resolver.model(f"{provider}/{name}") for provider, name in known if name]
    return Makers(tuple(model for model in models if not model.past_deprecation(today)), by_cost=True)


def _laddered(
    litellm: LiteLLMSettings, environ: Mapping[str, str], resolver: Resolver, today: date
) -> dict[Tier, tuple[Model, ...]]:
    tiers: dict[Tier, tuple[Model, ...]] = {}
    for tier in Tier:
        names = [
            f"{provider}/{name}"
            for provider, known in KNOWN_PROVIDERS.items()
            if (name := known.model_for(tier)) and _reachable(provider, litellm, environ)
        ]
        models = [model for name in names if not (model := resolver.model(name)).past_deprecation(today)]
        tiers[tier] = tuple(sorted(models, key=_blended_rate))
    return tiers


def _offered(listings: Mapping[str, Listing], resolver: Resolver) -> tuple[Model, ...]:
    """What endpoints list; models that the settings name as well are the same ones."""
    names = (f"{provider}/{name}" for provider, listing in listings.items() for name in listing.offers)
    return tuple(resolver.model(name) for name in names)


def _dealt(offered: Sequence[Model]) -> dict[Tier, tuple[Model, ...]]:
    """The cheapest for simple prompts, the dearest for complex ones; by size where no price is known."""
    priced = sorted((model for model in offered if model.price), key=_blended_rate)
    sizes = by_size([model.name for model in offered])
    ranked = priced or sorted(offered, key=lambda model: sizes.index(model.name))
    return {tier: (ranked[place],) for tier, place in zip(Tier, ladder_places(len(ranked)), strict=True)}


def _reachable(provider: str, litellm: LiteLLMSettings, environ: Mapping[str, str]) -> bool:
    variable = key_variable(provider, litellm.providers.get(provider, ProviderSettings()), environ)
    return variable is not None and bool(environ.get(variable))


def _blended_rate(model: Model) -> int:
    """Three input tokens for each output token, the mix that price comparisons commonly use."""
    return 3 * model.price.rates.input + model.price.rates.output if model.price else 10**12
