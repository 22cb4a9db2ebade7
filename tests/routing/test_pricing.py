"""Costs against invoices worked out by hand, and what must hold for every price."""

from dataclasses import asdict, fields, replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.price_entries import price_from_map, price_from_settings
from tierwise.routing.pricing import (
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


def together(one: Usage, other: Usage) -> Usage:
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in TOKEN_COUNTS})


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
        *((getattr(usage, part), Usage(input_tokens=1, **{part: 1})) for part in sent),
        *((getattr(usage, part), Usage(output_tokens=1, **{part: 1})) for part in made),
        (-kept, written),
        (kept, replace(written, cache_write_1h_tokens=1)),
    ]
    assert cost(usage, price) == sum(count * cost(token, price) for count, token in one_by_one)


def whole_nanos(price: Price) -> Price:
    """The price with its rates a thousandfold, so that none has a part of a nano-dollar."""
    known = {name: rate * 1000 for name, rate in asdict(price.rates).items() if rate is not None}
    return Price(rates=Rates(**known))
