"""What is kept of a prompt to learn from: counts on a coarse scale and hashes of its words, never its text.

The words are hashed to 16 bits under the store's secret key. Without the key nothing can be looked up
in a dictionary; with it, some of the hundred thousands of words that there are share every hash.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import log2
from string import ascii_uppercase, digits
from typing import NamedTuple

from tierwise.routing.analysis.features import extract
from tierwise.routing.analysis.lexicon import LONGEST_WORD, is_unspaced
from tierwise.routing.analysis.model import logit
from tierwise.routing.analysis.text import BREAK, Text, read
from tierwise.routing.complexity import Complexity
from tierwise.routing.request import Message

WORDS = 1 << 16
"""How many hashes of words there are."""
LEVELS = 24
"""Counts fall into so many levels; the highest holds whatever is larger."""
SHAPES = 17
"""How many counts there are."""
_VERSION = 1
_MOST_WORDS = 400
"""Different words of a prompt that are kept: 800 bytes of the 1,024 that a store takes."""
_STEP = 16
"""Parts of one unit of a prior logit that are told apart; the two fit a signed byte each."""
_HEAD = struct.Struct(f"<Bbb{SHAPES}B")
_SHORT = 200
"""Characters; nothing longer only asks to go on."""
_MARKS = (",", ".", "?", "\n", "\"'`", "([{", "=+*/<>", "_", "\\$^", ":;")


class Description(NamedTuple):
    """A description, unpacked."""

    tier_logit: float
    """Logit of the score of the analysis, before anything was learned."""
    fails_logit: float
    """Logit of its P(a cheap model fails)."""
    levels: tuple[int, ...]
    """`SHAPES` counts, each 0 to `LEVELS` on a log scale: two levels double it."""
    words: tuple[int, ...]
    """Hashes of the different words, each below `WORDS`."""


def describe(prompt: str, history: Sequence[Message], prior: Complexity, key: bytes) -> bytes:
    """At most 1,024 bytes about the last turn, `prompt`, or about the turn that it asks to go on with.

    `prior` is what `analyze` says of the same, without what was learned: learning from its own
    results would run away. `key` is the store's `digest_key`.
    """
    text = read(_asked(prompt, history))
    head = _HEAD.pack(_VERSION, _packed(prior.score), _packed(prior.p_cheap_fails), *_levels(text))
    hashes = dict.fromkeys(_hash(word, key) for word in _words(text))
    return head + b"".join(list(hashes)[:_MOST_WORDS])


def unpack(described: bytes) -> Description | None:
    """None for what is no description, or one of another version."""
    if len(described) < _HEAD.size or len(described) % 2 != _HEAD.size % 2:
        return None
    version, tier, fails, *levels = _HEAD.unpack_from(described)
    if version != _VERSION or max(levels) > LEVELS:
        return None
    words = struct.unpack_from(f"<{(len(described) - _HEAD.size) // 2}H", described, _HEAD.size)
    return Description(tier / _STEP, fails / _STEP, tuple(levels), words)


def _packed(chance: float) -> int:
    return max(-127, min(127, round(logit(chance) * _STEP)))


def _asked(prompt: str, history: Sequence[Message]) -> str:
    turns = [message.content for message in history if message.role == "user"]
    for turn in (prompt, *reversed(turns[-50:])):
        if len(turn) > _SHORT or not extract(turn).continues:
            return turn
    return prompt


def _levels(text: Text) -> list[int]:
    raw, count = text.raw, text.raw.count
    numbers, capitals = sum(map(count, digits)), sum(map(count, ascii_uppercase))
    per_cent = 100 / (len(raw) + 1)
    words = len(text.tokens)
    counts = [text.length, words, 4 * len(raw) / (words + 1)]
    counts += [numbers, capitals, per_cent * numbers, per_cent * capitals]
    counts += [sum(map(count, marks)) for marks in _MARKS]
    return [min(LEVELS, int(2 * log2(1 + number))) for number in counts]


def _words(text: Text) -> Iterator[str]:
    """The words; of a script without spaces, each two characters that stand together."""
    seen: set[str] = set()
    for token in text.tokens:
        if is_unspaced(token):
            yield from (token[at : at + 2] for at in range(len(token) - 1))
        elif token != BREAK and len(token) <= LONGEST_WORD:
            word = "0" if token.isdecimal() else token
            yield f"{word}+" if word in seen else word
            seen.add(word)


@lru_cache(maxsize=8192)
def _hash(word: str, key: bytes) -> bytes:
    return blake2b(word.encode(errors="replace"), key=key, digest_size=2).digest()
