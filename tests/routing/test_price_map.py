"""Look-ups in the map of the installed litellm, and in small ones made for the case."""

from typing import Any

import pytest

from tierwise.routing.catalog.ladders import KNOWN_PROVIDERS
from tierwise.routing.catalog.price_map import PriceMap, packaged_price_map
from tierwise.routing.money.price_entries import price_from_map
from tierwise.routing.money.pricing import Price
from tierwise.routing.request import Tier

LADDERS = [
    (provider, known.model_for(tier), tier)
    for provider, known in KNOWN_PROVIDERS.items()
    for tier in Tier
    if known.ladder
]


def found(provider: str | None, model: str) -> str | None:
    entry = packaged_price_map().find(provider, model)
    return entry and entry.name


@pytest.mark.parametrize(("provider", "model", "tier"), LADDERS)
def test_every_model_of_a_built_in_ladder_has_a_price_and_a_window(
    provider: str, model: str, tier: Tier
) -> None:
    entry = packaged_price_map().find(provider, model)
    assert entry is not None
    assert price_from_map(entry.fields) is not None
    assert entry.fields["max_input_tokens"] > 0


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        (None, "gpt-4o", "gpt-4o"),
        ("azure", "gpt-4o", "azure/gpt-4o"),
        ("gemini", "gemini-3.8-flash", "gemini/gemini-3.8-flash"),
        ("vertex_ai", "claude-opus-5-5", "vertex_ai/claude-opus-5-5"),
        ("vertex_ai", "gemini-2.5-pro", "gemini-2.5-pro"),
        ("bedrock", "us.anthropic.claude-opus-5-5", "us.anthropic.claude-opus-5-5"),
        ("bedrock", "amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
    ],
)
def test_a_name_that_the_map_has_is_found_under_its_provider(
    provider: str | None, model: str, name: str
) -> None:
    assert found(provider, model) == name


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "gpt-4o-2031-01-01", "gpt-4o"),
        ("anthropic", "claude-opus-5-5-20310101", "claude-opus-5-5"),
        ("anthropic", "claude-opus-5-5@20310101", "claude-opus-5-5"),
        ("anthropic", "claude-opus-5-5-latest", "claude-opus-5-5"),
        ("bedrock", "us.anthropic.claude-opus-5-5-v1:0", "us.anthropic.claude-opus-5-5"),
    ],
)
def test_a_date_or_a_version_mark_leads_to_the_model_itself(provider: str, model: str, name: str) -> None:
    assert found(provider, model) == name


@pytest.mark.parametrize("gateway", ["litellm_proxy", "my-gateway"])
def test_a_gateway_without_prices_of_its_own_passes_the_vendors_on(gateway: str) -> None:
    assert found(gateway, "gpt-4o") == "gpt-4o"
    assert found(gateway, "openai/gpt-4o") == "gpt-4o"
    assert found(gateway, "anthropic/claude-opus-5-5") == "claude-opus-5-5"


def test_a_vendor_with_prices_of_its_own_is_never_given_those_of_another() -> None:
    assert found("groq", "gpt-4o") is None
    assert found("anthropic", "gpt-4o") is None


@pytest.mark.parametrize(
    "model",
    ["gpt-5.9-mini", "gpt-4o-mini-new", "claude-opus", "gpt", "gpt-4o-20", "", "claude-3-5-haiku-20241022x"],
)
def test_a_name_that_only_looks_like_a_known_one_is_not_guessed(model: str) -> None:
    for provider in (None, "openai", "anthropic", "my-gateway"):
        assert found(provider, model) is None


def test_models_that_do_not_chat_are_not_found() -> None:
    assert found("openai", "text-embedding-3-small") is None
    assert "sample_spec" not in packaged_price_map().names()


def test_no_price_of_the_whole_map_is_negative_or_all_zero() -> None:
    whole = packaged_price_map()
    prices = [price for name in whole.names() if (price := _price(whole, name))]
    assert len(prices) > 2000
    for price in prices:
        assert min(price.rates.input, price.rates.output) >= 0
        assert price.by_tokens or price.units
        assert [step for step, _ in price.above] == sorted(step for step, _ in price.above)


def _price(whole: PriceMap, name: str) -> Price | None:
    entry = whole.entry(name)
    return entry and price_from_map(entry.fields)


def test_the_nearest_spelling_wins() -> None:
    entries: dict[str, dict[str, Any]] = {
        name: {"mode": "chat", "litellm_provider": "vendor"}
        for name in ("vendor/m", "m", "m-2026-01-01", "eu.m", "vendor/m-2026-02-02")
    }
    small = PriceMap(entries)
    for asked, expected in [
        ("m", "vendor/m"),
        ("m-2026-01-01", "m-2026-01-01"),
        ("m-2026-02-02", "vendor/m-2026-02-02"),
        ("m-2026-03-03", "vendor/m"),
        ("eu.m", "eu.m"),
        ("us.m", "vendor/m"),
        ("n", None),
    ]:
        entry = small.find("vendor", asked)
        assert (entry and entry.name) == expected
