"""What images, transcriptions and speech cost where they are billed by the piece, and not by tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

_NANO_PER_USD = Decimal(10) ** 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """What one request used."""

    images: int = 0
    """That were made."""
    input_images: int = 0
    """That were sent."""
    seconds: Decimal = Decimal(0)
    """Of audio, heard or spoken."""
    characters: int = 0
    """That were read out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRates:
    """USD for one of each of the `Units`; None where the provider does not bill by it."""

    images: Decimal | None = None
    input_images: Decimal | None = None
    seconds: Decimal | None = None
    characters: Decimal | None = None


def unit_rates(entry: Mapping[str, Any]) -> UnitRates:
    """Those in an entry of litellm's price map, where a rate of 0 is one that nobody filled in.

    Where an entry has only a price for input images, it means those that are made, and where it has one
    for seconds on both sides, it means the same seconds.
    """

    def rate(*fields: str) -> Decimal | None:
        return next((Decimal(repr(value)) for field in fields if (value := entry.get(field))), None)

    made = rate("output_cost_per_image")
    return UnitRates(
        images=made or rate("input_cost_per_image"),
        input_images=rate("input_cost_per_image") if made else None,
        seconds=rate("output_cost_per_second", "input_cost_per_second"),
        characters=rate("input_cost_per_character"),
    )


def unit_cost(units: Units, rates: UnitRates) -> int | None:
    """What `units` cost in nano-USD, rounded half up once at the end; None if a rate of theirs is missing.

    Images that are sent cost nothing where they have no rate.
    """
    billed = (
        (units.images, rates.images),
        (units.input_images, rates.input_images or Decimal(0)),
        (units.seconds, rates.seconds),
        (units.characters, rates.characters),
    )
    if any(count and rate is None for count, rate in billed):
        return None
    dollars = sum((count * rate for count, rate in billed if rate is not None), Decimal(0))
    return int((dollars * _NANO_PER_USD).to_integral_value(ROUND_HALF_UP))
