"""How many tokens a text has: roughly, to plan with, or at most, to keep budgets; never to bill with."""

from collections.abc import Iterable
from math import ceil

from tierwise.routing.request import Message

_CHARACTERS_PER_TOKEN = 3.6
"""English prose has about 4.2 in the tokenizers of OpenAI and Anthropic, code about 3.2."""
_TOKENS_PER_MESSAGE = 4
"""Role and separators, as OpenAI's chat format adds them."""

_MOST_FOR_A_MESSAGE = 16
"""Role and separators in the most talkative of the open models' chat templates, and to spare."""
_MOST_FOR_A_PROMPT = 64
"""What templates put in front of it all, such as a system prompt of their own."""


def most_prompt_tokens(messages: Iterable[Message]) -> int:
    """More input tokens than any provider counts for `messages`: no token has less than one byte."""
    sizes = (len(message.content.encode()) + _MOST_FOR_A_MESSAGE for message in messages)
    return sum(sizes) + _MOST_FOR_A_PROMPT


def estimate_tokens(text: str) -> int:
    """About how many tokens `text` has; a character outside ASCII counts as a token of its own."""
    if text.isascii():
        return ceil(len(text) / _CHARACTERS_PER_TOKEN)
    plain = len(text.encode("ascii", errors="ignore"))
    return ceil(plain / _CHARACTERS_PER_TOKEN) + len(text) - plain


def estimate_prompt_tokens(messages: Iterable[Message]) -> int:
    """About how many input tokens a provider counts for `messages`."""
    return sum(estimate_tokens(message.content) + _TOKENS_PER_MESSAGE for message in messages)
