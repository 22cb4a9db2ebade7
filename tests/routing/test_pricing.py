"""Costs against invoices worked out by hand, and what must hold for every price."""

from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.money.price_entries import price_from_map, price_from_settings
from tierwise.routing.money.pricing import (
    FREE,
    Price,
    Rates,
    cost,
    nano_usd,
    usd,
)
from tierwise.routing.settings import ModelPrice
from tierwise.storage.records import TOKEN_COUNTS, Usage

# USD per million tokens, as the price lists of 2026 print them
SONNET = {
    "input_cost_per_token": 3e-6,
    "output_cost_per_token": 15e-6,
    "cache_read_input_token_cost": 0.3e-6,
    "cache_creation_input_token_cost": 3.75e-6,
    "input_cost_per_token_above_200k_tokens": 6e-6,
    "output_cost_per_token_above_200k_tokens": 22.5e-6,
    "cache_read_input_token_cost_above_200k_tokens": 0.6e-6,
    "cache_creation_input_token_cost_above_200k_tokens": 7.5e-6,
}
FLASH = {
    "input_cost_per_token": 0.3e-6,
    "output_cost_per_token": 2.5e-6,
    "output_cost_per_reasoning_token": 3.5e-6,
}
TWO_STEPS = {
    "input_cost_per_token": 1e-6,
    "output_cost_per_token": 2e-6,
    "input_cost_per_token_above_128k_tokens": 2e-6,
    "input_cost_per_token_above_1000k_tokens": 4e-6,
    "output_cost_per_token_above_1000k_tokens": 8e-6,
}
OPUS = {
    "input_cost_per_token": 4e-6,
    "output_cost_per_token": 20e-6,
    "cache_creation_input_token_cost": 5e-6,
    "cache_creation_input_token_cost_above_1hr": 8e-6,
    "cache_creation_input_token_cost_above_200k_tokens": 10e-6,
    "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 16e-6,
    "input_cost_per_token_above_200k_tokens": 8e-6,
    "input_cost_per_token_batches": 2e-6,
    "output_cost_per_token_batches": 10e-6,
}
GPT = {
    "input_cost_per_token": 5e-6,
    "output_cost_per_token": 30e-6,
    "cache_read_input_token_cost": 0.5e-6,
    "cache_read_input_token_cost_flex": 0.25e-6,
    "input_cost_per_token_flex": 2.5e-6,
    "output_cost_per_token_flex": 15e-6,
    "input_cost_per_token_above_272k_tokens": 10e-6,
    "input_cost_per_token_above_272k_tokens_flex": 5e-6,
    "output_cost_per_token_above_272k_tokens": 45e-6,
    "input_cost_per_token_priority": 12.5e-6,
    "output_cost_per_token_priority": 75e-6,
}
FLASH_LITE = {
    "input_cost_per_token": 0.3e-6,
    "output_cost_per_token": 2.5e-6,
    "output_cost_per_reasoning_token": 2.5e-6,
    "input_cost_per_audio_token": 1e-6,
    "output_cost_per_token_flex": 1.25e-6,
}
AUDIO = {
    "input_cost_per_token": 2.5e-6,
    "output_cost_per_token": 10e-6,
    "input_cost_per_audio_token": 32e-6,
    "output_cost_per_audio_token": 64e-6,
}
DRAWING = {
    "input_cost_per_token": 5e-6,
    "input_cost_per_image_token": 10e-6,
    "output_cost_per_image_token": 40e-6,
}
SONAR = {
    "litellm_provider": "perplexity",
    "input_cost_per_token": 1e-6,
    "output_cost_per_token": 1e-6,
    "search_context_cost_per_query": {"search_context_size_low": 0.005, "search_context_size_high": 0.012},
}
SEARCHING = {**SONAR, "litellm_provider": "openai"}
PER_REQUEST = {
    "input_cost_per_token": 0.0,
    "output_cost_per_token": 2.8e-6,
    "input_cost_per_request": 0.005,
}
GROK = {
    "litellm_provider": "xai",
    "input_cost_per_token": 2e-6,
    "output_cost_per_token": 10e-6,
    "input_cost_per_token_above_200k_tokens": 4e-6,
}
QWEN = {
    "tiered_pricing": [
        {"range": [32_000.0, 128_000.0], "input_cost_per_token": 2.4e-6, "output_cost_per_token": 12e-6},
        {"range": [0, 32_000.0], "input_cost_per_token": 1.2e-6, "output_cost_per_token": 6e-6},
        {"range": [128_000.0, 252_000.0], "input_cost_per_token": 3e-6, "output_cost_per_token": 15e-6},
    ]
}

INVOICES = {
    "plain": (SONNET, Usage(input_tokens=1000, output_tokens=500), "0.0105"),
    "a cached part is cheaper and not counted twice": (
        SONNET,
        Usage(input_tokens=10_000, cache_read_tokens=9_000, output_tokens=100),
        "0.0072",  # 1,000 * 3 + 9,000 * 0.3 + 100 * 15
    ),
    "a part written to the cache is dearer": (
        SONNET,
        Usage(input_tokens=10_000, cache_write_tokens=8_000, cache_read_tokens=1_000, output_tokens=100),
        "0.0348",  # 1,000 * 3 + 8,000 * 3.75 + 1,000 * 0.3 + 100 * 15
    ),
    "just at the threshold the low rates hold": (
        SONNET,
        Usage(input_tokens=200_000, output_tokens=1000),
        "0.615",
    ),
    "one token above it all tokens pay the high ones": (
        SONNET,
        Usage(input_tokens=200_001, output_tokens=1000),
        "1.222506",  # 200,001 * 6 + 1,000 * 22.5
    ),
    "above it the cached parts have their own high rates": (
        SONNET,
        Usage(input_tokens=300_000, cache_read_tokens=200_000, cache_write_tokens=50_000),
        "0.795",  # 50,000 * 6 + 200,000 * 0.6 + 50,000 * 7.5
    ),
    "cached tokens count towards the threshold": (
        SONNET,
        Usage(input_tokens=200_001, cache_read_tokens=200_001),
        "0.1200006",
    ),
    "reasoning has its own rate and is not counted twice": (
        FLASH,
        Usage(input_tokens=1000, output_tokens=1000, reasoning_tokens=800),
        "0.0036",  # 1,000 * 0.3 + 200 * 2.5 + 800 * 3.5
    ),
    "reasoning without a rate costs what output costs": (
        SONNET,
        Usage(output_tokens=1000, reasoning_tokens=800),
        "0.015",
    ),
    "caching without a rate costs what input costs": (
        FLASH,
        Usage(input_tokens=1000, cache_read_tokens=400, cache_write_tokens=400),
        "0.0003",
    ),
    "the second of two steps": (
        TWO_STEPS,
        Usage(input_tokens=2_000_000, output_tokens=1000),
        "8.008",
    ),
    "a step that names no output rate keeps the low one": (
        TWO_STEPS,
        Usage(input_tokens=200_000, output_tokens=1000),
        "0.402",
    ),
    "a part kept for an hour is dearer than the rest that is written to the cache": (
        OPUS,
        Usage(input_tokens=3000, cache_write_tokens=2000, cache_write_1h_tokens=1500, output_tokens=100),
        "0.0205",  # 1,000 * 4 + 500 * 5 + 1,500 * 8 + 100 * 20
    ),
    "and dearer still in a long prompt": (
        OPUS,
        Usage(input_tokens=201_000, cache_write_tokens=2000, cache_write_1h_tokens=1500),
        "1.621",  # 199,000 * 8 + 500 * 10 + 1,500 * 16
    ),
    "half of it in a batch": (
        OPUS,
        Usage(input_tokens=1000, output_tokens=100, service_tier="batch"),
        "0.003",  # 1,000 * 2 + 100 * 10
    ),
    "flex": (
        GPT,
        Usage(input_tokens=1000, cache_read_tokens=400, output_tokens=100, service_tier="flex"),
        "0.0031",  # 600 * 2.5 + 400 * 0.25 + 100 * 15
    ),
    "flex in a long prompt, for what it names and for what it does not": (
        GPT,
        Usage(input_tokens=300_000, output_tokens=100, service_tier="flex"),
        "1.5045",  # 300,000 * 5 + 100 * 45
    ),
    "priority, with no rate of its own for the cache": (
        GPT,
        Usage(input_tokens=1000, cache_read_tokens=400, output_tokens=100, service_tier="priority"),
        "0.0152",  # 600 * 12.5 + 400 * 0.5 + 100 * 75
    ),
    "a service tier that has no price of its own": (
        GPT,
        Usage(input_tokens=1000, output_tokens=100, service_tier="ultrafast"),
        "0.008",  # 1,000 * 5 + 100 * 30
    ),
    "reasoning that costs what output does follows it into flex": (
        FLASH_LITE,
        Usage(output_tokens=1000, reasoning_tokens=800, service_tier="flex"),
        "0.00125",  # 1,000 * 1.25
    ),
    "audio in and out": (
        AUDIO,
        Usage(input_tokens=500, audio_input_tokens=400, output_tokens=250, audio_output_tokens=200),
        "0.02635",  # 100 * 2.5 + 400 * 32 + 50 * 10 + 200 * 64
    ),
    "audio in a service tier that has no rate for it": (
        FLASH_LITE,
        Usage(input_tokens=500, audio_input_tokens=400, service_tier="flex"),
        "0.00043",  # 100 * 0.3 + 400 * 1
    ),
    "images in and out of a model that only draws": (
        DRAWING,
        Usage(input_tokens=1000, image_input_tokens=900, output_tokens=2000, image_output_tokens=2000),
        "0.0895",  # 100 * 5 + 900 * 10 + 2,000 * 40
    ),
    "Perplexity's search": (SONAR, Usage(input_tokens=1000, output_tokens=200), "0.0062"),
    "a search that others make only if they are asked": (
        SEARCHING,
        Usage(input_tokens=1000, output_tokens=200),
        "0.0012",
    ),
    "a price for the request": (PER_REQUEST, Usage(input_tokens=1000, output_tokens=1000), "0.0078"),
    "just below xAI's threshold": (GROK, Usage(input_tokens=199_999), "0.399998"),
    "at xAI's threshold the high rates begin": (GROK, Usage(input_tokens=200_000), "0.8"),
    "the first of Qwen's steps": (QWEN, Usage(input_tokens=32_000, output_tokens=1000), "0.0444"),
    "its second": (QWEN, Usage(input_tokens=32_001, output_tokens=1000), "0.0888024"),
    "beyond its last": (QWEN, Usage(input_tokens=300_000, output_tokens=1000), "0.915"),
    "nothing": (SONNET, Usage(), "0"),
}


@pytest.mark.parametrize("name", INVOICES)
def test_a_cost_is_what_the_invoice_says(name: str) -> None:
    entry, usage, dollars = INVOICES[name]
    price = price_from_map(entry)
    assert price is not None
    assert cost(usage, price) == Fraction(dollars) * 10**9


@pytest.mark.parametrize(
    ("pico", "tokens", "expected"), [(499, 1, 0), (500, 1, 1), (1499, 1, 1), (1500, 1, 2), (333, 3, 1)]
)
def test_a_cost_is_rounded_half_up_once_at_the_end(pico: int, tokens: int, expected: int) -> None:
    assert cost(Usage(input_tokens=tokens), Price(rates=Rates(input=pico, output=0))) == expected


def test_the_price_of_the_settings_is_in_dollars_per_million_tokens() -> None:
    price = price_from_settings(
        ModelPrice(input=2.5, output=10, cache_read=1.25, cache_write=0, reasoning=12)
    )
    assert price == Price(
        rates=Rates(
            input=2_500_000, output=10_000_000, cache_read=1_250_000, cache_write=0, reasoning=12_000_000
        )
    )
    assert cost(Usage(input_tokens=1_000_000), price) == 2_500_000_000


def test_a_price_of_zero_in_the_settings_is_a_price() -> None:
    assert price_from_settings(ModelPrice(input=0, output=0)) == FREE
    assert cost(Usage(input_tokens=10**6, output_tokens=10**6), FREE) == 0


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"input_cost_per_token": 1e-6},
        {"output_cost_per_token": 1e-6},
        {"input_cost_per_token": 0, "output_cost_per_token": 0.0},
        {"input_cost_per_token": None, "output_cost_per_token": "free"},
        {"input_cost_per_second": 0.001, "output_cost_per_second": 0.001},
    ],
)
def test_an_entry_without_both_prices_or_with_zeros_has_no_known_price(entry: dict[str, object]) -> None:
    assert price_from_map(entry) is None


def test_the_settings_may_say_what_long_prompts_service_tiers_and_requests_cost() -> None:
    price = price_from_settings(
        ModelPrice.model_validate(
            {
                "input": 2,
                "output": 10,
                "cache_read": 0.2,
                "request": 0.001,
                "above": {"200000": {"input": 4}, "100000": {"output": 15}},
                "service_tiers": {"flex": {"input": 1, "output": 5}},
            }
        )
    )
    assert cost(Usage(input_tokens=1000), price) == 3_000_000  # 1,000 + 1,000 * 2
    assert cost(Usage(input_tokens=100_001, output_tokens=100), price) == 202_502_000  # … + 100 * 15
    assert cost(Usage(input_tokens=200_001, output_tokens=100), price) == 802_004_000  # * 4 + 100 * 10
    assert cost(Usage(input_tokens=1000, output_tokens=100, service_tier="flex"), price) == 2_500_000


DEEPSEEK: dict[str, Any] = {
    "input_cost_per_token": 0.3e-6,
    "output_cost_per_token": 1.2e-6,
    "cache_read_input_token_cost": 0.006e-6,
    "off_peak_pricing": {
        "input_cost_per_token": 0.15e-6,
        "output_cost_per_token": 0.6e-6,
        "windows": [
            {"hours_utc": ["00:00-01:00", "10:00-00:00"], "weekdays": [1, 2, 3, 4, 5]},
            {"hours_utc": "00:00-00:00", "weekdays": [6, 7]},
        ],
    },
}
PEAK, OFF_PEAK = 420_000, 210_000  # 1,000 * 0.3 + 100 * 1.2, and half of it


@pytest.mark.parametrize(
    ("moment", "nano_usd"),
    [
        ("2026-11-20T00:59:59", OFF_PEAK),  # a Friday
        ("2026-11-20T01:00:00", PEAK),
        ("2026-11-20T09:59:59", PEAK),
        ("2026-11-20T10:00:00", OFF_PEAK),
        ("2026-11-20T23:59:59", OFF_PEAK),
        ("2026-11-21T03:00:00", OFF_PEAK),  # a Saturday
        ("2026-11-23T03:00:00", PEAK),
        (None, PEAK),
    ],
)
def test_off_peak_hours_are_cheaper(moment: str | None, nano_usd: int) -> None:
    price = price_from_map(DEEPSEEK)
    assert price is not None
    at = moment and int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000)
    assert cost(Usage(input_tokens=1000, output_tokens=100), price, at or None) == nano_usd


def test_off_peak_weekdays_are_those_of_the_zone_that_is_named() -> None:
    rule = {"hours_utc": "00:00-00:00", "weekdays": [6, 7]}
    fields: dict[str, Any] = {**DEEPSEEK["off_peak_pricing"], "windows": [rule]}
    fields["weekday_timezone"] = "Asia/Shanghai"
    price = price_from_map({**DEEPSEEK, "off_peak_pricing": fields})
    assert price is not None
    friday_evening = int(datetime(2026, 11, 20, 16, tzinfo=UTC).timestamp() * 1000)
    usage = Usage(input_tokens=1000, output_tokens=100)
    assert cost(usage, price, friday_evening) == OFF_PEAK
    assert cost(usage, price, friday_evening - 1) == PEAK


UNREADABLE: list[dict[str, Any]] = [
    {"windows": [{}]},
    {"hours_utc": "soon"},
    {"hours_utc": "25:00-26:00"},
    {"hours_utc": 7},
]


@pytest.mark.parametrize("fields", UNREADABLE)
def test_off_peak_hours_that_cannot_be_read_leave_the_dearer_price(fields: dict[str, Any]) -> None:
    price = price_from_map({**DEEPSEEK, "off_peak_pricing": fields})
    assert price is not None
    assert cost(Usage(input_tokens=1000, output_tokens=100), price, 0) == PEAK


def test_dollars_and_nano_dollars_convert_without_drift() -> None:
    assert nano_usd(0.1) + nano_usd(0.2) == nano_usd(0.3) == 300_000_000
    assert usd(nano_usd(1234.567890123)) == 1234.567890123


# What holds for every price and usage

rates = st.integers(0, 10**9)
PARTS = [field.name for field in fields(Rates) if field.name not in ("input", "output")]
some_rates = st.builds(Rates, input=rates, output=rates, **{part: st.none() | rates for part in PARTS})
prices = st.builds(
    Price,
    rates=some_rates,
    above=st.lists(
        st.tuples(st.integers(1, 10**6), some_rates), max_size=2, unique_by=lambda step: step[0]
    ).map(lambda steps: tuple(sorted(steps, key=lambda step: step[0]))),
)
flat_prices = st.builds(Price, rates=some_rates)
counts = st.integers(0, 2 * 10**6)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    read, write, kept, heard, seen, plain = (draw(counts) for _ in range(6))
    reasoning, spoken, drawn, words = (draw(counts) for _ in range(4))
    return Usage(
        input_tokens=read + write + kept + heard + seen + plain,
        output_tokens=reasoning + spoken + drawn + words,
        cache_read_tokens=read,
        cache_write_tokens=write + kept,
        cache_write_1h_tokens=kept,
        audio_input_tokens=heard,
        image_input_tokens=seen,
        reasoning_tokens=reasoning,
        audio_output_tokens=spoken,
        image_output_tokens=drawn,
    )


def tokens(**counts: Any) -> Usage:
    return Usage(**counts)


def together(one: Usage, other: Usage) -> Usage:
    return tokens(**{name: getattr(one, name) + getattr(other, name) for name in TOKEN_COUNTS})


@given(usages(), prices)
def test_a_cost_is_never_negative(usage: Usage, price: Price) -> None:
    assert cost(usage, price) >= 0


@given(st.builds(Usage, **dict.fromkeys(TOKEN_COUNTS, counts)), prices)
def test_a_cost_is_never_negative_even_if_the_parts_exceed_the_whole(usage: Usage, price: Price) -> None:
    assert cost(usage, price) >= 0


@given(usages(), usages(), flat_prices)
def test_more_tokens_never_cost_less(one: Usage, other: Usage, price: Price) -> None:
    assert cost(together(one, other), price) >= max(cost(one, price), cost(other, price))


@given(usages(), counts, prices)
def test_a_longer_answer_never_costs_less_at_any_price(usage: Usage, more: int, price: Price) -> None:
    assert cost(together(usage, Usage(output_tokens=more)), price) >= cost(usage, price)


@given(usages(), usages(), flat_prices)
def test_two_invoices_add_up_to_their_sum_but_for_rounding(one: Usage, other: Usage, price: Price) -> None:
    apart = cost(one, price) + cost(other, price)
    assert abs(cost(together(one, other), price) - apart) <= 1


@given(usages(), flat_prices.map(lambda price: whole_nanos(price)))
def test_rates_of_whole_nano_dollars_are_charged_without_any_rounding(usage: Usage, price: Price) -> None:
    sent = ("cache_read_tokens", "cache_write_tokens", "audio_input_tokens", "image_input_tokens")
    made = ("reasoning_tokens", "audio_output_tokens", "image_output_tokens")
    plain_input = usage.input_tokens - sum(getattr(usage, part) for part in sent)
    plain_output = usage.output_tokens - sum(getattr(usage, part) for part in made)
    kept = usage.cache_write_1h_tokens
    written = Usage(input_tokens=1, cache_write_tokens=1)
    one_by_one = [
        (plain_input, Usage(input_tokens=1)),
        (plain_output, Usage(output_tokens=1)),
        *((getattr(usage, part), tokens(input_tokens=1, **{part: 1})) for part in sent),
        *((getattr(usage, part), tokens(output_tokens=1, **{part: 1})) for part in made),
        (-kept, written),
        (kept, replace(written, cache_write_1h_tokens=1)),
    ]
    assert cost(usage, price) == sum(count * cost(token, price) for count, token in one_by_one)


def whole_nanos(price: Price) -> Price:
    """The price with its rates a thousandfold, so that none has a part of a nano-dollar."""
    known = {name: rate * 1000 for name, rate in asdict(price.rates).items() if rate is not None}
    return Price(rates=Rates(**known))
