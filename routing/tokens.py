"""How many tokens a payload has: roughly, to plan with, or at most, to keep budgets; never to bill with."""

from collections.abc import Iterator
from math import ceil

from tierwise.routing.request import Payload

_CHARACTERS_PER_TOKEN = 3.6
"""English prose has about 4.2 in the tokenizers of OpenAI and Anthropic, code about 3.2."""
_TOKENS_PER_MESSAGE = 4
"""Role and separators, as OpenAI's chat format adds them."""
_PIXELS_PER_TOKEN = 750
"""Of an image, as Anthropic counts; OpenAI and Google count as much or less for those of a useful size
(docs.anthropic.com/en/docs/build-with-claude/vision)."""

_MOST_FOR_A_MESSAGE = 16
"""Role and separators in the most talkative of the open models' chat templates, and to spare."""
_MOST_FOR_A_PROMPT = 64
"""What templates put in front of it all, such as a system prompt of their own."""
_MOST_FOR_TOOLS = 700
"""What providers put around tools and schemas: 346 at Anthropic, twice that to be safe."""
_FEWEST_PIXELS_PER_TOKEN = 28 * 28 / 4
"""The finest patches that a vision model of today reads are 28 pixels wide (Qwen-VL); four times as
many tokens as that stays above those that count by tiles."""
_MOST_FOR_A_SMALL_IMAGE = 3000
"""One that is tiny is scaled up, or counted as whole tiles: 2,833 for the first at gpt-4o-mini, which is
known for the most."""


def most_prompt_tokens(payload: Payload) -> int:
    """More input tokens than any provider counts for `payload`: no token of text has less than one byte."""
    texts = sum(len(text.encode()) for text in _texts(payload))
    images = sum(_MOST_FOR_A_SMALL_IMAGE + ceil(size / _FEWEST_PIXELS_PER_TOKEN) for size in _images(payload))
    around = len(payload.messages) * _MOST_FOR_A_MESSAGE + _MOST_FOR_A_PROMPT
    extras = _MOST_FOR_TOOLS if payload.tools or payload.response_schema else 0
    return texts + images + around + extras


def estimate_prompt_tokens(payload: Payload) -> int:
    """About how many input tokens a provider counts for `payload`."""
    texts = sum(estimate_tokens(text) for text in _texts(payload))
    images = sum(ceil(size / _PIXELS_PER_TOKEN) for size in _images(payload))
    return texts + images + len(payload.messages) * _TOKENS_PER_MESSAGE


def estimate_tokens(text: str) -> int:
    """About how many tokens `text` has; a character outside ASCII counts as a token of its own."""
    if text.isascii():
        return ceil(len(text) / _CHARACTERS_PER_TOKEN)
    plain = len(text.encode("ascii", errors="ignore"))
    return ceil(plain / _CHARACTERS_PER_TOKEN) + len(text) - plain


def _texts(payload: Payload) -> Iterator[str]:
    """Everything in a payload that is read as text."""
    for message in payload.messages:
        yield message.content
        for call in message.tool_calls:
            yield call.name
            yield call.arguments
    for tool in payload.tools:
        yield tool.name
        yield tool.description
        yield tool.parameters
    if payload.response_schema:
        yield payload.response_schema


def _images(payload: Payload) -> Iterator[int]:
    """The pixels of each image."""
    for message in payload.messages:
        for image in message.images:
            yield image.width * image.height
