from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.providers.thinking import ThinkingFilter

texts = st.lists(
    st.sampled_from(["<think>", "</think>", "<thi", "nk>", " ", "\n", "answer", "<", ">"]), max_size=12
).map("".join)


def answer_in(*pieces: str) -> str:
    thinking = ThinkingFilter()
    return "".join(map(thinking.feed, pieces)) + thinking.close()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("An answer.", "An answer."),
        ("<think>Hm.</think>\n\nAn answer.", "An answer."),
        (" \n<think></think>An answer.", "An answer."),
        ("An <think>odd</think> answer.", "An <think>odd</think> answer."),
        ("<think>cut by the token lim", ""),
        ("<thi", "<thi"),
        ("", ""),
    ],
)
def test_only_a_block_that_opens_the_answer_is_thinking(text: str, answer: str) -> None:
    assert answer_in(text) == answer


@given(texts, st.lists(st.integers(0, 80)))
def test_the_answer_does_not_depend_on_where_the_text_is_cut(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert answer_in(*pieces) == answer_in(text)


@given(st.text())
def test_an_answer_without_thinking_comes_out_whole(text: str) -> None:
    assert answer_in(*text) == text or text.lstrip().startswith("<think>")
