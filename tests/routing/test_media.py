"""Images, speech and transcriptions, from the plan to the ledger, over the wires of their providers."""

import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from aiohttp import web

from tests.fake_provider import MP3, PNG, Behaviour, Exchange, FakeProvider, ok, refusal, status
from tests.routing.bench import MARKS, PATIENCE, Bench, Gate, answer_of, litellm, rules, running
from tierwise.routing.audio import audio_type, duration_ms
from tierwise.routing.calls import Receipt
from tierwise.routing.errors import (
    AllCandidatesFailed,
    BudgetExceeded,
    InvalidRequest,
    NoCandidate,
    RequestRejected,
)
from tierwise.routing.media import Audio, ImageTask, MediaTask, SpeechTask, TranscriptionTask
from tierwise.routing.request import ChatRequest, Message
from tierwise.routing.settings import MediaModels, ModelPrice, ProviderSettings, RoutingSettings
from tierwise.storage.budgets import AtLimit, Budget, BudgetPeriod
from tierwise.storage.errors import TierwiseError
from tierwise.storage.ports import Store
from tierwise.storage.records import CallStatus

pytestmark = MARKS

ONE_IMAGE = ImageTask(size="1024x1024", quality="low")
KEYS = {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k", "XAI_API_KEY": "k", "GROQ_API_KEY": "k"}
PRICES = {
    "fake/brush": ModelPrice(input=0, output=0, image=0.04),
    "fake/pencil": ModelPrice(input=0, output=0, image=0.01),
    "fake/chalk": ModelPrice(input=5, output=10, image_output=30),
    "fake/ear": ModelPrice(input=0, output=0, audio_minute=0.006),
    "fake/voice": ModelPrice(input=0, output=0, characters=15),
}
DRAWS = RoutingSettings(media=MediaModels(image=("fake/brush", "fake/pencil")))


def heard(data: bytes = MP3 * 1000, *, measured: bool = True) -> TranscriptionTask:
    length = duration_ms(data, "audio/mpeg") or 0
    return TranscriptionTask(
        audio=Audio(media_type="audio/mpeg", data=data, duration_ms=length, measured=measured)
    )


def request(task: MediaTask, prompt: str = "a cat", **more: Any) -> ChatRequest:
    return ChatRequest(prompt=prompt, task=task, operation=task.modality.value, **more)


async def make(bench: Bench, task: MediaTask, prompt: str = "a cat", **more: Any) -> Receipt:
    return await answer_of(await bench.engine.start(request(task, prompt, **more)))


async def failure(bench: Bench, task: MediaTask, prompt: str = "a cat", **more: Any) -> TierwiseError:
    with pytest.raises(TierwiseError) as caught:
        await make(bench, task, prompt, **more)
    return caught.value


@asynccontextmanager
async def media_bench(
    fake: FakeProvider, store: Store, environ: Mapping[str, str] | None = None, **changes: Any
) -> AsyncGenerator[Bench]:
    """An engine whose providers are all the fake one, each on its own wire."""
    providers = {
        name: ProviderSettings(api_base=fake.gemini_url if name == "gemini" else fake.url)
        for name in ("fake", "openai", "gemini", "xai", "groq", "mistral")
    }
    values: dict[str, Any] = {
        "litellm": litellm(fake, providers=providers),
        "routing": DRAWS,
        "pricing": PRICES,
    }
    async with running(fake, store, environ or {}, **values | changes) as bench:
        yield bench


def body(answer: Any) -> Behaviour:
    """An answer with this body, whatever was asked."""

    async def give(exchange: Exchange) -> web.StreamResponse:
        return web.json_response(answer)

    return give


def image(data: bytes = PNG) -> dict[str, str]:
    return {"b64_json": base64.b64encode(data).decode()}


def gemini(part: dict[str, Any], kind: str, tokens: int) -> Behaviour:
    """One part that is no text, and what it took."""
    details = [{"modality": kind, "tokenCount": tokens}]
    usage = {"promptTokenCount": 5, "candidatesTokenCount": tokens, "candidatesTokensDetails": details}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    return body({"candidates": [candidate], "usageMetadata": {**usage, "totalTokenCount": 5 + tokens}})


def inline(data: bytes, kind: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": kind, "data": base64.b64encode(data).decode()}}


# Who is asked


async def test_the_cheapest_for_what_is_asked_is_the_first_of_those_with_keys(
    fake: FakeProvider, store: Store
) -> None:
    async with media_bench(fake, store, KEYS, routing=RoutingSettings()) as bench:

        async def order(task: MediaTask) -> list[str]:
            return [it.model.id for it in (await bench.engine.plan(request(task))).candidates]

        # $0.006 by OpenAI's tokens for a low quality, $0.02 and $0.034 an image for whatever quality
        assert await order(ONE_IMAGE) == [
            "openai/gpt-image-2.5-flare",
            "xai/grok-imagine-image",
            "gemini/gemini-3.1-flash-lite-image",
        ]
        assert (await order(replace(ONE_IMAGE, quality="high")))[-1] == "openai/gpt-image-2.5-flare"
        assert (await order(heard()))[0] == "groq/whisper-large-v3-turbo"
        spoken = await order(SpeechTask())
        assert {name.partition("/")[0] for name in spoken} == {"openai", "gemini", "groq", "mistral"}


async def test_without_a_key_the_error_says_which_to_set(fake: FakeProvider, store: Store) -> None:
    plain = litellm(fake)
    async with running(fake, store, litellm=plain, routing=RoutingSettings()) as bench:
        error = await failure(bench, ONE_IMAGE)
        assert isinstance(error, NoCandidate)
        assert "Set GEMINI_API_KEY or OPENAI_API_KEY or XAI_API_KEY" in str(error)
        assert "GROQ_API_KEY" in str(await failure(bench, heard()))
        assert bench.records == []


async def test_the_models_of_the_settings_are_tried_in_their_order(fake: FakeProvider, store: Store) -> None:
    fake.always("brush", status(401))
    async with media_bench(fake, store, KEYS) as bench:
        receipt = await make(bench, ONE_IMAGE)
    assert [attempt.model for attempt in receipt.attempts] == ["fake/brush", "fake/pencil"]
    assert (receipt.model, receipt.cost) == ("fake/pencil", 10_000_000)
    assert "number 2 of model_routing.media.image" in receipt.reason


async def test_a_named_model_is_asked_alone_unless_others_are_named_too(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("brush", status(401))
    async with media_bench(fake, store) as bench:
        error = await failure(bench, ONE_IMAGE, model="fake/brush")
        assert isinstance(error, AllCandidatesFailed)
        receipt = await make(bench, ONE_IMAGE, model="fake/brush", fallback_models=("fake/chalk",))
    assert receipt.model == "fake/chalk"
    assert bench.upstream == ["brush", "brush", "chalk"]


async def test_nobody_is_asked_for_what_it_is_not_for(fake: FakeProvider, store: Store) -> None:
    async with media_bench(fake, store, KEYS) as bench:
        for task, model, why in (
            (ONE_IMAGE, "gpt-6-luna", "cannot make images"),
            (heard(), "tts-1", "cannot write down what is said"),
            (SpeechTask(), "demo/small", "cannot read out"),
            (replace(ONE_IMAGE, count=2), "gemini/gemini-3-pro-image", "makes one image at a time"),
        ):
            error = await failure(bench, task, model=model)
            assert isinstance(error, NoCandidate)
            assert why in str(error)
        chat = await bench.failure(model="gpt-image-2")
        assert isinstance(chat, NoCandidate)
        assert "cannot answer in words" in str(chat)
    assert fake.requests == []


async def test_a_model_that_costs_too_much_at_worst_is_left_out(fake: FakeProvider, store: Store) -> None:
    async with media_bench(fake, store) as bench:
        receipt = await make(bench, ONE_IMAGE, max_cost_usd=0.03)
        assert receipt.model == "fake/pencil"
        error = await failure(bench, replace(ONE_IMAGE, count=4), max_cost_usd=0.03)
    assert "over the price cap: up to $0.160000" in str(error)
    assert bench.upstream == ["pencil"]


# What is sent, and what comes of it


async def test_an_image_is_asked_for_as_such_and_not_as_a_link(fake: FakeProvider, store: Store) -> None:
    async with media_bench(fake, store, KEYS) as bench:
        receipt = await make(bench, replace(ONE_IMAGE, count=2), "a red cat", model="fake/chalk")
        await make(bench, ONE_IMAGE, model="openai/gpt-image-2")
    first, second = (sent.json for sent in fake.requests)
    assert first == {
        "model": "chalk",
        "prompt": "a red cat",
        "n": 2,
        "size": "1024x1024",
        "quality": "low",
        "response_format": "b64_json",
    }
    assert "response_format" not in second  # which it would refuse
    assert [(made.media_type, made.data) for made in receipt.media] == [("image/png", PNG)] * 2
    assert receipt.content == ""
    # 6 tokens of prompt and 272 for each image, as the fake provider counts
    assert (receipt.input_tokens, receipt.output_tokens) == (6, 544)
    assert receipt.cost == 6 * 5_000 + 544 * 30_000


async def test_a_gemini_image_and_what_was_thought_about_it_are_billed(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("gemini-3.1-flash-lite-image", gemini(inline(PNG, "image/png"), "IMAGE", 1120))
    async with media_bench(fake, store, KEYS) as bench:
        receipt = await make(bench, ONE_IMAGE, model="gemini/gemini-3.1-flash-lite-image")
    assert receipt.media[0].data == PNG
    # $0.25 a million tokens of text in, $30 of images out
    assert receipt.cost == 5 * 250 + 1120 * 30_000
    assert [sent.path for sent in fake.requests] == [
        "/v1beta/models/gemini-3.1-flash-lite-image:generateContent"
    ]


@pytest.mark.parametrize(
    ("size", "shape"),
    [("1024x1024", "1:1"), ("1536x1024", "3:2"), ("1920x1080", "16:9"), ("512x1024", "1:2")],
)
async def test_xai_is_told_the_shape_of_an_image_since_it_knows_no_sizes(
    fake: FakeProvider, store: Store, size: str, shape: str
) -> None:
    fake.always("grok-imagine-image-2.0", body({"created": 1, "data": [image()]}))
    async with media_bench(fake, store, KEYS) as bench:
        receipt = await make(bench, replace(ONE_IMAGE, size=size), model="xai/grok-imagine-image-2.0")
    (sent,) = (it.json for it in fake.requests)
    assert (sent["aspect_ratio"], sent["quality"], "size" in sent) == (shape, "low", False)
    assert receipt.cost == 40_000_000  # of its low quality


async def test_a_model_without_a_price_is_used_and_its_cost_unknown(fake: FakeProvider, store: Store) -> None:
    async with media_bench(fake, store) as bench:
        receipt = await make(bench, ONE_IMAGE, model="fake/crayon")
    assert receipt.cost is None
    assert "set usage_tracking.pricing" in (receipt.cost_note or "")


async def test_speech_has_a_voice_that_its_provider_knows(fake: FakeProvider, store: Store) -> None:
    samples = inline(b"\x01\x00" * 24_000, "audio/L16;codec=pcm;rate=24000")
    fake.always("gemini-3.8-flash-lite-tts", gemini(samples, "AUDIO", 25))
    async with media_bench(fake, store, KEYS) as bench:
        openai = await make(bench, SpeechTask(), "Hello.", model="tts-1")
        groq = await make(bench, SpeechTask(), "Hello.", model="groq/canopylabs/orpheus-v1-english")
        google = await make(bench, SpeechTask(), "Hello.", model="gemini/gemini-3.8-flash-lite-tts")
        await make(bench, SpeechTask(voice="nova", format="wav"), "Hello.", model="tts-1")
    sent = [it.json for it in fake.requests]
    assert len(sent) == 4  # litellm's own way would send Gemini's twice
    assert [it.get("voice") for it in sent] == ["alloy", "autumn", None, "nova"]
    config = sent[2]["generationConfig"]
    assert config["responseModalities"] == ["AUDIO"]
    assert config["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"] == "Kore"
    assert sent[3]["response_format"] == "wav"
    assert [made.media_type for made in (*openai.media, *groq.media)] == ["audio/mpeg"] * 2
    # "Hello." has 6 characters at $15 and at $22 a million
    assert (openai.cost, groq.cost) == (6 * 15_000, 6 * 22_000)
    (wave,) = google.media
    assert (audio_type(wave.data), duration_ms(wave.data, "audio/wav")) == ("audio/wav", 1000)
    assert google.cost == 5 * 500 + 25 * 6_000


async def test_speech_that_is_billed_by_tokens_which_nobody_tells_is_estimated_by_its_length(
    fake: FakeProvider, store: Store
) -> None:
    async with media_bench(fake, store, KEYS) as bench:
        receipt = await make(bench, SpeechTask(), "Hello.", model="gpt-4o-mini-tts")
    (attempt,) = receipt.attempts
    assert attempt.audio_ms == 26
    assert receipt.cost == 26 * 250  # $0.015 a minute
    assert receipt.cost_note == "amounts estimated"


async def test_a_recording_goes_out_as_a_file_and_comes_back_as_text(
    fake: FakeProvider, store: Store
) -> None:
    fake.next("ear", body({"text": "Hello, Xaver."}))
    task = replace(heard(), language="de")
    async with media_bench(fake, store) as bench:
        receipt = await make(bench, task, "Xaver", model="fake/ear")
    fields = fake.requests[0].fields
    assert (fields["model"], fields["language"], fields["prompt"]) == ("ear", "de", "Xaver")
    upload = fields["file"]
    assert not isinstance(upload, str)
    assert (upload.name, upload.content_type, upload.content) == ("audio.mp3", "audio/mpeg", MP3 * 1000)
    assert receipt.content == "Hello, Xaver."
    assert receipt.cost == 2_612_200  # 26.122 s at $0.006 a minute
    assert receipt.cost_note is None


@pytest.mark.parametrize(
    ("told", "cost", "note"),
    [
        ({"usage": {"type": "duration", "seconds": 30}}, 3_000_000, None),
        ({"duration": 12.5}, 1_250_000, None),
        ({}, 2_612_200, "amounts estimated"),
        ({"usage": {"type": "duration", "seconds": -3}}, 2_612_200, "amounts estimated"),
        ({"usage": {"type": "duration", "seconds": 1e300}}, 2_612_200, "amounts estimated"),
    ],
)
async def test_the_length_that_the_provider_tells_counts_before_our_own(
    fake: FakeProvider, store: Store, told: dict[str, Any], cost: int, note: str | None
) -> None:
    fake.always("ear", body({"text": "Hello", **told}))
    async with media_bench(fake, store) as bench:
        receipt = await make(bench, heard(measured=False), "", model="fake/ear")
    assert (receipt.cost, receipt.cost_note) == (cost, note)


async def test_groq_bills_ten_seconds_for_the_shortest_recording(fake: FakeProvider, store: Store) -> None:
    async with media_bench(fake, store, KEYS) as bench:
        receipt = await make(bench, heard(MP3), "", model="groq/whisper-large-v3-turbo")
    assert receipt.attempts[0].audio_ms == 10_000
    assert receipt.cost == 111_100


async def test_tokens_of_a_transcription_are_billed_where_they_are_told(
    fake: FakeProvider, store: Store
) -> None:
    usage = {"input_tokens": 260, "output_tokens": 40, "total_tokens": 300}
    details = {"type": "tokens", "input_token_details": {"audio_tokens": 260, "text_tokens": 0}}
    fake.always("gpt-4o-transcribe", body({"text": "Hello", "usage": {**usage, **details}}))
    async with media_bench(fake, store, KEYS) as bench:
        receipt = await make(bench, heard(), "", model="gpt-4o-transcribe")
    assert receipt.cost == 260 * 2_500 + 40 * 10_000
    assert receipt.attempts[0].audio_input_tokens == 260


async def test_silence_is_a_transcription_too(fake: FakeProvider, store: Store) -> None:
    fake.always("ear", body({"text": ""}))
    async with media_bench(fake, store) as bench:
        receipt = await make(bench, heard(), "", model="fake/ear")
    assert (receipt.content, receipt.finish_reason) == ("", "stop")


async def test_what_is_made_is_made_anew_each_time(fake: FakeProvider, store: Store) -> None:
    async with media_bench(fake, store) as bench:
        for task, model in ((ONE_IMAGE, "fake/brush"), (heard(), "fake/ear"), (SpeechTask(), "fake/voice")):
            receipts = [await make(bench, task, model=model) for _ in range(2)]
            assert [receipt.cached for receipt in receipts] == [False, False]
    assert len(fake.requests) == 6


# What goes wrong


@pytest.mark.parametrize("task", [ONE_IMAGE, SpeechTask(), heard()])
async def test_each_failed_request_is_sent_once_and_tried_again_here(
    fake: FakeProvider, store: Store, task: MediaTask
) -> None:
    fake.next("model", status(500), status(503), status(500))
    async with media_bench(fake, store) as bench:
        error = await failure(bench, task, model="fake/model")
    assert isinstance(error, AllCandidatesFailed)
    (record,) = bench.records
    assert [attempt.outcome for attempt in record.attempts] == ["server_failed"] * 3
    assert len(fake.requests) == 3  # one for each attempt: max_retries is 2


USELESS: dict[str, tuple[Any, str]] = {
    "a link": ({"data": [{"url": "https://example.com/cat.png"}]}, "it holds a link in place of an image"),
    "no image at all": ({"data": [image(b"hello")]}, "it is no image"),
    "broken base64": ({"data": [{"b64_json": "%%%"}]}, "it is no image"),
    "one of two is none": ({"data": [image(), image(b"")]}, "it holds a link in place of an image"),
    "nothing": ({"data": []}, "it holds no image"),
}


@pytest.mark.parametrize("name", USELESS)
async def test_an_answer_that_is_no_image_is_paid_for_and_the_next_model_asked(
    fake: FakeProvider, store: Store, name: str
) -> None:
    answer, complaint = USELESS[name]
    fake.always("brush", body({"created": 1, **answer}))
    async with media_bench(fake, store) as bench:
        receipt = await make(bench, ONE_IMAGE)
        error = await failure(bench, ONE_IMAGE, model="fake/brush")
    first, second = receipt.attempts
    assert (first.outcome, second.outcome) == ("unusable_media", "ok")
    paid = len(answer["data"]) * 40_000_000
    assert (first.cost_nano_usd, receipt.cost) == (paid, paid + 10_000_000)
    assert complaint in str(error)
    assert bench.upstream == ["brush", "pencil", "brush"]


async def test_an_image_in_a_data_url_is_as_good_as_any(fake: FakeProvider, store: Store) -> None:
    url = f"data:image/png;base64,{image()['b64_json']}"
    fake.always("brush", body({"created": 1, "data": [{"url": url}]}))
    async with media_bench(fake, store) as bench:
        receipt = await make(bench, ONE_IMAGE)
    assert receipt.media[0].data == PNG


@pytest.mark.parametrize("task", [SpeechTask(), heard()])
async def test_a_web_page_is_no_sound_and_no_transcription(
    fake: FakeProvider, store: Store, task: MediaTask
) -> None:
    fake.always("model", status(200, "<html>It works!</html>"))
    retries = litellm(fake, max_retries=0)
    async with media_bench(fake, store, litellm=retries) as bench:
        error = await failure(bench, task, model="fake/model")
    assert "sent no complete answer" in str(error)
    assert bench.records[0].cost_nano_usd == 0


async def test_sound_of_a_kind_that_nobody_knows_is_paid_for(fake: FakeProvider, store: Store) -> None:
    async def midi(exchange: Exchange) -> web.StreamResponse:
        return web.Response(body=b"MThd" + bytes(50), content_type="audio/midi")

    fake.always("voice", midi)
    async with media_bench(fake, store) as bench:
        error = await failure(bench, SpeechTask(), "Hello.", model="fake/voice")
    assert "it is no audio that is known" in str(error)
    assert bench.records[0].cost_nano_usd == 6 * 15_000
    assert len(fake.requests) == 1


async def test_a_refused_prompt_goes_to_the_next_model(fake: FakeProvider, store: Store) -> None:
    fake.always("brush", refusal(400, "Your request was rejected by the safety system."))
    async with media_bench(fake, store) as bench:
        receipt = await make(bench, ONE_IMAGE)
    assert [attempt.outcome for attempt in receipt.attempts] == ["content_refused", "ok"]


async def test_what_the_provider_calls_invalid_ends_the_call(fake: FakeProvider, store: Store) -> None:
    fake.always("brush", refusal(400, "Invalid size"))
    async with media_bench(fake, store) as bench:
        error = await failure(bench, ONE_IMAGE)
    assert isinstance(error, RequestRejected)
    assert "Invalid size" in str(error)
    assert bench.upstream == ["brush"]


async def test_an_image_that_takes_too_long_is_charged_and_the_next_model_asked(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("brush", gate)
    quick = litellm(fake, timeout=0.3, max_retries=0)
    async with media_bench(fake, store, litellm=quick) as bench:
        receipt = await make(bench, replace(ONE_IMAGE, count=3))
    first, second = receipt.attempts
    assert (first.outcome, second.outcome) == ("timeout", "ok")
    assert first.cost_nano_usd == 3 * 40_000_000
    assert first.estimated


@pytest.mark.parametrize(
    ("task", "model", "cost"),
    [
        (replace(ONE_IMAGE, count=3), "fake/brush", 120_000_000),
        (replace(ONE_IMAGE, count=3), "fake/chalk", 3 * 196 * 30_000 + 6 * 5_000),
        (heard(), "fake/ear", 2_612_200),
        (SpeechTask(), "fake/voice", 5 * 15_000),
    ],
)
async def test_a_cancelled_call_is_recorded_with_what_it_may_cost_and_its_request_closed(
    fake: FakeProvider, store: Store, task: MediaTask, model: str, cost: int
) -> None:
    gate = Gate()
    fake.always(model.removeprefix("fake/"), gate)
    async with media_bench(fake, store) as bench:
        call = await bench.engine.start(request(task, model=model))
        await gate.reached()
        call.cancel()
        assert await call.wait(PATIENCE)
        with anyio.fail_after(PATIENCE):
            await fake.disconnected.acquire()
    (record,) = bench.records
    assert (record.status, record.cost_nano_usd) == (CallStatus.CANCELLED, cost)
    assert record.attempts[0].cost_note in ("amounts estimated", "token counts estimated")


async def test_a_request_that_litellm_would_leave_to_a_thread_can_be_cancelled_as_well(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("gemini-3-pro-image", gate)
    async with media_bench(fake, store, KEYS) as bench:
        call = await bench.engine.start(request(ONE_IMAGE, model="gemini/gemini-3-pro-image"))
        await gate.reached()
        call.cancel()
        assert await call.wait(PATIENCE)
        with anyio.fail_after(5):
            await fake.disconnected.acquire()
    assert bench.records[0].cost_nano_usd == 134_000_000


INVALID: dict[str, tuple[MediaTask, str, dict[str, Any], str]] = {
    "no image": (replace(ONE_IMAGE, count=0), "a cat", {}, "`n` must be from 1 to 10"),
    "too many images": (replace(ONE_IMAGE, count=11), "a cat", {}, "`n` must be from 1 to 10"),
    "a size that is none": (replace(ONE_IMAGE, size="large"), "a cat", {}, "`size` must be auto, or width"),
    "a size that is huge": (replace(ONE_IMAGE, size="99999x64"), "a cat", {}, "each from 64 to 8,192"),
    "a quality that is none": (replace(ONE_IMAGE, quality="best"), "a cat", {}, "`quality` must be one of"),
    "nothing to draw": (ONE_IMAGE, "  ", {}, "There is nothing to draw."),
    "nothing to read out": (SpeechTask(), "", {}, "There is nothing to read out."),
    "a voice of nobody": (SpeechTask(voice="nova"), "Hello", {}, "`voice` needs `model`"),
    "a language that is none": (
        replace(heard(), language="German"),
        "",
        {},
        "`language` must be two letters",
    ),
    "an empty recording": (heard(b""), "", {}, "of a kind that no model takes"),
    "a huge recording": (heard(bytes(25 * 2**20 + 1)), "", {}, "larger than 25 MB"),
    "a conversation": (ONE_IMAGE, "a cat", {"history": (Message("user", "Hi"),)}, "take no history"),
}


@pytest.mark.parametrize("name", INVALID)
async def test_what_cannot_be_asked_is_told_and_costs_nothing(
    fake: FakeProvider, store: Store, name: str
) -> None:
    task, prompt, more, complaint = INVALID[name]
    async with media_bench(fake, store) as bench:
        error = await failure(bench, task, prompt, **more)
    assert isinstance(error, InvalidRequest)
    assert complaint in str(error)
    assert (fake.requests, bench.records) == ([], [])


# What is written down


async def test_the_ledger_has_the_call_and_what_it_used(fake: FakeProvider, store: Store) -> None:
    async with media_bench(fake, store) as bench:
        drawn = await make(bench, replace(ONE_IMAGE, count=2), model="fake/brush", tenant="acme")
        spoken = await make(bench, SpeechTask(), "Hello.", model="fake/voice")
        await make(bench, heard(), "", model="fake/ear")
        batches = [batch async for batch in store.export_calls(start=0, end=2**52)]
    image_call, speech, transcription = (call for batch in batches for call in batch)
    assert (image_call.operation, image_call.tenant, image_call.model) == ("image", "acme", "fake/brush")
    assert (image_call.tier, image_call.tier_served, image_call.complexity_score) == ("", None, None)
    assert image_call.saved_nano_usd is None
    (attempt,) = image_call.attempts
    assert (attempt.images, attempt.image_form) == (2, "low/1024x1024")
    assert image_call.cost_nano_usd == drawn.cost == 80_000_000
    assert (speech.operation, speech.attempts[0].characters) == ("speech", 6)
    assert speech.cost_nano_usd == spoken.cost
    assert (transcription.operation, transcription.attempts[0].audio_ms) == ("transcription", 26_122)


async def test_a_budget_is_held_to_the_worst_case_and_charged_what_it_was(
    fake: FakeProvider, store: Store
) -> None:
    limit = Budget(name="all", period=BudgetPeriod.DAY, limit_nano_usd=100_000_000)
    async with media_bench(fake, store, budgets=(limit,)) as bench:
        await make(bench, replace(ONE_IMAGE, count=2), model="fake/brush")
        error = await failure(bench, ONE_IMAGE, model="fake/brush")
        assert isinstance(error, BudgetExceeded)
        assert "the call may cost up to $0.040000" in str(error)
        account = await bench.engine.spending.account(limit)
    assert (account.spent_nano_usd, account.reserved_nano_usd) == (80_000_000, 0)
    assert bench.upstream == ["brush"]


async def test_a_budget_that_downgrades_has_the_cheapest_maker_draw(fake: FakeProvider, store: Store) -> None:
    limit = Budget(name="all", period=BudgetPeriod.DAY, limit_nano_usd=30_000_000, at_limit=AtLimit.DOWNGRADE)
    async with media_bench(fake, store, budgets=(limit,)) as bench:
        receipt = await make(bench, ONE_IMAGE)
    assert receipt.model == "fake/pencil"
    assert "the budget 'all' has no room for that" in receipt.reason
    assert bench.upstream == ["pencil"]


async def test_a_call_that_is_kept_does_not_hold_its_recording(fake: FakeProvider, store: Store) -> None:
    async with media_bench(fake, store) as bench:
        call = await bench.engine.start(request(heard(), "", model="fake/ear"))
        await answer_of(call)
        bench.engine.keep(call)
        kept = bench.engine.find(call.id)
        assert kept is not None
        task = kept.plan.request.task
        assert isinstance(task, TranscriptionTask)
        assert task.audio.data == b""


async def test_what_a_call_has_made_is_kept_as_long_as_there_is_room(
    fake: FakeProvider, store: Store
) -> None:
    large = PNG + bytes(1000)
    fake.always("brush", body({"created": 1, "data": [image(large)]}))
    async with media_bench(fake, store, media_memory_bytes=2 * len(large)) as bench:
        calls = [await bench.engine.start(request(ONE_IMAGE, str(number))) for number in range(3)]
        for call in calls:
            bench.engine.keep(call)
        for call in calls:
            await answer_of(call)
        assert [bench.engine.find(call.id) is not None for call in calls] == [False, True, True]


async def test_nothing_is_learned_from_a_prompt_that_is_drawn_twice(fake: FakeProvider, store: Store) -> None:
    async with media_bench(fake, store) as bench:
        for _ in range(3):
            await make(bench, ONE_IMAGE)
        assert await store.outcomes(10) == []
        assert await store.recent_scores(10) == []


async def test_a_chat_beside_it_is_served_as_ever(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", ok())
    both = rules().model_copy(update={"media": DRAWS.media})
    async with media_bench(fake, store, routing=both) as bench:
        await make(bench, ONE_IMAGE)
        receipt = await bench.ask()
    assert receipt.model == "fake/standard"
