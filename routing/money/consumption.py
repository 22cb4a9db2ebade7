"""What a request will use: about, to plan with, or at most, to keep budgets.

What words use is counted in tokens. Images, speech and transcriptions are billed by the piece where the
price says so, else by the tokens that they come to.
"""

from math import ceil

from tierwise.routing.catalog.models import Model
from tierwise.routing.media import ImageTask, MediaTask, SpeechTask, TranscriptionTask
from tierwise.routing.money import pricing
from tierwise.routing.money.pricing import Price
from tierwise.routing.money.unit_pricing import rates_for
from tierwise.routing.request import Payload
from tierwise.routing.tokens import estimate_prompt_tokens, most_prompt_tokens
from tierwise.storage.records import Usage

_USUAL_SIZE = (1024, 1024)
_PASSES = {"low": 16, "medium": 48, "high": 96, "xhigh": 144, "max": 192}
"""Of gpt-image-2 by quality (community.openai.com/t/1382699, after the calculator in OpenAI's guide); the
last two, which only 2.5 has, are guessed from those."""
_PIXELS_PER_TOKEN = {"low": 3855, "medium": 990}
"""Of gpt-image-1 and 1.5 (platform.openai.com/docs/guides/image-generation): 272 and 1,056 tokens for
1024x1024."""
_PIXELS_PER_TOKEN_AT_MOST = 252
"""The same with `high`: 4,160."""
_MOST_ELSEWHERE = 4096
"""Tokens of one image, with what is thought and said about it; Gemini's have 1,120 to 2,520
(ai.google.dev/gemini-api/docs/pricing)."""

_CHARACTERS_PER_SECOND = 15
"""Of English, read out."""
_SPOKEN_TOKENS_PER_SECOND = 25
"""Gemini's (ai.google.dev/gemini-api/docs/tokens); OpenAI's are 21."""
_SLOWEST = 4
"""Times as slow as usual, which a voice can be told to be."""
_HEARD_TOKENS_PER_SECOND = 32
"""Gemini's, as above; OpenAI's are 10."""
_WRITTEN_TOKENS_PER_SECOND = 4
"""Of what is written down of speech; fast speakers come to 6."""
_FASTEST = 3
LEAST_BILLED_MS = 10_000
"""Groq's least for one recording (console.groq.com/docs/speech-to-text)."""
_UNMEASURED = 6
"""Times as long as usual for its size, which a recording can be: Opus goes down to 6 kbit/s."""


def likely_usage(payload: Payload, price: Price | None, output_tokens: int) -> Usage:
    """About what a model with that price uses for `payload`; `output_tokens` is what it may write, where
    an answer is asked for."""
    if payload.task is None:
        return Usage(input_tokens=estimate_prompt_tokens(payload), output_tokens=output_tokens)
    pieces = _pieces(payload.task, payload)
    by_piece = price is None or not price.by_tokens or rates_for(pieces.image_form, price.units)
    return pieces if by_piece else _tokens(payload.task, payload)


def worst_cost(payload: Payload, model: Model, max_tokens: int) -> int | None:
    """nano-USD if the model writes all of `max_tokens`; None if its price is unknown."""
    if model.price is None:
        return None
    if payload.task is None:
        return pricing.cost(likely_usage(payload, model.price, max_tokens), model.price)
    return most_cost(payload, model, max_tokens)


def most_cost(payload: Payload, model: Model, max_tokens: int) -> int | None:
    """What no request costs more than, in nano-USD, as far as it is known how providers count; None if the
    price is unknown."""
    if model.price is None:
        return None
    usage = Usage(input_tokens=most_prompt_tokens(payload), output_tokens=max_tokens)
    if payload.task is not None:
        usage = _most(payload.task, payload, usage)
    return pricing.most_cost(usage, model.price)


def most_output_tokens(payload: Payload, model: Model) -> int:
    """More output tokens than the model is billed for, where no answer is asked for."""
    task = payload.task
    if isinstance(task, ImageTask):
        return task.count * _most_image_tokens(task, model)
    if isinstance(task, SpeechTask):
        return _SLOWEST * _SPOKEN_TOKENS_PER_SECOND * ceil(_spoken_seconds(payload) + 5)
    if isinstance(task, TranscriptionTask):
        return _FASTEST * _WRITTEN_TOKENS_PER_SECOND * ceil(_most_heard_ms(task) / 1000)
    return 0


def _pieces(task: MediaTask, payload: Payload) -> Usage:
    if isinstance(task, ImageTask):
        return Usage(images=task.count, image_form=task.form)
    if isinstance(task, SpeechTask):
        return Usage(characters=len(payload.text), audio_ms=round(_spoken_seconds(payload) * 1000))
    return Usage(audio_ms=task.audio.duration_ms)


def _tokens(task: MediaTask, payload: Payload) -> Usage:
    prompt = estimate_prompt_tokens(payload)
    if isinstance(task, ImageTask):
        drawn = task.count * _image_tokens(task, "medium")
        return Usage(input_tokens=prompt, output_tokens=drawn, image_output_tokens=drawn, images=task.count)
    if isinstance(task, SpeechTask):
        spoken = ceil(_spoken_seconds(payload) * _SPOKEN_TOKENS_PER_SECOND)
        return Usage(input_tokens=prompt, output_tokens=spoken, audio_output_tokens=spoken)
    seconds = task.audio.duration_ms / 1000
    heard = ceil(seconds * _HEARD_TOKENS_PER_SECOND)
    written = ceil(seconds * _WRITTEN_TOKENS_PER_SECOND)
    return Usage(input_tokens=prompt + heard, output_tokens=written, audio_input_tokens=heard)


def _most(task: MediaTask, payload: Payload, words: Usage) -> Usage:
    """The pieces and tokens of the task at most, and the `words` of its prompt and its answer."""
    prompt, output = words.input_tokens, words.output_tokens
    if isinstance(task, ImageTask):
        return Usage(input_tokens=prompt, output_tokens=output, images=task.count, image_form=task.form)
    if isinstance(task, SpeechTask):
        return Usage(
            input_tokens=prompt,
            output_tokens=output,
            audio_output_tokens=output,
            characters=len(payload.text),
            audio_ms=output * 1000 // _SPOKEN_TOKENS_PER_SECOND,
        )
    heard_ms = _most_heard_ms(task)
    heard = heard_ms * _HEARD_TOKENS_PER_SECOND // 1000
    return Usage(
        input_tokens=prompt + heard, output_tokens=output, audio_input_tokens=heard, audio_ms=heard_ms
    )


def _image_tokens(task: ImageTask, usual: str) -> int:
    """By OpenAI's formula for gpt-image-2, in which a longer image of the same area has fewer."""
    width, height = task.pixels or _USUAL_SIZE
    passes = _PASSES[_quality(task, usual)]
    short = round(passes * min(width, height) / max(width, height))
    return ceil(passes * short * (2_000_000 + width * height) / 4_000_000)


def _most_image_tokens(task: ImageTask, model: Model) -> int:
    width, height = task.pixels or _USUAL_SIZE
    area = _PIXELS_PER_TOKEN.get(_quality(task, "high"), _PIXELS_PER_TOKEN_AT_MOST)
    by_area = ceil(width * height / area)
    most = max(_image_tokens(task, "high"), by_area)
    return most if "gpt-image" in model.name else max(most, _MOST_ELSEWHERE)


def _quality(task: ImageTask, usual: str) -> str:
    return task.quality if task.quality in _PASSES else usual


def _spoken_seconds(payload: Payload) -> float:
    """A character outside ASCII may be a syllable or a word."""
    plain = len(payload.text.encode("ascii", errors="ignore"))
    return (plain + 4 * (len(payload.text) - plain)) / _CHARACTERS_PER_SECOND


def _most_heard_ms(task: TranscriptionTask) -> int:
    long = task.audio.duration_ms if task.audio.measured else task.audio.duration_ms * _UNMEASURED
    return max(long, LEAST_BILLED_MS)
