"""What every store does with outcomes, and with what is kept of calls for their sake."""

from dataclasses import replace

import pytest

from tests.storage.samples import NOON, attempt, call, outcome
from tierwise.storage.errors import UnknownCall
from tierwise.storage.outcomes import OutcomeSource, StoredOutcome, Verdict
from tierwise.storage.ports import Store

pytestmark = pytest.mark.anyio

IMPORTED = StoredOutcome(
    call_id=None,
    at=NOON + 5,
    verdict=Verdict.GOOD,
    source=OutcomeSource.RATED,
    tier_served="standard",
    complexity_score=0.5,
    features=b"\0\xff",
)


async def test_scores_come_newest_first_from_calls_that_have_one(store: Store) -> None:
    for number, score in enumerate([0.1, None, 0.3, 0.0]):
        await store.record(call(str(number), complexity_score=score, operation=f"op{number}"))
    assert await store.recent_scores(10) == [0.0, 0.3, 0.1]
    assert await store.recent_scores(2) == [0.0, 0.3]


async def test_an_outcome_keeps_what_was_known_of_its_call(store: Store) -> None:
    served = {"tier_served": "complex", "complexity_score": 0.25, "features": b"\x01\x00"}
    await store.record(call("a", attempt(), **served))
    await store.add_outcome(outcome("a", note="ran out of ideas"))
    assert await store.outcomes(10) == [
        StoredOutcome(
            call_id="a",
            at=NOON,
            verdict=Verdict.TOO_WEAK,
            source=OutcomeSource.RATED,
            note="ran out of ideas",
            tier_served="complex",
            complexity_score=0.25,
            features=b"\x01\x00",
        )
    ]


async def test_an_outcome_of_a_call_without_features_has_none(store: Store) -> None:
    await store.record(call("a"))
    await store.add_outcome(outcome("a"))
    [found] = await store.outcomes(1)
    assert (found.tier_served, found.complexity_score, found.features) == (None, None, None)


async def test_features_of_more_than_a_kilobyte_are_not_kept_and_harm_nothing(store: Store) -> None:
    for call_id, size in (("a", 1_024), ("b", 1_025)):
        await store.record(call(call_id, features=b"x" * size))
        await store.add_outcome(outcome(call_id))
    assert [found.features for found in await store.outcomes(10)] == [None, b"x" * 1_024]


async def test_an_unknown_call_is_said(store: Store) -> None:
    with pytest.raises(UnknownCall, match=r"No call is recorded under the call_id 'never'\."):
        await store.add_outcome(outcome("never"))
    assert await store.outcomes(10) == []


async def test_the_same_source_may_change_its_mind_and_another_adds(store: Store) -> None:
    await store.record(call("a", features=b"f"))
    await store.add_outcome(outcome("a", note="at first"))
    await store.add_outcome(outcome("a", at=NOON + 1, source=OutcomeSource.ESCALATED))
    await store.add_outcome(outcome("a", at=NOON + 2, verdict=Verdict.GOOD))
    found = await store.outcomes(10)
    assert [(one.source, one.verdict, one.note, one.features) for one in found] == [
        (OutcomeSource.RATED, Verdict.GOOD, None, b"f"),
        (OutcomeSource.ESCALATED, Verdict.TOO_WEAK, None, b"f"),
    ]


async def test_a_long_note_is_cut(store: Store) -> None:
    await store.record(call("a"))
    await store.add_outcome(outcome("a", note="é" * 501))
    [found] = await store.outcomes(1)
    assert found.note == "é" * 500


async def test_outcomes_come_newest_first_whenever_they_were_added(store: Store) -> None:
    for call_id, at in (("a", 2), ("b", 3), ("c", 1), ("d", 3)):
        await store.record(call(call_id))
        await store.add_outcome(outcome(call_id, at=at))
    assert [found.call_id for found in await store.outcomes(3)] == ["d", "b", "a"]


async def test_outcomes_can_be_imported_without_calls(store: Store) -> None:
    await store.import_outcomes([IMPORTED, replace(IMPORTED, at=NOON)])
    assert await store.outcomes(10) == [IMPORTED, replace(IMPORTED, at=NOON)]


async def test_importing_what_was_taken_out_changes_nothing(store: Store) -> None:
    await store.record(call("a", features=b"f"))
    await store.add_outcome(outcome("a"))
    taken = await store.outcomes(10)
    await store.import_outcomes(taken)
    assert await store.outcomes(10) == taken
    assert await store.reset_outcomes() == 1
    await store.import_outcomes(taken)
    assert await store.outcomes(10) == taken


async def test_resetting_forgets_all_outcomes_and_no_call(store: Store) -> None:
    await store.record(call("a", features=b"f"))
    await store.add_outcome(outcome("a"))
    await store.import_outcomes([IMPORTED])
    assert await store.reset_outcomes() == 2
    assert await store.outcomes(10) == []
    await store.add_outcome(outcome("a"))
    assert [found.features for found in await store.outcomes(10)] == [b"f"]
