"""What becomes of an answer's text when its stream breaks off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.draft import Draft, joined, up_to_last_word
from tierwise.routing.providers.base import Completion, Usage
from tierwise.routing.request import Message, Payload

LONG = "It was the best of times, it was the worst of times, "
ASKED = Payload(messages=(Message("user", "How does it begin?"),))


def broken(text: str, *, keep: bool) -> Draft:
    draft = Draft()
    writer = draft.begin("a/first")
    for word in text.split(" "):
        writer.write(f"{word} ")
    writer.pieces[-1] = writer.pieces[-1].removesuffix(" ")
    assert draft.text == text
    draft.break_off(writer, "a/first", keep=keep)
    return draft


@given(st.text(), st.text())
def test_nothing_of_two_texts_is_lost_but_what_the_second_repeats(kept: str, more: str) -> None:
    whole = joined(kept, more)
    assert whole.startswith(kept)
    added = whole[len(kept) :]
    assert more.endswith(added)
    assert (kept + more).startswith(kept + added) or kept.endswith(more[: len(more) - len(added)] or " ")


@given(st.text(min_size=12, max_size=100), st.text(max_size=100), st.integers(12, 100))
def test_a_continuation_that_repeats_the_end_is_joined_without_it(text: str, more: str, length: int) -> None:
    tail = text[-length:]
    whole = joined(text, tail + more)
    assert len(whole) <= len(text + more)
    assert whole.startswith(text)


def test_what_two_texts_share_by_chance_is_kept() -> None:
    assert joined("ha ha ", "ha ha!") == "ha ha ha ha!"
    assert joined(LONG, "it was the age") == f"{LONG}it was the age"
    assert joined("one ", " two") == "one two"
    assert joined("one", " two") == "one two"
    assert joined("def f():\n", "    return 1") == "def f():\n    return 1"


@given(st.text())
def test_only_a_last_word_is_cut_off(text: str) -> None:
    kept = up_to_last_word(text)
    assert text.startswith(kept)
    assert len(text) - len(kept) <= 40
    assert not any(space in text[len(kept) :] for space in " \n\t")


def test_a_text_without_words_is_kept_whole() -> None:
    assert up_to_last_word("x" * 100) == "x" * 100
    assert up_to_last_word("一二三") == "一二三"


def test_what_broke_off_is_gone_where_nothing_is_kept_and_that_is_said() -> None:
    draft = broken(f"{LONG}it was the a", keep=False)
    assert (draft.text, draft.asking(ASKED)) == ("", ASKED)
    assert draft.notice == "(a/first broke off.)"
    draft.begin("a/second").write("Once upon")
    assert draft.text == "Once upon"
    assert draft.notice == "(a/first broke off; a/second starts over.)"


def test_what_is_kept_is_asked_to_be_gone_on_from_and_comes_first() -> None:
    draft = broken(f"{LONG}it was the a", keep=True)
    *_, said, order = draft.asking(ASKED).messages
    assert said == Message("assistant", f"{LONG}it was the ")
    assert "begin with the very next word" in order.content
    writer = draft.begin("a/second")
    assert draft.notice == "(a/first broke off; a/second goes on from there.)"
    writer.write("age of wisdom")
    rest = Completion(content="age of wisdom", finish_reason="stop", usage=Usage(output_tokens=4))
    whole = draft.completed(rest, ASKED)
    assert whole.content == draft.text == f"{LONG}it was the age of wisdom"
    assert whole.usage.estimated
    assert whole.usage.output_tokens > 4
    assert draft.authors == ["a/first"]


def test_a_continuation_that_begins_by_repeating_never_shows_it_twice() -> None:
    draft = broken(f"{LONG}it", keep=True)
    writer = draft.begin("a/second")
    shown: list[str] = []
    for piece in ("it was the ", "worst of ", "times, ", "it was ", "the age"):
        writer.write(piece)
        shown.append(draft.text)
    assert shown == [LONG, LONG, LONG, f"{LONG}it was ", f"{LONG}it was the age"]


def test_a_second_break_keeps_what_both_have_written() -> None:
    draft = broken(f"{LONG}it", keep=True)
    writer = draft.begin("a/second")
    writer.write("it was the age of wis")
    draft.break_off(writer, "a/second", keep=True)
    assert draft.text == f"{LONG}it was the age of "
    assert draft.authors == ["a/first", "a/second"]


@pytest.mark.parametrize("text", ["", " ", "\n "])
def test_nothing_but_blanks_is_not_gone_on_from(text: str) -> None:
    draft = Draft()
    writer = draft.begin("a/first")
    writer.write(text)
    draft.break_off(writer, "a/first", keep=True)
    assert (draft.kept, draft.authors) == ("", [])


def test_an_attempt_that_fails_without_a_word_changes_nothing() -> None:
    draft = broken(LONG, keep=True)
    draft.break_off(draft.begin("a/second"), "a/second", keep=True)
    assert draft.text == LONG
    assert draft.begin("a/third").text == ""
    assert draft.notice == "(a/first broke off; a/third goes on from there.)"


def test_of_two_that_write_the_first_is_shown() -> None:
    draft = Draft()
    slow, fast = draft.begin("a/slow"), draft.begin("a/fast")
    fast.write("fast")
    slow.write("slow")
    assert draft.text == "fast"
    draft.end(slow)
    assert draft.text == "fast"
