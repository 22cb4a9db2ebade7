"""The models that this installation knows: where each is reached, what it costs, what it can do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from typing import Any

from tierwise.routing.errors import UnknownModel
from tierwise.routing.ladders import KEYLESS_PROVIDERS, KNOWN_PROVIDERS, LOCAL_PROVIDERS, KnownProvider
from tierwise.routing.price_map import MapEntry, PriceMap
from tierwise.routing.pricing import FREE, Price, price_from_map, price_from_settings
from tierwise.routing.request import Tier
from tierwise.routing.settings import LiteLLMSettings, ModelPrice, ProviderSettings, RoutingSettings

IN_PROCESS_PROVIDERS = frozenset({"embedded", "demo"})
"""Providers that answer inside this process."""
_MOST_MODELS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model at one provider."""

    id: str
    """The name that people see and use, as they wrote it in the settings."""
    provider: str
    name: str
    """The name by which the provider knows it."""
    api_base: str | None = None
    key_variable: str | None = None
    """The environment variable that holds the key that it needs; None if it needs none."""
    key_present: bool = True
    price: Price | None = None
    price_note: str | None = None
    """Why the price is unknown, or where it comes from."""
    context_window: int | None = None
    """Tokens that prompt and answer may have, or the prompt alone where the provider says so."""
    max_output_tokens: int | None = None
    capabilities: tuple[str, ...] = ()
    """Such as `vision`, `function_calling`, `reasoning`: the map's `supports_…`, sorted."""
    deprecation_date: date | None = None
    listed: bool = True
    """False if the price map knows the provider but not the model: it is retired, or misspelt, or new."""

    def past_deprecation(self, today: date) -> bool:
        return self.deprecation_date is not None and self.deprecation_date <= today

    def warning(self, today: date) -> str | None:
        """Why one should think twice about the model, in words."""
        if self.past_deprecation(today):
            return f"deprecated since {self.deprecation_date}"
        return None if self.listed else "not in litellm's price map, so perhaps retired"


@dataclass(frozen=True, slots=True)
class LocalModels:
    """Models of one server or engine on this machine, for each tier."""

    provider: str
    api_base: str | None
    tiers: Mapping[Tier, tuple[str, ...]]
    context_window: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Everything that a plan may choose from. Keys themselves are not in it."""

    tiers: Mapping[Tier, tuple[Model, ...]]
    fallback_chain: tuple[Model, ...] = ()
    default_model: Model | None = None
    others: tuple[Model, ...] = ()
    """Models that have an alias but belong to no tier."""
    source: str
    """Where the tiers come from, in words."""
    _resolver: "Resolver" = field(repr=False)

    def resolve(self, name: str) -> Model:
        """The model that a caller means by an alias, a bare name or `provider/model`.

        Raises:
            UnknownModel: the name is none of these; the message names the nearest known ones.
        """
        return self._resolver.model(name)

    def models(self) -> Iterator[tuple[Model, tuple[Tier, ...]]]:
        """Each model once, with the tiers that it serves."""
        listed = [model for models in self.tiers.values() for model in models]
        extra = (*self.fallback_chain, *((self.default_model,) if self.default_model else ()), *self.others)
        for model in dict.fromkeys((*listed, *extra)):
            yield model, tuple(tier for tier in Tier if model in self.tiers.get(tier, ()))

    def tier_of(self, model: Model) -> Tier | None:
        """The lowest tier that `model` serves."""
        return next((tier for tier in Tier if model in self.tiers.get(tier, ())), None)


class Resolver:
    """Turns the names that people write into models."""

    def __init__(
        self,
        settings: LiteLLMSettings,
        pricing: Mapping[str, ModelPrice],
        environ: Mapping[str, str],
        price_map: PriceMap,
        local: LocalModels | None = None,
    ) -> None:
        self._providers = settings.providers
        self._pricing = pricing
        self._environ = environ
        self._map = price_map
        self._local = local
        self._models: dict[tuple[str, str], Model] = {}
        self.aliases = {
            alias: (provider, name)
            for provider, entry in settings.providers.items()
            for alias, name in entry.models.items()
        }

    def model(self, name: str) -> Model:
        """See `Catalog.resolve`."""
        provider, upstream = self._split(name)
        known = self._models.get((provider, upstream))
        if known is None:
            label = name if name not in self.aliases else self.aliases[name][1]
            known = self._build(label, provider, upstream)
            if len(self._models) < _MOST_MODELS:  # callers can think up any number of names
                self._models[provider, upstream] = known
        return known

    def _split(self, name: str) -> tuple[str, str]:
        if name in self.aliases:
            provider, target = self.aliases[name]
            return provider, target.removeprefix(f"{provider}/")
        head, slash, rest = name.partition("/")
        if slash and rest and self._is_provider(head):
            return head, rest
        provider = self._owner(name)
        if provider is None:
            raise UnknownModel(self._unknown(name))
        return provider, name

    def _is_provider(self, name: str) -> bool:
        return (
            name in self._providers
            or name in KNOWN_PROVIDERS
            or name in KEYLESS_PROVIDERS
            or name in IN_PROCESS_PROVIDERS
            or name in self._map.providers
            or (self._local is not None and name == self._local.provider)
        )

    def _owner(self, name: str) -> str | None:
        """The provider of a bare name: who lists it in the settings, whose family it is, or the map's."""
        for provider, target in self.aliases.values():
            if target in (name, f"{provider}/{name}"):
                return provider
        if self._local and any(name in names for names in self._local.tiers.values()):
            return self._local.provider
        for provider, known in KNOWN_PROVIDERS.items():
            if name.startswith(known.families):
                return provider
        # What stands before a slash is a provider, and this one is unknown.
        entry = None if "/" in name else self._map.find(None, name)
        return entry.provider if entry else None

    def _unknown(self, name: str) -> str:
        known = [*self.aliases, *(model.id for model in self._models.values())]
        near = get_close_matches(name, known, n=3, cutoff=0.5) or get_close_matches(
            name, self._map.names(), n=3
        )
        hint = (
            f"Did you mean {' or '.join(near)}?" if near else "list_models shows the models that can be used."
        )
        return f"There is no model {name[:100]!r}: give an alias, a model name or provider/model. {hint}"

    def _build(self, label: str, provider: str, name: str) -> Model:
        if provider in IN_PROCESS_PROVIDERS or self._is_local(provider):
            return self._build_local(label, provider, name)
        settings = self._providers.get(provider, ProviderSettings())
        entry = self._map.find(provider, name)
        price, note = self._price(provider, (label, name, f"{provider}/{name}"), entry)
        variable = key_variable(provider, settings, self._environ)
        return Model(
            id=label,
            provider=provider,
            name=name,
            api_base=settings.api_base,
            key_variable=variable,
            key_present=variable is None or bool(self._environ.get(variable)),
            price=price,
            price_note=note,
            listed=entry is not None or provider not in self._map.providers,
            **_facts(entry.fields if entry else {}),
        )

    def _build_local(self, label: str, provider: str, name: str) -> Model:
        local = self._local if self._is_local(provider) else None
        return Model(
            id=label,
            provider=provider,
            name=name,
            api_base=local and local.api_base,
            price=FREE,
            context_window=local and local.context_window,
            max_output_tokens=local and local.max_output_tokens,
        )

    def _is_local(self, provider: str) -> bool:
        return (
            self._local is not None and provider == self._local.provider and provider not in self._providers
        )

    def _price(
        self, provider: str, names: tuple[str, ...], entry: MapEntry | None
    ) -> tuple[Price | None, str | None]:
        for name in names:
            if name in self._pricing:
                return price_from_settings(self._pricing[name]), "price from usage_tracking.pricing"
        price = price_from_map(entry.fields) if entry else None
        if price is None and provider in LOCAL_PROVIDERS:
            return FREE, None
        if price is None:
            return None, f"no price is known for {names[0]}: set usage_tracking.pricing"
        return price, None


def key_variable(provider: str, settings: ProviderSettings, environ: Mapping[str, str]) -> str | None:
    """The variable that holds the provider's key, or None where none is needed.

    An endpoint of the user's own needs no key unless the settings name one or the usual one is set.
    """
    if settings.api_key_env:
        return settings.api_key_env
    if provider in KEYLESS_PROVIDERS:
        return None
    usual = KNOWN_PROVIDERS.get(provider, KnownProvider((f"{provider.upper().replace('-', '_')}_API_KEY",)))
    present = next((variable for variable in usual.key_variables if environ.get(variable)), None)
    return present or (None if settings.api_base else usual.key_variables[0])


def _facts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the map says of a model beside its price."""
    window, output, retired = (
        fields.get(key) for key in ("max_input_tokens", "max_output_tokens", "deprecation_date")
    )
    return {
        "context_window": window if isinstance(window, int) else None,
        "max_output_tokens": output if isinstance(output, int) else None,
        "capabilities": tuple(
            sorted(
                key.removeprefix("supports_")
                for key in fields
                if key.startswith("supports_") and fields[key] is True
            )
        ),
        "deprecation_date": date.fromisoformat(retired) if isinstance(retired, str) else None,
    }


def build_catalog(
    litellm: LiteLLMSettings,
    routing: RoutingSettings,
    pricing: Mapping[str, ModelPrice],
    *,
    environ: Mapping[str, str],
    price_map: PriceMap,
    today: date,
    local: LocalModels | None = None,
) -> Catalog:
    """The catalogue that settings, keys and what was found on this machine make together.

    Tiers come from the first of: the user's rules (a tier without a rule gets none); the built-in
    ladders of all providers whose key is there, cheapest first; `litellm.default_model`; `local`.

    Raises:
        UnknownModel: a name in the settings is no model.
    """
    resolver = Resolver(litellm, pricing, environ, price_map, local)
    tiers, source = _ruled(routing, resolver), "model_routing.rules"
    if not any(tiers.values()):
        tiers, source = _laddered(litellm, environ, resolver, today), "the providers whose keys are set"
    if not any(tiers.values()) and litellm.default_model:
        tiers, source = (
            {tier: (resolver.model(litellm.default_model),) for tier in Tier},
            "litellm.default_model",
        )
    if not any(tiers.values()) and local:
        tiers = {
            tier: tuple(resolver.model(f"{local.provider}/{name}") for name in local.tiers[tier])
            for tier in Tier
        }
        source = f"{local.provider} on this machine, since no provider's key is set"
    return Catalog(
        tiers=tiers,
        fallback_chain=tuple(resolver.model(name) for name in litellm.fallback_chain),
        default_model=resolver.model(litellm.default_model) if litellm.default_model else None,
        others=tuple(resolver.model(alias) for alias in resolver.aliases),
        source=source,
        _resolver=resolver,
    )


def _ruled(routing: RoutingSettings, resolver: Resolver) -> dict[Tier, tuple[Model, ...]]:
    rules = {tier: routing.rules.get(tier) for tier in Tier}
    return {
        tier: tuple(resolver.model(name) for name in rule.model) if rule else ()
        for tier, rule in rules.items()
    }


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


def _reachable(provider: str, litellm: LiteLLMSettings, environ: Mapping[str, str]) -> bool:
    variable = key_variable(provider, litellm.providers.get(provider, ProviderSettings()), environ)
    return variable is not None and bool(environ.get(variable))


def _blended_rate(model: Model) -> int:
    """Three input tokens for each output token, the mix that price comparisons commonly use."""
    return 3 * model.price.rates.input + model.price.rates.output if model.price else 10**12
