"""The dictionary of task and topic words: `lexicon.toml`, compiled into hash tables."""

import tomllib
from collections import defaultdict
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple

LONGEST_PHRASE = 4
"""Words in the longest phrase of the dictionary."""
LONGEST_WORD = 40
"""Characters; what is longer is data, not a word."""
LONGEST_TERM = 5
"""Characters in the longest Chinese or Japanese term of the dictionary."""
_STEM_KEY = 3
"""Stems are found by so many of their first characters; Korean ones of 2 are listed among the words."""
_UNSPACED = range(0x3040, 0xA000)
"""Hiragana, katakana and CJK ideographs: scripts that write no spaces between words."""

_VERB_FINAL = (range(0xAC00, 0xD7A4), range(0x0900, 0x0980))
"""Hangul and Devanagari: their languages end a clause with its verb, so any word may be it."""

Category = tuple[str, str]
"""("task" | "topic", name)."""
Categories = tuple[Category, ...]


def is_unspaced(word: str) -> bool:
    """Does the word come from a script that writes no spaces (Chinese, Japanese)?"""
    return not word.isascii() and (ord(word[0]) in _UNSPACED or ord(word[-1]) in _UNSPACED)


def _is_verb_final(word: str) -> bool:
    return not word.isascii() and any(ord(word[0]) in script for script in _VERB_FINAL)


class Known(NamedTuple):
    """What there is to know about a word on its own."""

    categories: Categories
    phrases: dict[str, Categories]
    """The phrases that begin with the word."""
    seconds: frozenset[str]
    """The second words of these: most words that could begin a phrase are not followed by one."""
    verb_final: bool
    """Is it in the script of a language that ends clauses with their verbs?"""
    unspaced: bool
    """Is it a clause in a script without spaces, rather than a word?"""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Hash tables from words, stems and phrases to the categories that they belong to."""

    words: dict[str, Categories]
    stems: dict[str, list[tuple[str, Categories]]]
    """First characters → the stems that begin so, the longest first."""
    phrases: dict[str, dict[str, Categories]]
    """First word → the whole phrase → categories."""

    def look_up(self, word: str) -> Known | None:
        """None for a word that tells nothing, as most do."""
        if is_unspaced(word):
            return Known((), {}, frozenset(), False, unspaced=True)
        if len(word) > LONGEST_WORD:
            return None
        categories, phrases = self._of_word(word), self.phrases.get(word, {})
        if not categories and not phrases:
            return None
        seconds = frozenset(phrase.split()[1] for phrase in phrases)
        return Known(categories, phrases, seconds, _is_verb_final(word), unspaced=False)

    def _of_word(self, word: str) -> Categories:
        """What is listed for the word itself and for the longest stem that it begins with."""
        found = self.words.get(word, ())
        for stem, categories in self.stems.get(word[:_STEM_KEY], ()):
            if word.startswith(stem):
                return found + categories
        return found if word.isascii() else found + self.words.get(word[:2] + "*", ())

    def terms(self, clause: str) -> list[tuple[str, Categories]]:
        """The terms in a clause that is written without spaces, in their order."""
        pieces = (
            clause[start : start + size]
            for start in range(len(clause))
            for size in range(min(LONGEST_TERM, len(clause) - start), 0, -1)
        )
        return [(piece, self.words[piece]) for piece in pieces if piece in self.words]


@cache
def lexicon() -> Lexicon:
    """The shipped dictionary, read once."""
    text = resources.files("tierwise.routing.analysis").joinpath("lexicon.toml").read_text(encoding="utf-8")
    return compile_lexicon(tomllib.loads(text))


@lru_cache(maxsize=4096)
def look_up(word: str) -> Known | None:
    """`Lexicon.look_up` in the shipped dictionary; remembers the words that it was asked for last."""
    return lexicon().look_up(word)


def compile_lexicon(tables: dict[str, dict[str, dict[str, str]]]) -> Lexicon:
    """From `{"task" | "topic": {category: {language: "word stem* two_words"}}}`."""
    words: defaultdict[str, Categories] = defaultdict(tuple)
    stems: defaultdict[str, Categories] = defaultdict(tuple)
    phrases: defaultdict[str, dict[str, Categories]] = defaultdict(dict)
    for kind, categories in tables.items():
        for name, languages in categories.items():
            for entry in dict.fromkeys(" ".join(languages.values()).split()):
                category = ((kind, name),)
                if "_" in entry:
                    _add_phrase(phrases, entry, category)
                elif entry.endswith("*") and len(entry) > _STEM_KEY:
                    stems[entry[:-1]] += category
                else:
                    words[entry] += category
    return Lexicon(dict(words), _by_first_characters(stems), dict(phrases))


def _add_phrase(phrases: dict[str, dict[str, Categories]], entry: str, category: Categories) -> None:
    phrase = entry.rstrip("*").replace("_", " ")
    table = phrases[phrase.split()[0]]
    for form in (phrase, f"{phrase}s") if entry.endswith("*") else (phrase,):
        table[form] = table.get(form, ()) + category


def _by_first_characters(stems: dict[str, Categories]) -> dict[str, list[tuple[str, Categories]]]:
    table: defaultdict[str, list[tuple[str, Categories]]] = defaultdict(list)
    for stem in sorted(stems, key=len, reverse=True):
        table[stem[:_STEM_KEY]].append((stem, stems[stem]))
    return dict(table)
