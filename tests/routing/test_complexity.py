"""What `analyze` says about prompts, seen from outside."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.routing.analysis.model import MalformedWeights, parse_model
from tierwise.routing.complexity import UNSURE_CONFIDENCE, analyze
from tierwise.routing.request import Message, Tier
from tierwise.routing.settings import ComplexityFactors

HERE = Path(__file__).parent
DESIGN = (
    "Design a fault-tolerant distributed queue with consistency guarantees, considering cost and latency."
)
EXPLAIN = "Explain how a heat pump works"
PAGE = "The old harbour town lived from herring until the shoals moved north. " * 30
FACTS = ("What is the capital of Chile?", "Who wrote Emma?")


LABELLED = [
    json.loads(line) for line in (HERE / "paraphrases.jsonl").read_text(encoding="utf-8").splitlines()
]
"""Prompts that the training never saw, with the tiers that they should get.

`issue`: fixed by the issue. The others were written one after the other and measured at once, before
anything was changed because of them: `first` 54 of 61 right, `second` 64 of 69, `third` 31 of 37.
"""


def labelled(name: str) -> list[tuple[str, str]]:
    return [(row["tier"], row["prompt"]) for row in LABELLED if row["set"] == name]


@pytest.mark.parametrize(("tier", "prompt"), labelled("issue"))
def test_the_fixed_examples_get_their_tiers(tier: str, prompt: str) -> None:
    assert analyze(prompt).tier == tier


def test_none_of_these_prompts_is_in_the_training_data() -> None:
    path = HERE.parents[1] / "routing" / "training" / "data" / "everyday.jsonl"
    trained = {json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()}
    assert not trained & {row["prompt"] for row in LABELLED}


@pytest.mark.parametrize("name", ["first", "second", "third"])
def test_other_prompts_of_each_kind_get_their_tiers(name: str) -> None:
    found = [analyze(prompt).tier == tier for tier, prompt in labelled(name)]
    assert sum(found) / len(found) >= 0.9


def test_no_prompt_is_taken_for_simple_when_it_is_complex_or_the_reverse() -> None:
    for row in LABELLED:
        assert abs(analyze(row["prompt"]).tier.rank - Tier(row["tier"]).rank) < 2


def test_the_contributions_add_up_to_the_score() -> None:
    for prompt in (DESIGN, EXPLAIN, "Hi", "zxcv qwer", PAGE):
        found = analyze(prompt)
        assert sum(found.contributions.values()) == pytest.approx(found.score - 0.5)


def test_the_reason_names_what_counted() -> None:
    assert "design" in analyze(DESIGN).reason
    assert "systems" in analyze(DESIGN).reason
    assert "small talk" in analyze("Thanks!").reason


@pytest.mark.parametrize(
    "prompt",
    ["", "   ", "zxcv qwer asdf", "\ud800\udfff\ud800", "\x00\x01" * 400, "ሰላም እንዴት ነህ", "a" * 9_000],
)
def test_where_nothing_tells_the_answer_is_unsure_and_standard(prompt: str) -> None:
    found = analyze(prompt)
    assert found.tier is Tier.STANDARD
    assert found.confidence == UNSURE_CONFIDENCE
    assert "unsure" in found.reason


def test_unsure_means_standard_with_other_cuts_too() -> None:
    assert analyze("zxcv qwer asdf", cuts=(0.6, 0.95)).tier is Tier.STANDARD
    assert analyze("zxcv qwer asdf", cuts=(0.05, 0.1)).tier is Tier.STANDARD


@pytest.mark.parametrize("reply", ["yes", "Thanks!", "ok", "No, thank you", "好的 谢谢", "danke", "да"])
def test_a_bare_reply_is_simple_whatever_went_before(reply: str) -> None:
    assert analyze(reply, [Message("user", DESIGN), Message("assistant", "Part one…")]).tier is Tier.SIMPLE


@pytest.mark.parametrize(
    "more", ["go on", "Continue", "please continue", "weiter", "继续", "продолжай", "ok, go on please"]
)
@pytest.mark.parametrize("turn", [DESIGN, EXPLAIN, *FACTS])
def test_going_on_is_as_hard_as_what_it_goes_on_with(more: str, turn: str) -> None:
    history = [Message("user", turn), Message("assistant", "Part one…")]
    assert analyze(more, history).tier is analyze(turn).tier


def test_going_on_twice_still_means_the_first_turn() -> None:
    history = [
        Message("user", DESIGN),
        Message("assistant", "…"),
        Message("user", "go on"),
        Message("assistant", "…"),
    ]
    assert analyze("continue", history).tier is Tier.COMPLEX


def test_going_on_with_nothing_is_unsure() -> None:
    assert analyze("go on").tier is Tier.STANDARD


def test_a_long_history_does_not_make_a_prompt_harder() -> None:
    history = [Message("user", DESIGN), Message("assistant", PAGE)] * 50
    assert analyze(EXPLAIN, history) == analyze(EXPLAIN)


def test_a_factor_as_usual_changes_nothing() -> None:
    usual = ComplexityFactors(
        length=0.2, technical_terms=0.3, question_complexity=0.25, code_present=0.15, history_depth=0.1
    )
    assert analyze(DESIGN, factors=usual) == analyze(DESIGN)


def test_a_factor_of_zero_switches_its_features_off() -> None:
    without = analyze(DESIGN, factors=ComplexityFactors(technical_terms=0))
    assert without.score < analyze(DESIGN).score
    assert all(share == 0 for name, share in without.contributions.items() if name.startswith("topic."))


def test_both_sets_of_factor_names_are_understood() -> None:
    assert analyze(DESIGN, factors=ComplexityFactors(keyword_weight=0)).score < analyze(DESIGN).score
    assert analyze("Hi", factors=ComplexityFactors(token_count_weight=0)).score > analyze("Hi").score


def test_without_history_weight_going_on_does_not_inherit() -> None:
    history = [Message("user", DESIGN)]
    assert analyze("go on", history, factors=ComplexityFactors(history_depth=0)).tier is Tier.STANDARD


def test_cuts_move_the_tiers() -> None:
    score = analyze(EXPLAIN).score
    assert analyze(EXPLAIN, cuts=(score + 0.01, 0.9)).tier is Tier.SIMPLE
    assert analyze(EXPLAIN, cuts=(0.01, score - 0.01)).tier is Tier.COMPLEX


def test_saying_that_it_is_simple_does_not_make_it_so() -> None:
    assert analyze(f"This is a simple, easy, trivial one. {DESIGN}").tier is Tier.COMPLEX


def test_a_repeated_keyword_counts_once() -> None:
    assert analyze("design " * 500).score < analyze(DESIGN).score


def test_words_of_a_text_to_be_translated_do_not_make_the_task_hard() -> None:
    assert analyze(f"Translate this to German: {DESIGN}").tier is not Tier.COMPLEX


def test_only_head_and_tail_of_a_huge_prompt_are_read() -> None:
    filler = "x" * 10_000_000
    assert "design" in analyze(f"{DESIGN}\n{filler}").reason
    assert "task.design" in analyze(f"{filler}\n{DESIGN}").contributions
    assert "task.design" not in analyze(f"{filler}\n{DESIGN}\n{filler}").contributions


@given(st.text(alphabet=st.characters(), max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_text_gets_a_defined_answer_that_is_the_same_each_time(prompt: str) -> None:
    found = analyze(prompt)
    assert found == analyze(prompt)
    assert 0 <= found.score <= 1
    assert 0 <= found.confidence <= 1
    assert 0 <= found.p_cheap_fails <= 1
    assert all(math.isfinite(share) for share in found.contributions.values())


@given(
    st.sampled_from([EXPLAIN, *FACTS, "Write a haiku about rain"]),
    st.sampled_from(["prove", "theorem", "distributed", "consistency", "trade-offs", "regulation"]),
)
def test_evidence_of_hardness_never_lowers_the_score(prompt: str, word: str) -> None:
    assert analyze(f"{prompt} {word}").score >= analyze(f"{prompt} table").score


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"tier": 1, "cut": 1, "fails": 1}',
        '{"tier": {"bias": 0, "weights": {}}, "cut": 0, "fails": {"bias": 0, "weights": {}}}',
        '{"tier": {"bias": "x", "weights": {}}, "cut": 1, "fails": {"bias": 0, "weights": {}}}',
    ],
)
def test_a_malformed_weights_file_is_said_so(text: str) -> None:
    with pytest.raises(MalformedWeights, match="weights file is malformed"):
        parse_model(text)
