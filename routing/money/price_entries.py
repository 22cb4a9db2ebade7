"""Prices as others write them down: the user's settings, and the entries of litellm's price map."""

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tierwise.routing.money.off_peak import OffPeakHours, off_peak_hours
from tierwise.routing.money.pricing import Price, Rates
from tierwise.routing.money.unit_pricing import UnitPrices, UnitRates
from tierwise.routing.settings import ModelPrice, PartPrices, StepPrice

_PICO_PER_USD = Decimal(10) ** 12
_FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "audio_input": "input_cost_per_audio_token",
    "image_input": "input_cost_per_image_token",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_output": "output_cost_per_audio_token",
    "image_output": "output_cost_per_image_token",
}
"""What the map calls the rates, in USD a token."""
_TIERS = {
    "batch": "_batches",
    "flex": "_flex",
    "balanced": "_balanced",
    "priority": "_priority",
    "ultrafast": "_ultrafast",
}
"""What the map appends to a field for a service tier."""
_UNIT_FIELDS = {
    "image_generation": {"image": ("output_cost_per_image", "input_cost_per_image")},
    "audio_transcription": {"audio_second": ("input_cost_per_second", "output_cost_per_second")},
    "audio_speech": {
        "character": ("input_cost_per_character",),
        "audio_second": ("output_cost_per_second",),
    },
}
"""By the map's mode, what it calls the prices by the piece; the first that is there counts. One of input
images alone means those that are made."""
_LONG_CONTEXT = re.compile(rf"{_FIELDS['input']}(_above_(\d+)k_tokens)")
_INCLUSIVE = "xai"
"""The provider whose higher rates begin with the threshold itself, as litellm's cost calculator has it."""

_Fields = Mapping[str, Any]
_Forms = Mapping[str, _Fields]
_Steps = tuple[tuple[int, Rates], ...]
_NO_FORMS: _Forms = {}


def price_from_settings(price: ModelPrice) -> Price:
    """The user's own price, given in USD per million tokens."""
    rates = Rates(
        input=_pico(price.input, tokens=10**6), output=_pico(price.output, tokens=10**6), **_parts(price)
    )
    return Price(
        rates=rates,
        above=tuple((tokens, _step(step, rates)) for tokens, step in sorted(price.above.items())),
        request=_pico(price.request),
        service_tiers=tuple(
            (name, Price(rates=_step(tier, rates))) for name, tier in price.service_tiers.items()
        ),
        units=_units_from_settings(price),
    )


def price_from_map(entry: _Fields, forms: _Forms = _NO_FORMS) -> Price | None:
    """The price in an entry of litellm's price map (USD a token), or None where it has none.

    An entry of zeros means that nobody filled it in, so it counts as unknown. `forms` are the entries
    for single forms of image, see `Usage.image_form`.
    """
    units = _units({"": entry, **forms})
    by_tokens = _price_of_tokens(entry)
    if by_tokens:
        return replace(by_tokens, units=units)
    return Price(rates=_NOTHING, units=units) if units else None


def _price_of_tokens(entry: _Fields) -> Price | None:
    first, *steps = sorted(
        (step for step in entry.get("tiered_pricing", ()) if "range" in step), key=_start
    ) or [{}]
    entry = {**entry, **first}
    if entry.get(_FIELDS["reasoning"]) == entry.get(_FIELDS["output"]):
        entry.pop(_FIELDS["reasoning"], None)  # so that it follows the output's rate into every service tier
    rates = _rates((entry, ""))
    if rates is None or not (rates.input or rates.output):
        return None
    stepped = ((_start(step), _rates((step, ""))) for step in steps)
    tiers = ((name, _tier(entry, suffix)) for name, suffix in _TIERS.items())
    return Price(
        rates=rates,
        above=(*_long_context(entry, rates), *((start, dearer) for start, dearer in stepped if dearer)),
        request=_pico(_request_fee(entry)),
        service_tiers=tuple((name, tier) for name, tier in tiers if tier),
        off_peak=_off_peak(entry, rates),
    )


def _units(forms: _Forms) -> UnitPrices:
    priced = ((form, _unit_rates(entry)) for form, entry in forms.items())
    return tuple((form, rates) for form, rates in priced if rates != UnitRates())


def _unit_rates(entry: _Fields) -> UnitRates:
    wanted = _UNIT_FIELDS.get(entry.get("mode", ""), {})
    found = {name: [entry[field] for field in fields if entry.get(field)] for name, fields in wanted.items()}
    return UnitRates(**{name: _pico(values[0]) for name, values in found.items() if values})


def _units_from_settings(price: ModelPrice) -> UnitPrices:
    rates = UnitRates(
        image=_pico(price.image),
        audio_second=_pico(price.audio_minute, tokens=60),
        character=_pico(price.characters, tokens=10**6),
    )
    return (("", rates),) if rates != UnitRates() else ()


def _step(price: StepPrice, base: Rates) -> Rates:
    given = {"input": _optional(price.input), "output": _optional(price.output), **_parts(price)}
    return replace(base, **{name: rate for name, rate in given.items() if rate is not None})


def _parts(price: PartPrices) -> dict[str, int | None]:
    return {name: _optional(getattr(price, name)) for name in PartPrices.model_fields}


def _optional(per_million: float | None) -> int | None:
    return None if per_million is None else _pico(per_million, tokens=10**6)


def _rates(*places: tuple[_Fields, str], base: Rates | None = None) -> Rates | None:
    """Each rate from the first of `places`, fields and what is appended to their names, that has it;
    else that of `base`."""
    found: dict[str, Any] = {name: getattr(base, name, None) for name in _FIELDS}
    for fields, suffix in reversed(places):
        for name, field in _FIELDS.items():
            value = fields.get(field + suffix)
            if isinstance(value, int | float):
                found[name] = _pico(value)
    if found["output"] is None:
        found["output"] = found["image_output"]  # a model that only draws
    return None if None in (found["input"], found["output"]) else Rates(**found)


def _long_context(entry: _Fields, base: Rates, tier: str = "") -> _Steps:
    keys = sorted({(int(found[2]), found[1]) for key in entry if (found := _LONG_CONTEXT.fullmatch(key))})
    reached = 1 if entry.get("litellm_provider") == _INCLUSIVE else 0
    steps = ((1000 * k - reached, _rates((entry, key + tier), (entry, key), base=base)) for k, key in keys)
    return tuple((threshold, rates) for threshold, rates in steps if rates)


def _tier(entry: _Fields, suffix: str) -> Price | None:
    """What the service tier costs, if the map says so; what it does not name costs what it does without."""
    rates = _rates((entry, suffix), (entry, ""))
    if rates is None or not any(_FIELDS[name] + suffix in entry for name in ("input", "output")):
        return None
    return Price(rates=rates, above=_long_context(entry, rates, suffix))


def _off_peak(entry: _Fields, base: Rates) -> tuple[OffPeakHours, Rates] | None:
    fields: _Fields = entry.get("off_peak_pricing", {})
    if not fields:
        return None
    try:
        hours = off_peak_hours(fields)
    except (ValueError, KeyError, TypeError):
        return None  # a form that is not known yet: the dearer price stands
    rates = _rates((fields, ""), base=base)
    return rates and (hours, rates)


def _request_fee(entry: _Fields) -> float:
    """USD for a request. Every one of Perplexity's models searches, at its default for `low` context."""
    searches: _Fields = entry.get("search_context_cost_per_query", {})
    fee: float = searches.get("search_context_size_low", 0)
    return entry.get("input_cost_per_request", fee if entry.get("litellm_provider") == "perplexity" else 0)


def _start(step: _Fields) -> int:
    return int(step["range"][0])


def _pico(usd: float, *, tokens: int = 1) -> int:
    """`usd` for so many tokens, or other units, in pico-USD for one."""
    return round(Decimal(repr(usd)) / tokens * _PICO_PER_USD)


_NOTHING = Rates(input=0, output=0)
