"""What requests cost, in integers: rates are pico-USD (1e-12) a token, costs are nano-USD (1e-9)."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from tierwise.routing.money.off_peak import OffPeakHours
from tierwise.routing.money.unit_pricing import UnitPrices, dearest_rates, rates_for, unit_cost
from tierwise.storage.records import Usage

_PICO_PER_NANO = 1000
_UNASKED_TIER = "priority"
"""The dearer service tier that a provider can charge by though the call did not ask for it: where the
project is set to it (platform.openai.com/docs/api-reference/chat/create, service_tier)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """pico-USD a token. A part without a rate of its own costs what its whole costs."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    """Of what is kept for an hour; its whole is `cache_write`."""
    audio_input: int | None = None
    image_input: int | None = None
    reasoning: int | None = None
    audio_output: int | None = None
    image_output: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The rates of one model, with those that depend on the prompt's length, on the service and the hour."""

    rates: Rates
    above: tuple[tuple[int, Rates], ...] = ()
    """(input tokens, rates): a prompt with more tokens than that pays these rates for all of its
    tokens and for the answer, as Anthropic, Google and OpenAI bill it. Ascending."""
    request: int = 0
    """pico-USD for the request itself."""
    service_tiers: tuple[tuple[str, "Price"], ...] = ()
    """By the name that `Usage.service_tier` has. Of these only `rates` and `above` count."""
    off_peak: tuple[OffPeakHours, Rates] | None = None
    """The hours in which these rates replace all others."""
    units: UnitPrices = ()
    """What is billed by the piece where the provider reports no tokens, or has no rates for them."""

    @property
    def by_tokens(self) -> bool:
        """Do tokens have a price?"""
        return bool(self.rates.input or self.rates.output)

    def rates_for(self, usage: Usage, at: int | None = None) -> Rates:
        """Those that hold for `usage` at the instant `at`, in epoch ms; None is a peak hour."""
        if self.off_peak and at is not None and at in self.off_peak[0]:
            return self.off_peak[1]
        price = dict(self.service_tiers).get(usage.service_tier, self)
        chosen = price.rates
        for threshold, rates in price.above:
            if usage.input_tokens > threshold:
                chosen = rates
        return chosen


FREE = Price(rates=Rates(input=0, output=0))
"""Models that run on the user's own machine."""


def cost(usage: Usage, price: Price, at: int | None = None) -> int:
    """What `usage` costs at `price`, in nano-USD, rounded half up once at the end.

    `at` is when the answer was complete, in epoch ms; None is a peak hour.
    """
    return (_pico(usage, price, at) + _PICO_PER_NANO // 2) // _PICO_PER_NANO


def _pico(usage: Usage, price: Price, at: int | None) -> int:
    by_tokens = usage.total_tokens and price.by_tokens
    units = None if by_tokens or not price.units else rates_for(usage.image_form, price.units)
    if units is not None:
        return price.request + unit_cost(usage, units)
    rates = price.rates_for(usage, at)
    cache_write = _or(rates.cache_write, rates.input)
    read = (
        (usage.cache_read_tokens, rates.cache_read),
        (max(usage.cache_write_tokens - usage.cache_write_1h_tokens, 0), cache_write),
        (usage.cache_write_1h_tokens, _or(rates.cache_write_1h, cache_write)),
        (usage.audio_input_tokens, rates.audio_input),
        (usage.image_input_tokens, rates.image_input),
    )
    written = (
        (usage.reasoning_tokens, rates.reasoning),
        (usage.audio_output_tokens, rates.audio_output),
        (usage.image_output_tokens, rates.image_output),
    )
    pico = price.request + _sum(usage.input_tokens, rates.input, read)
    return pico + _sum(usage.output_tokens, rates.output, written)


def most_cost(usage: Usage, price: Price) -> int:
    """What no usage of at most as much costs more than, however its tokens are cached, reasoned with or
    served, and its images made. Audio is only in it where `usage` says so."""
    heard, spoken = usage.audio_input_tokens > 0, usage.audio_output_tokens > 0
    pico = max(
        usage.input_tokens * _highest(*_input_rates(rates), rates.audio_input if heard else 0)
        + usage.output_tokens * _highest(*_output_rates(rates), rates.audio_output if spoken else 0)
        for rates in _possible_rates(price, usage.input_tokens)
    )
    units = dearest_rates(usage.image_form, price.units) if price.units else None
    pico = max(pico, unit_cost(usage, units)) if units else pico
    return -(-(price.request + pico) // _PICO_PER_NANO)


def usd(nano_usd: int) -> float:
    """Nano-USD as the USD that people and JSON read."""
    return nano_usd / 1e9


def nano_usd(dollars: float) -> int:
    """USD as nano-USD."""
    return round(Decimal(repr(dollars)) * 10**9)


def _sum(tokens: int, rate: int, parts: tuple[tuple[int, int | None], ...]) -> int:
    """The pico-USD of a whole and its parts (tokens, rate)."""
    plain = tokens - sum(count for count, _ in parts)
    return max(plain, 0) * rate + sum(count * _or(own, rate) for count, own in parts)


def _possible_rates(price: Price, input_tokens: int) -> Iterator[Rates]:
    for name, tier in (("", price), *price.service_tiers):
        if name in ("", _UNASKED_TIER):
            yield tier.rates
            yield from (rates for threshold, rates in tier.above if input_tokens > threshold)
    if price.off_peak:
        yield price.off_peak[1]


def _input_rates(rates: Rates) -> tuple[int | None, ...]:
    return rates.input, rates.cache_read, rates.cache_write, rates.cache_write_1h, rates.image_input


def _output_rates(rates: Rates) -> tuple[int | None, ...]:
    return rates.output, rates.reasoning, rates.image_output


def _highest(*rates: int | None) -> int:
    return max(rate or 0 for rate in rates)


def _or(rate: int | None, fallback: int) -> int:
    return fallback if rate is None else rate
