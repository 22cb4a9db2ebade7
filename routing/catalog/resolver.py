"""From the names that people write to models."""

from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any

from tierwise.routing.catalog.ladders import (
    KEYLESS_PROVIDERS,
    KNOWN_PROVIDERS,
    LOCAL_PROVIDERS,
    KnownProvider,
)
from tierwise.routing.catalog.listings import NO_LISTINGS, Listing
from tierwise.routing.catalog.models import IN_PROCESS_PROVIDERS, LocalModels, Model
from tierwise.routing.catalog.price_map import MapEntry, PriceMap
from tierwise.routing.errors import UnknownModel
from tierwise.routing.media import Modality
from tierwise.routing.money.price_entries import price_from_map, price_from_settings
from tierwise.routing.money.pricing import FREE, Price
from tierwise.routing.settings import LiteLLMSettings, ModelPrice, ProviderSettings


class Resolver:
    """Turns the names that people write into models."""

    def __init__(
        self,
        settings: LiteLLMSettings,
        pricing: Mapping[str, ModelPrice],
        environ: Mapping[str, str],
        price_map: PriceMap,
        local: LocalModels | None = None,
        listings: Mapping[str, Listing] = NO_LISTINGS,
    ) -> None:
        self._listings = listings
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

    def setting(self, key: str, name: str) -> Model:
        """The model that the settings name under `key`; people will see it as it is written there.

        Raises:
            UnknownModel: there is no such model; the message names the key.
        """
        try:
            provider, upstream = self._split(name)
        except UnknownModel as error:
            raise UnknownModel(f"The settings are wrong at {key}. {error}") from None
        if (provider, upstream) not in self._models:
            label = name if name not in self.aliases else self.aliases[name][1]
            self._models[provider, upstream] = self._build(label, provider, upstream)
        return self._models[provider, upstream]

    def check_provider(self, key: str, name: str) -> None:
        """`name` must be a provider's, or `provider/model`.

        Raises:
            UnknownModel: it begins with no known provider; the message names the key.
        """
        provider = name.partition("/")[0]
        if not self._is_provider(provider):
            near = get_close_matches(provider, [*self._providers, *KNOWN_PROVIDERS], n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise UnknownModel(
                f"The settings are wrong at {key}. {name[:100]!r} begins with no known provider: write"
                f" provider/model, or a provider's name for all of its models{hint}"
            )

    def model(self, name: str) -> Model:
        """See `Catalog.resolve`."""
        provider, upstream = self._split(name)
        known = self._models.get((provider, upstream))
        return known or self._build(f"{provider}/{upstream}", provider, upstream)

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
        """The provider of a bare name: who has it in the settings, whose family it is, or the map's."""
        for provider, upstream in self._models:
            if upstream == name:
                return provider
        for provider, target in self.aliases.values():
            if target in (name, f"{provider}/{name}"):
                return provider
        if self._local and any(name in names for names in self._local.tiers.values()):
            return self._local.provider
        family = next((it for it, known in KNOWN_PROVIDERS.items() if name.startswith(known.families)), None)
        # An endpoint that happens to be down must not change whose model is meant where a key decides it.
        if family is None or not self._has_key(family):
            family = next((it for it, listing in self._listings.items() if name in listing.offers), family)
        if family is not None:
            return family
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
        entry = self._entry(provider, name)
        price, note = self._price(provider, (label, name, f"{provider}/{name}"), entry)
        variable = key_variable(provider, settings, self._environ)
        key = self._environ.get(variable, "").strip() if variable else ""
        plausible = key.isascii() and key.isprintable()
        return Model(
            id=label,
            provider=provider,
            name=name,
            api_base=settings.api_base,
            key_variable=variable,
            key_present=variable is None or (bool(key) and plausible),
            key_fault="" if plausible else " to a key: it holds characters that no key has",
            price=price,
            price_note=note,
            unlisted_in=self._unlisted_in(provider, name, entry),
            **(_facts(entry) if entry else {"modality": None}),
            capabilities=self._capabilities(provider, entry),
        )

    def _entry(self, provider: str, name: str) -> MapEntry | None:
        """What is known of the model: from its endpoint, if that tells, else from the price map."""
        mapped, listing = self._map.find(provider, name), self._listings.get(provider)
        offer = listing and listing.offers.get(name)
        if listing is None or offer is None:
            return mapped
        known = mapped.fields if mapped and not listing.detailed else {}
        return MapEntry(name, {**known, **offer.fields})

    def _capabilities(self, provider: str, entry: MapEntry | None) -> tuple[str, ...] | None:
        """What the model can do; None where nothing is known. Where the price map says nothing, it can't."""
        told = [key for key in entry.fields if key.startswith("supports_")] if entry else []
        if entry is None or (not told and provider in self._listings):
            return None
        able = (key.removeprefix("supports_") for key in told if entry.fields[key] is True)
        return tuple(sorted(able))

    def _unlisted_in(self, provider: str, name: str, entry: MapEntry | None) -> str:
        if provider in self._listings:
            return "" if name in self._listings[provider].offers else f"{provider}'s own list"
        return "" if entry or provider not in self._map.providers else "litellm's price map"

    def _has_key(self, provider: str) -> bool:
        settings = self._providers.get(provider, ProviderSettings())
        variable = key_variable(provider, settings, self._environ)
        return variable is None or bool(self._environ.get(variable, "").strip())

    def _build_local(self, label: str, provider: str, name: str) -> Model:
        local = self._local if self._is_local(provider) else None
        return Model(
            id=label,
            provider=provider,
            name=name,
            api_base=local and local.api_base,
            price=FREE,
            capabilities=None if local else (),
            modality=None if local else Modality.CHAT,
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
        price = price_from_map(entry.fields, self._map.forms(entry)) if entry else None
        if price is None and (provider in LOCAL_PROVIDERS or self._gives_away(provider, names[1])):
            return FREE, None
        if price is None:
            return None, f"no price is known for {names[0]}: set usage_tracking.pricing"
        return price, None

    def _gives_away(self, provider: str, name: str) -> bool:
        listing = self._listings.get(provider)
        return listing is not None and name in listing.offers and listing.offers[name].free


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


def _facts(entry: MapEntry) -> dict[str, Any]:
    """What the map says of a model beside its price and its abilities."""
    fields = entry.fields
    window, output, retired = (
        fields.get(key) for key in ("max_input_tokens", "max_output_tokens", "deprecation_date")
    )
    return {
        "modality": entry.modality,
        "context_window": window if isinstance(window, int) else None,
        "max_output_tokens": output if isinstance(output, int) else None,
        "deprecation_date": date.fromisoformat(retired) if isinstance(retired, str) else None,
    }
