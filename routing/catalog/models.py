"""What is known of one model: where it is reached, what it costs, what it can do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from tierwise.routing.media import Modality
from tierwise.routing.money.pricing import Price
from tierwise.routing.request import Tier

IN_PROCESS_PROVIDERS = frozenset({"embedded", "demo"})
"""Providers that answer inside this process."""


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
    key_fault: str = ""
    """What is wrong with a key that is set but cannot be one."""
    price: Price | None = None
    price_note: str | None = None
    """Why the price is unknown, or where it comes from."""
    context_window: int | None = None
    """Tokens that prompt and answer may have, or the prompt alone where the provider says so."""
    max_output_tokens: int | None = None
    capabilities: tuple[str, ...] | None = ()
    """Such as `vision`, `function_calling`, `reasoning`: the map's `supports_…`, sorted; None where
    nothing is known, as of a server of the user's own."""
    modality: Modality | None = Modality.CHAT
    """What it is for; None where nothing is known."""
    deprecation_date: date | None = None
    unlisted_in: str = ""
    """What should know the model but does not, so that it is retired, or misspelt, or new: litellm's price
    map, or the endpoint's own list."""

    @property
    def deployment(self) -> str:
        """The name of what fails and recovers as one: provider, model and endpoint."""
        return (
            f"{self.provider}/{self.name} at {self.endpoint}"
            if self.api_base
            else f"{self.provider}/{self.name}"
        )

    @property
    def endpoint(self) -> str | None:
        """`api_base` without its query, which might hold what is nobody's business."""
        return self.api_base and self.api_base.partition("?")[0]

    def can(self, capability: str) -> bool:
        """May the model be sent what needs `capability`? Where nothing is known, it may be tried."""
        return self.capabilities is None or capability in self.capabilities

    def has(self, capability: str) -> bool:
        """Is the model known to have `capability`?"""
        return self.capabilities is not None and capability in self.capabilities

    def past_deprecation(self, today: date) -> bool:
        return self.deprecation_date is not None and self.deprecation_date <= today

    def warning(self, today: date) -> str | None:
        """Why one should think twice about the model, in words."""
        if self.past_deprecation(today):
            return f"deprecated since {self.deprecation_date}"
        return f"not in {self.unlisted_in}, so perhaps retired" if self.unlisted_in else None


@dataclass(frozen=True, slots=True)
class LocalModels:
    """Models of one server or engine on this machine, for each tier."""

    provider: str
    api_base: str | None
    tiers: Mapping[Tier, tuple[str, ...]]
    context_window: int | None = None
    max_output_tokens: int | None = None
