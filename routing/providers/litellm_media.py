"""Images, speech and transcriptions through litellm."""

import base64
import binascii
import datetime as dt
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from math import log
from typing import Any

from anyio import to_thread

from tierwise.routing.audio import EXTENSIONS, audio_type, duration_ms, guessed_duration_ms, wav
from tierwise.routing.errors import BadResponse, UnusableMedia
from tierwise.routing.media import ImageTask, Media, MediaTask, SpeechTask, TranscriptionTask
from tierwise.routing.money.consumption import LEAST_BILLED_MS
from tierwise.routing.providers.base import Completion, RateStatus, UpstreamCall
from tierwise.routing.providers.litellm_route import addressed
from tierwise.routing.providers.litellm_usage import (
    headers_of,
    read_cost,
    read_image_usage,
    read_stand_in,
    read_transcription_usage,
    read_usage,
)
from tierwise.routing.providers.rate_headers import rate_status
from tierwise.storage.records import Usage

_SPEAKS_BY_CHAT = frozenset({"gemini", "vertex_ai"})
"""Whose speech litellm gets by a chat of its own, which it sends twice and nobody can cancel."""
_SAMPLES_PER_SECOND = 24_000
"""Of Gemini's speech (ai.google.dev/gemini-api/docs/speech-generation)."""

_XAI_RATIOS = ((1, 1), (4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (9, 16), (2, 1), (1, 2))
"""The shapes of xAI's images, which know no sizes (docs.x.ai/developers/model-capabilities/images)."""
_CONTENT_TYPE = "llm_provider-content-type"

_MAGIC: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}


async def make(litellm: Any, call: UpstreamCall, task: MediaTask) -> Completion:
    """What the call's task asks for.

    Raises:
        UnusableMedia, BadResponse: nothing that can be handed out came; says what did, and has yet to be
            translated, as does whatever else litellm fails with.
    """
    if isinstance(task, ImageTask):
        return await _draw(litellm, call, task)
    if isinstance(task, TranscriptionTask):
        return await _transcribe(litellm, call, task)
    if call.provider in _SPEAKS_BY_CHAT and "gemini" in call.model:
        return await _speak_by_chat(litellm, call, task)
    return await _speak(litellm, call, task)


async def _draw(litellm: Any, call: UpstreamCall, task: ImageTask) -> Completion:
    _send_images_once()
    wanted = {
        "n": task.count if task.count > 1 else None,
        **_size(call, task),
        "quality": task.quality,
        # OpenAI's own always come so, and refuse to be asked for it.
        "response_format": None if "gpt-image" in call.model else "b64_json",
    }
    response = await litellm.aimage_generation(
        prompt=call.payload.text, **_given(wanted), **addressed(litellm, call)
    )
    usage = replace(read_image_usage(response), images=len(response.data or ()), image_form=task.form)
    headers = headers_of(response)
    cost = read_cost(response, headers)
    try:
        images = await to_thread.run_sync(_images, response.data or ())
    except UnusableMedia as error:
        error.usage, error.reported_cost = usage, cost
        raise
    return Completion(
        content="",
        finish_reason="stop",
        usage=usage,
        reported_cost=cost,
        media=images,
        rate=_rate(headers),
        stand_in=read_stand_in(headers),
    )


def _size(call: UpstreamCall, task: ImageTask) -> dict[str, str | None]:
    if call.provider != "xai":
        return {"size": task.size}
    if task.pixels is None:
        return {}
    wide = log(task.pixels[0] / task.pixels[1])
    across, down = min(_XAI_RATIOS, key=lambda ratio: abs(log(ratio[0] / ratio[1]) - wide))
    return {"aspect_ratio": f"{across}:{down}"}


def _images(items: Sequence[Any]) -> tuple[Media, ...]:
    if not items:
        raise UnusableMedia("it holds no image")
    return tuple(_image(item) for item in items)


def _image(item: Any) -> Media:
    """One of the images of an answer. Links are not followed: they could lead anywhere."""
    encoded, url = item.b64_json, item.url or ""
    if not encoded and url.startswith("data:"):
        encoded = url.partition(";base64,")[2]
    if not encoded:
        raise UnusableMedia("it holds a link in place of an image")
    data = _decoded(encoded)
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if kind is None and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "image/webp"
    if kind is None:
        raise UnusableMedia("it is no image")
    return Media(media_type=kind, data=data)


async def _speak(litellm: Any, call: UpstreamCall, task: SpeechTask) -> Completion:
    wanted = {"voice": task.voice, "response_format": task.format}
    response = await litellm.aspeech(input=call.payload.text, **_given(wanted), **addressed(litellm, call))
    headers, data = headers_of(response), response.content
    if audio_type(data) is None and not _says(headers, "audio/"):
        raise BadResponse("it is no audio")
    spoken = await to_thread.run_sync(_spoken, call, data, Usage(), read_cost(None, headers))
    return replace(spoken, rate=_rate(headers), stand_in=read_stand_in(headers))


async def _speak_by_chat(litellm: Any, call: UpstreamCall, task: SpeechTask) -> Completion:
    response = await litellm.acompletion(
        messages=[{"role": "user", "content": call.payload.text}],
        modalities=["audio"],
        audio={"voice": task.voice, "format": "pcm16"},
        **addressed(litellm, call),
    )
    audio = getattr(response.choices[0].message, "audio", None)
    samples = _decoded(audio.data) if audio else b""
    usage = read_usage(response, response, characters=bool(samples)) or Usage()
    usage = replace(usage, audio_output_tokens=usage.audio_output_tokens or usage.output_tokens)
    data = wav(samples, _SAMPLES_PER_SECOND) if samples else b""
    return await to_thread.run_sync(_spoken, call, data, usage, None)


def _spoken(call: UpstreamCall, data: bytes, usage: Usage, cost: int | None) -> Completion:
    kind = audio_type(data)
    length = None if kind is None else duration_ms(data, kind)
    usage = replace(
        usage,
        characters=len(call.payload.text),
        audio_ms=guessed_duration_ms(len(data)) if length is None else length,
    )
    if kind is None:
        error = UnusableMedia("it is no audio that is known")
        error.usage, error.reported_cost = usage, cost
        raise error
    media = (Media(media_type=kind, data=data),)
    return Completion(content="", finish_reason="stop", usage=usage, reported_cost=cost, media=media)


async def _transcribe(litellm: Any, call: UpstreamCall, task: TranscriptionTask) -> Completion:
    audio = task.audio
    file = (f"audio.{EXTENSIONS[audio.media_type]}", audio.data, audio.media_type)
    wanted = {"language": task.language, "prompt": call.payload.text or None}
    response = await litellm.atranscription(file=file, **_given(wanted), **addressed(litellm, call))
    headers = headers_of(response)
    if _says(headers, "text/html"):
        raise BadResponse("it is a web page")
    return Completion(
        content=response.text or "",
        finish_reason="stop",
        usage=_heard(call, task, response),
        reported_cost=read_cost(response, headers),
        rate=_rate(headers),
        stand_in=read_stand_in(headers),
    )


def _heard(call: UpstreamCall, task: TranscriptionTask, response: Any) -> Usage:
    """What the provider says; else the length of the recording, as far as that is billed."""
    usage, audio = read_transcription_usage(response), task.audio
    told = usage.total_tokens or usage.audio_ms
    least = LEAST_BILLED_MS if call.provider == "groq" else 0
    length = max(usage.audio_ms or audio.duration_ms, least)
    return replace(usage, audio_ms=length, estimated=not told and not audio.measured)


def _rate(headers: Mapping[str, Any]) -> RateStatus | None:
    return rate_status(headers, dt.datetime.now(dt.UTC))


def _says(headers: Mapping[str, Any], kind: str) -> bool:
    """Is that what the provider calls its answer?"""
    return str(headers.get(_CONTENT_TYPE, "")).startswith(kind)


def _given(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if value is not None}


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


@cache
def _send_images_once() -> None:
    """Have litellm send each request for images once, and where they can be cancelled: by itself it repeats
    failed ones twice, whatever it is told, and leaves some providers to threads."""
    images: Any = importlib.import_module("litellm.images.main")
    openai, others = images.openai_chat_completions, images.llm_http_handler
    draw = openai.aimage_generation

    def draw_once(**arguments: Any) -> Any:
        return draw(**{**arguments, "max_retries": 0})

    openai.aimage_generation = draw_once
    others.image_generation_handler = partial(others.image_generation_handler, _is_async=True)
