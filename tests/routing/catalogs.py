"""Catalogues made of settings and an environment, with the prices of the installed litellm."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from tierwise.routing.catalog.catalog import Catalog, build_catalog
from tierwise.routing.catalog.models import LocalModels
from tierwise.routing.catalog.price_map import PriceMap, packaged_price_map
from tierwise.routing.settings import LiteLLMSettings, ModelPrice, RoutingSettings

TODAY = date(2026, 11, 21)


def catalog(
    routing: RoutingSettings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    pricing: Mapping[str, ModelPrice] | None = None,
    price_map: PriceMap | None = None,
    today: date = TODAY,
    local: LocalModels | None = None,
    **litellm: Any,
) -> Catalog:
    """The catalogue of these settings; `litellm` are fields of that section."""
    return build_catalog(
        LiteLLMSettings(**litellm),
        routing or RoutingSettings(),
        pricing or {},
        environ=environ or {},
        price_map=price_map or packaged_price_map(),
        today=today,
        local=local,
    )
