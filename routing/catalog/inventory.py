"""Keeps the catalogue current: settings and keys once, what endpoints and local servers offer for a while."""

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import anyio
import anyio.to_thread

from tierwise.routing.catalog.catalog import Catalog, build_catalog
from tierwise.routing.catalog.gateways import Gateways
from tierwise.routing.catalog.local import find_local_servers, ladder
from tierwise.routing.catalog.models import LocalModels
from tierwise.routing.catalog.price_map import packaged_price_map
from tierwise.routing.errors import UnknownModel
from tierwise.routing.providers.demo import DEMO_MODELS
from tierwise.routing.providers.embedded import (
    EMBEDDED_CONTEXT_TOKENS,
    embedded_available,
    embedded_model_name,
)
from tierwise.routing.request import Tier
from tierwise.routing.settings import LiteLLMSettings, LocalSettings, ModelPrice, RoutingSettings

_log = logging.getLogger(__name__)

_STAND_IN_LIFETIME = 60.0
"""Seconds after which it is looked up again what serves in place of providers with keys."""
_LISTING_LIFETIME = 300.0
"""Seconds after which an endpoint that is in use is asked for its models again."""
_FAULT_LIFETIME = 15.0
"""The same where it did not answer."""
_JUST_NOW = 5.0
"""Seconds within which nobody is asked twice."""
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
    gateways: Gateways = field(init=False)
    """The endpoints that are asked for their models."""
    _catalog: Catalog | None = None
    _stale_at: float = float("inf")
    _lock: anyio.Lock = field(default_factory=anyio.Lock)
    _wanted: anyio.Event = field(default_factory=anyio.Event)
    """Set when somebody has used listings that are due for another look."""

    def __post_init__(self) -> None:
        self.gateways = Gateways(self.litellm.providers, self.environ)

    async def catalog(self) -> Catalog:
        """The catalogue as of now; the first caller waits for what endpoints list, the others never do.

        Raises:
            UnknownModel: the settings name a model that does not exist.
        """
        if self._catalog is not None and time.monotonic() < self._stale_at:
            if self.gateways and self.gateways.age > self._listing_lifetime():
                self._wanted.set()
            return self._catalog
        async with self._lock:
            if self._catalog is None or time.monotonic() >= self._stale_at:
                self._catalog = await self._build()
        return self._catalog

    def known(self) -> Catalog | None:
        """The catalogue as it was last, without looking anything up; None if nobody has asked yet."""
        return self._catalog

    async def look_again(self) -> None:
        """Ask the endpoints anew, unless that was just done.

        Raises:
            UnknownModel: see `catalog`.
        """
        async with self._lock:
            if self.gateways and self.gateways.age > _JUST_NOW:
                self._catalog = await self._build()

    async def look_again_when_wanted(self) -> None:
        """Ask the endpoints anew once their listings are used and have become old, until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self.look_again()
            except UnknownModel as error:  # what was known before goes on to serve
                _log.warning("%s", error)
            self._wanted = anyio.Event()

    def _listing_lifetime(self) -> float:
        return _FAULT_LIFETIME if self._faults() else _LISTING_LIFETIME

    def _faults(self) -> list[str]:
        return [gateway.fault for gateway in self.gateways.health() if gateway.fault]

    async def _build(self) -> Catalog:
        if self.gateways and self.gateways.age > _JUST_NOW:
            await self.gateways.refresh()
        try:
            catalog = await anyio.to_thread.run_sync(self._assemble, None)
        except UnknownModel as error:  # it may be one of an endpoint that is down
            raise UnknownModel(" ".join([str(error), *self._faults()])) from None
        if any(catalog.tiers.values()):
            self._stale_at = float("inf")
            return catalog
        if self.gateways:  # whoever has set one up does not mean what else there may be on this machine
            self._stale_at = time.monotonic() + _FAULT_LIFETIME
            return replace(catalog, source="nothing", hint=self._gateway_hint())
        self._stale_at = time.monotonic() + _STAND_IN_LIFETIME
        return await anyio.to_thread.run_sync(self._assemble, await self._stand_in())

    def _gateway_hint(self) -> str:
        if faults := self._faults():
            return " ".join(faults)
        offers = (f"{gateway.provider} offers {gateway.models} models" for gateway in self.gateways.health())
        return f"{' and '.join(offers)}; name those of each tier in model_routing.rules (see list_models)."

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
            listings=self.gateways.listings,
        )
