"""How many tokens a text has, roughly: good enough to plan with, never to bill with."""

from collections.abc import Iterable
from math import ceil

from tierwise.routing.request import Message

_CHARACTERS_PER_TOKEN = 3.6
"""English prose has about 4.2 in the tokenizers of OpenAI and Anthropic, code about 3.2."""
_TOKENS_PER_MESSAGE = 4
"""Role and separators, as OpenAI's chat format adds them."""


def estimate_tokens(text: str) -> int:
    """About how many tokens `text` has; a character outside ASCII counts as a token of its own."""
    if text.isascii():
        return ceil(len(text) / _CHARACTERS_PER_TOKEN)
    plain = len(text.encode("ascii", errors="ignore"))
    return ceil(plain / _CHARACTERS_PER_TOKEN) + len(text) - plain


def estimate_prompt_tokens(messages: Iterable[Message]) -> int:
    """About how many input tokens a provider counts for `messages`."""
    return sum(estimate_tokens(message.content) + _TOKENS_PER_MESSAGE for message in messages)
