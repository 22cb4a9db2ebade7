"""Named features of a prompt: what kind of task, about what, how long, in what shape; each about 0 to 1."""

# ruff: noqa: RUF001 - the question marks of other scripts

from dataclasses import dataclass
from math import log2

from tierwise.routing.analysis.hits import ASIDE, Hits, find
from tierwise.routing.analysis.lexicon import is_unspaced
from tierwise.routing.analysis.text import BREAK, Text, read

REFERENCE_WORDS = 14
"""A question of so many words is neither short nor long: about the median of the everyday set."""
_TRANSFORMS = {"translate", "rewrite", "summarise", "extract"}
"""Tasks whose text is material: its words say little about how hard the task is."""
_SMALL_TASKS = {"look_up", "translate", "command", "give"}
"""With these, a short question is an easy one."""
_NOUNS = {"translate", "summarise"}
"""Of these, the ones that are also asked for by a noun: "Give me a summary of…"."""
_MODIFIERS = {"brief", "format", "politeness", "smalltalk", "continue", "quantity"}
"""Topics that say how an answer should be, or nothing at all; the others name a subject."""
_OPTIONS = ("\na. ", "\na) ", "\n(a) ", "\na: ")
"""Where the options of a multiple-choice question begin: they are not the question."""
_MOST_REPEATED = 3
"""Prose uses each of its words so often, at most, on average: what repeats more is no longer for it."""
_OPENING_QUOTES = ('"', " '", "('", "['", "{'")
"""Where an apostrophe is a quotation mark."""
LONGEST_LITERAL = 63
"""Characters; what stands between two more distant quotation marks is prose with apostrophes."""
_SMALLTALK_WORDS = 12
"""More words than these are never only small talk."""


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one prompt; those that are 0 are left out."""

    values: dict[str, float]
    evident: bool
    """Does anything in the prompt tell what it asks for?"""
    continues: bool
    """Does it only ask to go on?"""


def extract(prompt: str) -> Features:
    """Reads head and tail of the prompt once; takes time that is bounded whatever its size."""
    text = read(prompt)
    words = [token for token in text.tokens if token != BREAK]
    if not words:
        return Features({}, evident=False, continues=False)
    hits = find(text.window)
    values = _asked(hits) | _length(text, words) | _shape(text, words)
    values["smalltalk.share"] = _smalltalk(words, hits)
    for name in _of_material(hits, values):
        values[name] *= ASIDE
    if _is_work(hits):
        values["length.short"] /= 2
    return Features(
        {name: value for name, value in values.items() if value},
        evident=_is_evident(hits, values),
        continues=_continues(words, hits),
    )


def _is_work(hits: Hits) -> bool:
    """Is more asked for than a small task? "Explain recursion" and "FizzBuzz in Rust" are short, and work."""
    return not hits.tasks.keys() <= _SMALL_TASKS or ("code" in hits.topics and not hits.tasks)


def _is_evident(hits: Hits, values: dict[str, float]) -> bool:
    symbols = values["shape.code"] + values["shape.latex"] + values["shape.operators"]
    named = hits.topics.keys() - _MODIFIERS - {"constraint", "sequence", "condition"}
    # A short question or sum shows by its marks and numbers what it is, in any language.
    short_question = values["length.short"] and (values["shape.questions"] or values["shape.numbers"] > 0.3)
    works = hits.tasks.keys() - {"look_up", "command", "give"}
    return bool(
        hits.asks or works or named or short_question or values["smalltalk.share"] >= 0.3 or symbols > 0.4
    )


def _continues(words: list[str], hits: Hits) -> bool:
    if "continue" not in hits.topics or len(words) > _SMALLTALK_WORDS:
        return False
    return len(words) == 1 or hits.words("continue", "politeness", "smalltalk").issuperset(words)


def _smalltalk(words: list[str], hits: Hits) -> float:
    if "smalltalk" not in hits.topics or len(words) > _SMALLTALK_WORDS:
        return 0.0
    known = hits.words("smalltalk", "politeness")
    share = sum(word in known or is_unspaced(word) for word in words) / len(words)
    return max(0.0, 2 * share - 1)


def _saturating(count: float) -> float:
    """0, 1/2, 3/4, 7/8 …: the tenth word of a kind says little more than the third."""
    return 1 - 0.5**count


def _log(count: float, full: float) -> float:
    """Log scale from 0 to 1, which is reached at `full`."""
    return min(1.0, log2(1 + count) / log2(1 + full))


def _asked(hits: Hits) -> dict[str, float]:
    """Tasks and topics."""
    found = {f"task.{task}": value for task, value in hits.tasks.items()}
    found |= {f"topic.{topic}": _saturating(len(words)) for topic, words in hits.topics.items()}
    if hits.main:
        found[f"main.{hits.main}"] = 1.0
    found["shape.asks"] = _log(max(0, hits.asks - 1), 7)
    return found


def _of_material(hits: Hits, values: dict[str, float]) -> set[str]:
    """The features that tell of a text to be worked on, or of a thing to be looked up, not of the task."""
    subjects = {f"topic.{topic}" for topic in hits.topics.keys() - _MODIFIERS}
    if hits.main in _TRANSFORMS or (hits.main in {"", "write"} and not _NOUNS.isdisjoint(hits.tasks)):
        tasks = {f"task.{task}" for task in hits.tasks.keys() - _TRANSFORMS}
        return subjects | tasks | {name for name in values if name.startswith("shape.")} | {"length.long"}
    return subjects if hits.tasks.keys() == {"look_up"} else set()


def _length(text: Text, words: list[str]) -> dict[str, float]:
    """Of the question, without its options, on a log scale around the usual length."""
    lower = text.raw.lower()
    end = min((at for at in map(lower.find, _OPTIONS) if at > 0), default=0)
    count = lower.count(" ", 0, end) + 1.0 if end else _word_count(text, words) * text.length / len(text.raw)
    # Two words more: whether a question has one word or three makes little difference.
    octaves = log2((count + 2) / (REFERENCE_WORDS + 2))
    return {"length.short": max(0.0, -octaves) / 3, "length.long": max(0.0, min(5.0, octaves)) / 5}


def _word_count(text: Text, words: list[str]) -> float:
    """Words; where a script has no spaces, two characters for one."""
    once = min(len(words), _MOST_REPEATED * len(set(words)))
    if text.raw.isascii():
        return once
    return once + sum(max(0.0, len(word) / 2 - 1) for word in words if is_unspaced(word))


def _shape(text: Text, words: list[str]) -> dict[str, float]:
    count = text.raw.count
    distinct = set(words)
    code = _log(sum(map(count, "={}()[]_;")), 255)
    return {
        "shape.questions": _log(sum(map(count, "?？؟")), 7),
        "shape.commas": min(1.0, 4 * count(",") / len(words)),
        "shape.long_words": len([word for word in distinct if len(word) > 8]) / max(6, len(distinct)),
        "shape.numbers": _log(sum(map(str.isdecimal, words)), 31),
        "shape.operators": _log(sum(map(count, "+*/^<>%=")), 31),
        "shape.latex": _log(sum(map(count, "\\$^")), 63),
        "shape.code": code,
        "shape.quotes": _log(sum(map(count, _OPENING_QUOTES)), 31),
        "shape.literal": code * _log(_longest_literal(text.raw), LONGEST_LITERAL),
        "shape.relations": _log(words.count("of"), 15),
    }


def _longest_literal(raw: str) -> int:
    """Characters of the longest quoted text; in code, a model has to keep track of each of them."""
    quoted = raw.replace('"', "'").split("'")[1::2]
    return max((len(text) for text in quoted if len(text) <= LONGEST_LITERAL), default=0)
