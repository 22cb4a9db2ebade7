"""Images, seconds and characters against invoices worked out by hand."""

from typing import Any

import pytest

from tierwise.routing.catalog.price_map import packaged_price_map
from tierwise.routing.money.price_entries import price_from_map, price_from_settings
from tierwise.routing.money.pricing import Price, cost, most_cost
from tierwise.routing.money.unit_pricing import UnitRates, rates_for
from tierwise.routing.settings import ModelPrice
from tierwise.storage.records import Usage

# As the installed litellm's price map has them
WHISPER = {
    "mode": "audio_transcription",
    "input_cost_per_second": 0.0001,
    "output_cost_per_second": 0.0001,
}
TRANSCRIBE = {
    "mode": "audio_transcription",
    "input_cost_per_second": 5e-05,
    "input_cost_per_token": 1.25e-06,
    "input_cost_per_audio_token": 1.25e-06,
    "output_cost_per_token": 5e-06,
}
TTS = {"mode": "audio_speech", "input_cost_per_character": 1.5e-05}
MINI_TTS = {
    "mode": "audio_speech",
    "input_cost_per_token": 6e-07,
    "output_cost_per_audio_token": 1.2e-05,
    "output_cost_per_token": 1e-05,
    "output_cost_per_second": 0.00025,
}
IMAGEN = {"mode": "image_generation", "output_cost_per_image": 0.04}
GROK_IMAGINE = {"mode": "image_generation", "input_cost_per_image": 0.02}
NANO_BANANA = {
    "mode": "image_generation",
    "input_cost_per_image": 0.0011,
    "output_cost_per_image": 0.134,
    "input_cost_per_token": 2e-06,
    "output_cost_per_token": 1.2e-05,
    "output_cost_per_image_token": 0.00012,
}

INVOICES: dict[str, tuple[dict[str, Any], Usage, int]] = {
    "a second heard is not billed twice": (WHISPER, Usage(audio_ms=61_500), 6_150_000),
    "tokens that the provider counts without billing them": (
        WHISPER,
        Usage(audio_ms=61_500, input_tokens=900, output_tokens=100),
        6_150_000,
    ),
    "tokens where they have a price and are reported": (
        TRANSCRIBE,
        Usage(audio_ms=60_000, input_tokens=600, audio_input_tokens=600, output_tokens=100),
        1_250_000,
    ),
    "seconds where no tokens are reported": (TRANSCRIBE, Usage(audio_ms=60_000), 3_000_000),
    "a character is read out, however long that takes": (
        TTS,
        Usage(characters=1234, audio_ms=82_000),
        18_510_000,
    ),
    "speech by the second, since it reports no tokens": (
        MINI_TTS,
        Usage(characters=1234, audio_ms=82_000),
        20_500_000,
    ),
    "two images are made": (IMAGEN, Usage(images=2), 80_000_000),
    "the only price is that of images made": (GROK_IMAGINE, Usage(images=3), 60_000_000),
    "an image by its tokens": (
        NANO_BANANA,
        Usage(images=1, input_tokens=10, output_tokens=1120, image_output_tokens=1120),
        134_420_000,
    ),
    "an image whose tokens are not told": (NANO_BANANA, Usage(images=1), 134_000_000),
    "nothing is used": (IMAGEN, Usage(), 0),
}


def price_of(entry: dict[str, Any]) -> Price:
    price = price_from_map(entry)
    assert price is not None
    return price


@pytest.mark.parametrize("name", INVOICES)
def test_a_cost_is_what_the_invoice_says(name: str) -> None:
    entry, usage, nano_usd = INVOICES[name]
    assert cost(usage, price_of(entry)) == nano_usd
    assert most_cost(usage, price_of(entry)) >= nano_usd


UNPRICED: dict[str, dict[str, Any]] = {
    "a price of 0 is one that nobody filled in": {"mode": "image_generation", "output_cost_per_image": 0.0},
    "one of what the model does not do": {"mode": "audio_speech", "output_cost_per_image": 0.04},
    "none": {"mode": "audio_speech"},
}


@pytest.mark.parametrize("name", UNPRICED)
def test_what_has_no_price_has_none(name: str) -> None:
    assert price_from_map(UNPRICED[name]) is None


def test_a_chat_model_is_never_priced_by_the_piece() -> None:
    entry = {"mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    assert price_of({**entry, "output_cost_per_image": 0.04, "input_cost_per_second": 0.1}).units == ()


def grok() -> Price:
    entry = packaged_price_map().find("xai", "grok-imagine-image-2.0")
    assert entry is not None
    price = price_from_map(entry.fields, packaged_price_map().forms(entry))
    assert price is not None
    return price


@pytest.mark.parametrize(
    ("form", "nano_usd"),
    [
        ("low/1024x1024", 40_000_000),
        ("low/1024x1536", 40_000_000),
        ("low/", 40_000_000),
        ("medium/1024x1024", 60_000_000),
        ("/1024x1024", 60_000_000),
        ("", 60_000_000),
    ],
)
def test_an_image_costs_what_its_form_does_and_what_others_do_where_that_has_no_price(
    form: str, nano_usd: int
) -> None:
    assert cost(Usage(images=1, image_form=form), grok()) == nano_usd


def test_the_most_for_a_form_that_is_left_to_the_model_is_the_dearest() -> None:
    assert most_cost(Usage(images=1, image_form="low/1024x1024"), grok()) == 40_000_000
    assert most_cost(Usage(images=1), grok()) == 60_000_000


def test_a_model_with_prices_of_forms_alone_has_none_for_the_others() -> None:
    forms = {"low/1024x1024": {"mode": "image_generation", "input_cost_per_image": 0.009}}
    price = price_from_map({"mode": "image_generation"}, forms)
    assert price is not None
    assert cost(Usage(images=2, image_form="low/1024x1024"), price) == 18_000_000
    assert most_cost(Usage(images=2), price) == 18_000_000


def test_a_quality_whose_price_depends_on_the_size_has_none_without_one() -> None:
    entry = packaged_price_map().find("openai", "gpt-image-1.5")
    assert entry is not None
    price = price_from_map(entry.fields, packaged_price_map().forms(entry))
    assert price is not None
    assert rates_for("low/1024x1536", price.units) == UnitRates(image=13_000_000_000)
    assert rates_for("low/", price.units) is None


def test_the_settings_take_a_price_by_the_piece_alone() -> None:
    price = price_from_settings(ModelPrice.model_validate({"image": 0.04}))
    assert cost(Usage(images=3), price) == 120_000_000
    price = price_from_settings(ModelPrice.model_validate({"audio_minute": 0.006}))
    assert cost(Usage(audio_ms=90_000), price) == 9_000_000
    price = price_from_settings(ModelPrice.model_validate({"characters": 15}))
    assert cost(Usage(characters=1000), price) == 15_000_000


@pytest.mark.parametrize(
    ("provider", "model", "form", "nano_usd"),
    [
        ("openai", "gpt-image-1.5", "high/1024x1536", 200_000_000),
        ("openai", "gpt-image-1-mini", "low/1024x1024", 5_000_000),
        ("xai", "grok-imagine-image", "", 20_000_000),
        ("recraft", "recraftv3", "", 40_000_000),
    ],
)
def test_the_installed_map_prices_images(provider: str, model: str, form: str, nano_usd: int) -> None:
    entry = packaged_price_map().find(provider, model)
    assert entry is not None
    price = price_from_map(entry.fields, packaged_price_map().forms(entry))
    assert price is not None
    assert cost(Usage(images=1, image_form=form), price) == nano_usd
