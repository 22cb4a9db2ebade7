"""What images, speech and transcriptions are expected to use, and at most."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.catalog.models import Model
from tierwise.routing.media import Audio, ImageTask, MediaTask, SpeechTask, TranscriptionTask
from tierwise.routing.money import pricing
from tierwise.routing.money.consumption import likely_usage, most_cost, most_output_tokens, worst_cost
from tierwise.routing.money.pricing import Price, Rates
from tierwise.routing.money.unit_pricing import UnitRates
from tierwise.routing.request import Message, Payload

MICRO = 1_000_000
BY_TOKENS = Price(rates=Rates(input=5 * MICRO, output=30 * MICRO, image_output=30 * MICRO))
BY_PIECE = Price(
    rates=Rates(input=0, output=0),
    units=(("", UnitRates(image=40_000 * MICRO, audio_second=100 * MICRO, character=15 * MICRO)),),
)


def model(price: Price | None, name: str = "gpt-image-2") -> Model:
    return Model(id=name, provider="openai", name=name, price=price)


def payload(task: MediaTask, text: str = "a cat") -> Payload:
    return Payload(messages=(Message("user", text),) if text else (), task=task)


def recording(seconds: float = 60.0, *, measured: bool = True) -> TranscriptionTask:
    audio = Audio(
        media_type="audio/mpeg", data=b"sound", duration_ms=round(seconds * 1000), measured=measured
    )
    return TranscriptionTask(audio=audio)


OPENAIS: list[tuple[dict[str, Any], int]] = [
    ({"size": "1024x1024", "quality": "high"}, 7024),
    ({"size": "1536x1024", "quality": "high"}, 5488),
    ({"size": "1792x1024", "quality": "high"}, 5063),
    ({"size": "1024x1024", "quality": "medium"}, 1756),
    ({"size": "1024x1024", "quality": "low"}, 196),
    ({"size": "auto", "quality": "auto"}, 1756),
    ({}, 1756),
]
"""For one image, as OpenAI's calculator has them; what is left to the model is taken as usual."""


@pytest.mark.parametrize(("asked", "tokens"), OPENAIS)
def test_an_image_of_openais_is_expected_to_have_the_tokens_of_its_calculator(
    asked: dict[str, Any], tokens: int
) -> None:
    usage = likely_usage(payload(ImageTask(**asked, count=2)), BY_TOKENS, 0)
    assert usage.output_tokens == usage.image_output_tokens == 2 * tokens


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({"size": "1024x1024", "quality": "low"}, 272),
        ({"size": "1024x1536", "quality": "low"}, 408),
        ({"size": "1024x1024", "quality": "medium"}, 1056),
        ({"size": "1024x1536", "quality": "medium"}, 1584),
        ({"size": "1024x1024", "quality": "high"}, 4160),
        ({"size": "1024x1536", "quality": "high"}, 6240),
        ({"size": "1536x1024", "quality": "high"}, 6208),
    ],
)
def test_the_older_models_of_openai_stay_within_the_most(asked: dict[str, Any], tokens: int) -> None:
    most = most_output_tokens(payload(ImageTask(**asked)), model(BY_TOKENS))
    assert tokens <= most < 3 * tokens


def test_where_the_model_chooses_the_most_is_that_of_the_dearest_choice() -> None:
    chosen = most_output_tokens(payload(ImageTask()), model(BY_TOKENS))
    high = most_output_tokens(payload(ImageTask(size="1024x1024", quality="high")), model(BY_TOKENS))
    assert chosen == high == 7024


def test_other_providers_take_no_notice_of_a_low_quality() -> None:
    task = payload(ImageTask(size="1024x1024", quality="low"))
    assert most_output_tokens(task, model(BY_TOKENS, "gemini-3-pro-image")) >= 2520


def test_what_is_billed_by_the_piece_is_expected_to_have_no_tokens() -> None:
    drawn = likely_usage(payload(ImageTask(count=3, quality="low", size="auto")), BY_PIECE, 0)
    assert (drawn.images, drawn.image_form, drawn.total_tokens) == (3, "low/", 0)
    spoken = likely_usage(payload(SpeechTask(), "x" * 150), BY_PIECE, 0)
    assert (spoken.characters, spoken.audio_ms, spoken.total_tokens) == (150, 10_000, 0)
    heard = likely_usage(payload(recording(), ""), BY_PIECE, 0)
    assert (heard.audio_ms, heard.total_tokens) == (60_000, 0)


def test_speech_and_recordings_come_to_tokens_by_the_second() -> None:
    spoken = likely_usage(payload(SpeechTask(), "x" * 150), BY_TOKENS, 0)
    assert spoken.audio_output_tokens == spoken.output_tokens == 250
    heard = likely_usage(payload(recording(), ""), BY_TOKENS, 0)
    assert heard.audio_input_tokens == 60 * 32


def test_a_recording_whose_length_is_unknown_may_be_much_longer() -> None:
    sure, unsure = (
        most_cost(payload(recording(measured=measured), ""), model(BY_PIECE), 0) for measured in (True, False)
    )
    assert (sure, unsure) == (6_000_000, 36_000_000)


def test_the_shortest_recording_may_be_billed_as_ten_seconds() -> None:
    assert most_cost(payload(recording(0.5), ""), model(BY_PIECE), 0) == 1_000_000


def test_without_a_price_nothing_is_said() -> None:
    assert most_cost(payload(ImageTask()), model(None), 0) is None
    assert worst_cost(payload(ImageTask()), model(None), 0) is None


SIZES = st.sampled_from([None, "auto", "1024x1024", "1536x1024", "3840x2160", "64x8192"])
TASKS = st.one_of(
    st.builds(
        ImageTask,
        size=SIZES,
        quality=st.sampled_from([None, "auto", "low", "medium", "high", "xhigh", "max", "hd"]),
        count=st.integers(1, 10),
    ),
    st.builds(SpeechTask),
    st.builds(recording, st.floats(0.001, 7200), measured=st.booleans()),
)


@given(
    task=TASKS,
    text=st.text(min_size=1, max_size=400),
    price=st.sampled_from([BY_TOKENS, BY_PIECE]),
    name=st.sampled_from(["gpt-image-2", "other"]),
)
def test_what_is_expected_never_costs_more_than_the_most(
    task: MediaTask, text: str, price: Price, name: str
) -> None:
    asked, by = payload(task, text), model(price, name)
    most = most_cost(asked, by, most_output_tokens(asked, by))
    assert most is not None
    assert pricing.cost(likely_usage(asked, price, 0), price) <= most
