"""Images, seconds and characters against invoices worked out by hand."""

from decimal import Decimal
from typing import Any

import pytest

from tierwise.routing.unit_pricing import UnitRates, Units, unit_cost, unit_rates

# As the installed litellm's price map has them
WHISPER = {"input_cost_per_second": 0.0001, "output_cost_per_second": 0.0001}
TTS = {"input_cost_per_character": 1.5e-05}
IMAGEN = {"output_cost_per_image": 0.04}
GROK_IMAGINE = {"input_cost_per_image": 0.02}
NANO_BANANA = {"input_cost_per_image": 0.0011, "output_cost_per_image": 0.134}

INVOICES: dict[str, tuple[dict[str, Any], Units, int | None]] = {
    "a second heard is not billed twice": (WHISPER, Units(seconds=Decimal("61.5")), 6_150_000),
    "a character is read out": (TTS, Units(characters=1234), 18_510_000),
    "two images are made": (IMAGEN, Units(images=2), 80_000_000),
    "the only price is that of images made": (GROK_IMAGINE, Units(images=3), 60_000_000),
    "what is sent is free where it has no price": (IMAGEN, Units(images=1, input_images=5), 40_000_000),
    "an image is changed into another": (NANO_BANANA, Units(images=1, input_images=2), 136_200_000),
    "half a nano-dollar is rounded up": (
        {"input_cost_per_character": 5e-10},
        Units(characters=1),
        1,
    ),
    "nothing is used": ({}, Units(), 0),
    "what is used has no price": (TTS, Units(images=1), None),
    "a price of 0 is one that nobody filled in": ({"output_cost_per_image": 0.0}, Units(images=1), None),
}


@pytest.mark.parametrize("name", INVOICES)
def test_a_cost_is_what_the_invoice_says(name: str) -> None:
    entry, units, nano_usd = INVOICES[name]
    assert unit_cost(units, unit_rates(entry)) == nano_usd


def test_an_entry_of_tokens_has_no_rates_by_the_piece() -> None:
    assert unit_rates({"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}) == UnitRates()
