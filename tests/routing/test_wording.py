"""Which prompts may share an answer at all."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.cache.wording import essence

_LINES = Path(__file__).with_name("near_duplicates.jsonl").read_text("utf-8").splitlines()
PAIRS = [json.loads(line) for line in _LINES]
DIFFERENT = [pair for pair in PAIRS if not pair["same"]]


def may_share(one: str, other: str) -> bool:
    return essence(one) is not None and essence(one) == essence(other)


@pytest.mark.parametrize(
    "pair", [pair for pair in DIFFERENT if pair["kind"] != "aimed at the rules"], ids=lambda pair: pair["b"]
)
def test_prompts_that_need_different_answers_share_none(pair: dict[str, str]) -> None:
    assert not may_share(pair["a"], pair["b"])


SAME = [
    ("What is the capital of France?", "what's the capital of France"),
    ("Explain recursion", "Can you explain recursion, please?"),
    ("Explain recursion", "Hello! Could you please explain recursion?"),
    ("How can I reverse a list in Python?", "how to reverse a list in Python"),
    ("Why can't cats swim?", "Why cannot cats swim?"),
    ("Write a SQL query", "please write me an SQL query."),
    ("Fix this: x = 1", "Please Fix this: x = 1"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_courtesies_contractions_and_the_last_mark_do_not_matter(one: str, other: str) -> None:
    assert may_share(one, other)


MEANT = [
    ("Say please in German", "Say thanks in German"),
    ("How would you say thank you?", "How would you say please?"),
    ("Can you swim well?", "swim well"),
    ("Translate: good morning", "Translate: Good morning"),
    ("print('a  b')", "print('a b')"),
    ("if a:\n  b", "if a:\nb"),
    ("Is it 5%?", "Is it 5?"),
    ("Did US firms win?", "Did us firms win?"),
]


@pytest.mark.parametrize(("one", "other"), MEANT)
def test_what_is_spoken_about_does_matter(one: str, other: str) -> None:
    assert not may_share(one, other)


@pytest.mark.parametrize("prompt", ["", "Hello!", " \n", "Please", "?"])
def test_a_prompt_of_less_than_two_words_shares_no_answer(prompt: str) -> None:
    assert essence(prompt) is None


@given(st.text(st.characters(), max_size=300))
def test_any_text_at_all_has_an_essence_or_none(prompt: str) -> None:
    assert essence(prompt) == essence(f"  {prompt}\t ")


@given(st.from_regex(r"([A-Za-z]{2,8} ){2,12}[0-9]+", fullmatch=True), st.integers(0, 9))
def test_no_two_numbers_are_the_same(prompt: str, digit: int) -> None:
    assert not may_share(prompt, f"{prompt}{digit}")
