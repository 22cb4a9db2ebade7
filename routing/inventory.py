"""Keeps the catalogue current: settings and keys once, what this machine offers from time to time."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
import anyio.to_thread

from tierwise.routing.catalog import Catalog, build_catalog
from tierwise.routing.local import find_local_servers, ladder
from tierwise.routing.models import LocalModels
from tierwise.routing.price_map import packaged_price_map
from tierwise.routing.providers.demo import DEMO_MODELS
from tierwise.routing.providers.embedded import (
    EMBEDDED_CONTEXT_TOKENS,
    embedded_available,
    embedded_model_name,
)
from tierwise.routing.request import Tier
from tierwise.routing.settings import LiteLLMSettings, LocalSettings, ModelPrice, RoutingSettings

_STAND_IN_LIFETIME = 60.0
"""Seconds after which it is looked up again what serves in place of providers with keys."""
_EMBEDDED_ANSWER_TOKENS = 512
"""A demonstration need not go on for longer, at 65 to 120 tokens a second."""


@dataclass(slots=True)
class Inventory:
    """The source of the catalogue. Nothing is looked up before somebody asks."""

    litellm: LiteLLMSettings
    routing: RoutingSettings
    pricing: Mapping[str, ModelPrice]
    local: LocalSettings
    environ: Mapping[str, str] = field(repr=False)
    rate_limited: Collection[str] = ()
    """The names that settings of rate limits go by."""
    _catalog: Catalog | None = None
    _stale_at: float = float("inf")
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def catalog(self) -> Catalog:
        """The catalogue as of now.

        Raises:
            UnknownModel: the settings name a model that does not exist.
        """
        if self._catalog is not None and time.monotonic() < self._stale_at:
            return self._catalog
        async with self._lock:
            if self._catalog is None or time.monotonic() >= self._stale_at:
                self._catalog = await self._build()
        return self._catalog

    def known(self) -> Catalog | None:
        """The catalogue as it was last, without looking anything up; None if nobody has asked yet."""
        return self._catalog

    async def _build(self) -> Catalog:
        catalog = await anyio.to_thread.run_sync(self._assemble, None)
        if any(catalog.tiers.values()):
            return catalog
        self._stale_at = time.monotonic() + _STAND_IN_LIFETIME
        return await anyio.to_thread.run_sync(self._assemble, await self._stand_in())

    async def _stand_in(self) -> LocalModels:
        for server in await find_local_servers(self.local.servers):
            return LocalModels(server.name, server.base_url, ladder(server.models))
        if self.local.embedded and embedded_available(self.local.embedded_model).available:
            names = (embedded_model_name(self.local.embedded_model),)
            return LocalModels(
                "embedded",
                None,
                dict.fromkeys(Tier, names),
                context_window=EMBEDDED_CONTEXT_TOKENS,
                max_output_tokens=_EMBEDDED_ANSWER_TOKENS,
            )
        return LocalModels(
            "demo", None, {tier: (name,) for tier, name in zip(Tier, DEMO_MODELS, strict=True)}
        )

    def _assemble(self, local: LocalModels | None) -> Catalog:
        return build_catalog(
            self.litellm,
            self.routing,
            self.pricing,
            environ=self.environ,
            price_map=packaged_price_map(),
            today=datetime.now(UTC).date(),
            local=local,
            rate_limited=self.rate_limited,
        )
