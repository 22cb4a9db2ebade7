"""What tokens cost, in integers: rates are pico-USD (1e-12) a token, costs are nano-USD (1e-9)."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tierwise.routing.providers.base import Usage
from tierwise.routing.settings import ModelPrice

_PICO_PER_USD = Decimal(10) ** 12
_PICO_PER_NANO = 1000
_LONG_CONTEXT = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """pico-USD a token. A part without a rate of its own costs what its whole costs."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The rates of one model, with those for long prompts."""

    rates: Rates
    above: tuple[tuple[int, Rates], ...] = ()
    """(input tokens, rates): a prompt with more tokens than that pays these rates for all of its
    tokens and for the answer, as Anthropic, Google and OpenAI bill it. Ascending."""

    def rates_for(self, input_tokens: int) -> Rates:
        chosen = self.rates
        for threshold, rates in self.above:
            if input_tokens > threshold:
                chosen = rates
        return chosen


FREE = Price(rates=Rates(input=0, output=0))
"""Models that run on the user's own machine."""


def cost(usage: Usage, price: Price) -> int:
    """What `usage` costs at `price`, in nano-USD, rounded half up once at the end."""
    rates = price.rates_for(usage.input_tokens)
    plain_input = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    plain_output = usage.output_tokens - usage.reasoning_tokens
    pico = (
        max(plain_input, 0) * rates.input
        + usage.cache_read_tokens * _or(rates.cache_read, rates.input)
        + usage.cache_write_tokens * _or(rates.cache_write, rates.input)
        + max(plain_output, 0) * rates.output
        + usage.reasoning_tokens * _or(rates.reasoning, rates.output)
    )
    return (pico + _PICO_PER_NANO // 2) // _PICO_PER_NANO


def most_cost(input_tokens: int, output_tokens: int, price: Price) -> int:
    """What no usage of at most so many tokens costs more than, however they are cached or reasoned with."""
    brackets = (price.rates, *(rates for threshold, rates in price.above if input_tokens > threshold))
    pico = max(
        input_tokens * max(rates.input, rates.cache_read or 0, rates.cache_write or 0)
        + output_tokens * max(rates.output, rates.reasoning or 0)
        for rates in brackets
    )
    return -(-pico // _PICO_PER_NANO)


def usd(nano_usd: int) -> float:
    """Nano-USD as the USD that people and JSON read."""
    return nano_usd / 1e9


def nano_usd(dollars: float) -> int:
    """USD as nano-USD."""
    return round(Decimal(repr(dollars)) * 10**9)


def price_from_settings(price: ModelPrice) -> Price:
    """The user's own price, given in USD per million tokens."""

    def rate(per_million: float | None) -> int | None:
        return None if per_million is None else _pico(Decimal(repr(per_million)) / 10**6)

    return Price(
        rates=Rates(
            input=rate(price.input) or 0,
            output=rate(price.output) or 0,
            cache_read=rate(price.cache_read),
            cache_write=rate(price.cache_write),
            reasoning=rate(price.reasoning),
        )
    )


def price_from_map(entry: dict[str, Any]) -> Price | None:
    """The price in an entry of litellm's price map (USD a token), or None where it has none.

    An entry of zeros means that nobody filled it in, so it counts as unknown.
    """
    base = _rates(entry, "", None)
    if base is None or (base.input == 0 and base.output == 0):
        return None
    thresholds = sorted({int(found[1]) for key in entry if (found := _LONG_CONTEXT.fullmatch(key))})
    above: list[tuple[int, Rates]] = []
    for thousands in thresholds:
        rates = _rates(entry, f"_above_{thousands}k_tokens", base)
        if rates is not None:
            above.append((thousands * 1000, rates))
    return Price(rates=base, above=tuple(above))


def _rates(entry: dict[str, Any], suffix: str, base: Rates | None) -> Rates | None:
    def rate(field: str, fallback: int | None) -> int | None:
        value = entry.get(field + suffix)
        return _pico(Decimal(repr(value))) if isinstance(value, int | float) else fallback

    input_rate = rate("input_cost_per_token", base and base.input)
    output_rate = rate("output_cost_per_token", base and base.output)
    if input_rate is None or output_rate is None:
        return None
    return Rates(
        input=input_rate,
        output=output_rate,
        cache_read=rate("cache_read_input_token_cost", base and base.cache_read),
        cache_write=rate("cache_creation_input_token_cost", base and base.cache_write),
        reasoning=rate("output_cost_per_reasoning_token", base and base.reasoning),
    )


def _pico(usd_per_token: Decimal) -> int:
    return round(usd_per_token * _PICO_PER_USD)


def _or(rate: int | None, fallback: int) -> int:
    return fallback if rate is None else rate
