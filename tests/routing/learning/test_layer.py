"""What the online layer learns, and what no outcomes can make it do."""

import gzip
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.routing.complexity import Complexity, analyze
from tierwise.routing.learning.description import describe, unpack
from tierwise.routing.learning.head import MOST_COMMON_SHIFT, MOST_OWN_SHIFT
from tierwise.routing.learning.layer import Layer, explored
from tierwise.routing.measures import routing
from tierwise.routing.request import Message, Tier
from tierwise.storage.outcomes import OutcomeSource, StoredOutcome, Verdict

KEY = b"k" * 32
DATA = Path(__file__).parents[3] / "routing" / "training" / "data" / "routing-dev.jsonl.gz"
EVERYDAY = [
    "Hello!",
    "Thanks",
    "What is the capital of France?",
    "Translate 'good morning' to Spanish",
    "Explain how a hash table handles collisions.",
    "Write a polite email to my landlord about the broken heater, with three options.",
    "Prove that there are infinitely many primes of the form 4k+3.",
    "Design a fault-tolerant job queue that delivers each job exactly once across three regions.",
]


@cache
def rows() -> list[dict[str, Any]]:
    lines = gzip.decompress(DATA.read_bytes()).decode().splitlines()
    found = [row for row in map(json.loads, lines) if row["source"] == "bfcl-v1"]
    return random.Random(0).sample(found, len(found))  # noqa: S311  always the same order


def described(prompt: str) -> tuple[Complexity, bytes]:
    prior = analyze(prompt)
    return prior, describe(prompt, (), prior, KEY)


def outcome(prompt: str, verdict: Verdict, tier: str | None = "simple") -> StoredOutcome:
    return StoredOutcome(
        call_id=None,
        at=0,
        verdict=verdict,
        source=OutcomeSource.RATED,
        tier_served=tier,
        complexity_score=None,
        features=described(prompt)[1],
    )


def measured(count: int) -> list[StoredOutcome]:
    """The verdicts on a cheap model's function calls."""
    return [
        outcome(row["prompt"], Verdict.GOOD if row["weak_ok"] else Verdict.TOO_WEAK) for row in rows()[:count]
    ]


def fitted(outcomes: list[StoredOutcome], *, least: int = 30) -> Layer:
    return Layer.fit(outcomes, key=KEY, min_outcomes=least)


def adjusted(layer: Layer, prompt: str) -> Complexity:
    return layer.adjust(*described(prompt))


def test_four_hundred_outcomes_of_function_calls_teach_to_route_them():
    layer, unseen = fitted(measured(400)), rows()[400:]
    weak, strong = [row["weak_ok"] for row in unseen], [row["strong_ok"] for row in unseen]
    before = routing([analyze(row["prompt"]).score for row in unseen], weak, strong)
    after = routing([adjusted(layer, row["prompt"]).score for row in unseen], weak, strong)
    assert before.apgr < 0.48
    assert after.apgr > 0.64


def test_too_few_outcomes_change_nothing():
    layer = fitted(measured(29))
    assert all(adjusted(layer, prompt) == analyze(prompt) for prompt in EVERYDAY)


def test_the_same_outcomes_teach_the_same():
    one, other = fitted(measured(60)), fitted(measured(60))
    assert [adjusted(one, row["prompt"]) for row in rows()[60:90]] == [
        adjusted(other, row["prompt"]) for row in rows()[60:90]
    ]


@pytest.mark.parametrize("verdict", [Verdict.TOO_WEAK, Verdict.GOOD])
def test_hundreds_of_one_verdict_do_not_send_everything_to_one_tier(verdict: Verdict):
    layer = fitted([outcome(prompt, verdict) for prompt in EVERYDAY * 40])
    tiers = {adjusted(layer, prompt).tier for prompt in EVERYDAY}
    assert len(tiers) > 1


def test_verdicts_that_contradict_each_other_do_not_send_everything_to_one_tier():
    both = [
        outcome(prompt, verdict) for prompt in EVERYDAY * 20 for verdict in (Verdict.TOO_WEAK, Verdict.GOOD)
    ]
    layer = fitted(both)
    assert len({adjusted(layer, prompt).tier for prompt in EVERYDAY}) > 1


def test_what_was_learned_of_one_kind_of_prompts_leaves_greetings_alone():
    layer = fitted([outcome(row["prompt"], Verdict.TOO_WEAK) for row in rows()[:300]])
    assert adjusted(layer, "Hello!").tier is Tier.SIMPLE


@settings(deadline=None)  # the first example fits the layer
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(range(40)))
def test_a_shift_is_bounded_and_a_higher_prior_never_ends_lower(one: float, other: float, at: int):
    layer = bounded_layer()
    description = unpack(described(rows()[200 + at]["prompt"])[1])
    assert layer.score
    assert description
    low, high = sorted((8 * one - 4, 8 * other - 4))
    shifts = [
        layer.score.shift(prior, description.words, (), description.fails_logit) for prior in (low, high)
    ]
    assert max(map(abs, shifts)) <= MOST_COMMON_SHIFT + MOST_OWN_SHIFT
    assert low + shifts[0] <= high + shifts[1] + 1e-9


@cache
def bounded_layer() -> Layer:
    return fitted(measured(200))


@settings(deadline=None)
@given(st.binary(max_size=1100))
def test_features_that_are_none_change_nothing_or_are_read(features: bytes):
    prior = analyze("What is the capital of France?")
    found = bounded_layer().adjust(prior, features)
    assert found == prior or unpack(features)
    assert 0 <= found.score <= 1


def test_malformed_features_do_not_count():
    broken = StoredOutcome(
        call_id=None,
        at=0,
        verdict=Verdict.GOOD,
        source=OutcomeSource.RATED,
        tier_served="simple",
        complexity_score=None,
        features=b"\x07nonsense",
    )
    assert fitted([broken] * 100) == Layer()


def test_what_was_learned_is_a_contribution_and_is_said():
    layer = fitted(measured(400))
    changed = [adjusted(layer, row["prompt"]) for row in rows()[400:500]]
    told = [found for found in changed if "outcomes of your calls" in found.reason]
    assert told
    for found in changed:
        assert sum(found.contributions.values()) == pytest.approx(found.score - 0.5)
        assert found.reason.startswith(f"{found.tier}: ")


@settings(deadline=None)
@given(st.text(max_size=3000))
def test_a_description_is_small_and_can_be_read(prompt: str):
    _, features = described(prompt)
    assert len(features) <= 1024
    assert unpack(features)


def test_a_description_holds_no_text_and_depends_on_the_key():
    prompt = "Tell Rumpelstiltskin about confidential acquisitions"
    prior, features = described(prompt)
    assert b"Rumpel" not in features
    assert b"rumpel" not in features
    assert describe(prompt, (), prior, b"o" * 32) != features


def test_go_on_is_described_as_the_turn_that_it_goes_on_with():
    history = [Message("user", EVERYDAY[-1]), Message("assistant", "First, …")]
    prior = analyze("go on", history)
    assert describe("go on", history, prior, KEY) == describe(EVERYDAY[-1], (), prior, KEY)


def test_exploring_tries_a_tier_lower_only_where_that_is_uncertain():
    prior = analyze(EVERYDAY[4])
    unsure = Complexity(
        score=0.5,
        tier=Tier.STANDARD,
        confidence=0.4,
        p_cheap_fails=0.5,
        contributions={},
        reason=prior.reason,
    )
    assert explored(unsure, 0.1, 0.05).tier is Tier.SIMPLE
    assert explored(unsure, 0.1, 0.1) == unsure
    assert explored(unsure, 0.0, 0.0) == unsure
    sure = adjusted(Layer(), "Hello!")
    assert explored(sure, 0.5, 0.0) == sure
