"""The engine learns from verdicts, keeps what it needs for that, and nothing more."""

import anyio

from tests.fake_provider import FakeProvider
from tests.routing.bench import MARKS, PATIENCE, Bench, running
from tierwise.routing.learning.description import unpack
from tierwise.routing.request import ChatRequest, Tier
from tierwise.routing.settings import LearningSettings
from tierwise.storage.outcomes import Verdict
from tierwise.storage.ports import Store

pytestmark = MARKS

QUESTIONS = [
    f"What is the boiling point of compound {letter}{number}?" for letter in "ABCDEF" for number in range(10)
]


async def score(bench: Bench, prompt: str) -> float:
    return (await bench.engine.plan(ChatRequest(prompt=prompt))).judged.score


async def taught(bench: Bench, verdict: Verdict) -> None:
    """One verdict on each of the questions."""
    for question in QUESTIONS:
        receipt = await bench.ask(prompt=question, tier=Tier.SIMPLE)
        await bench.engine.judgement.rate(receipt.call_id, verdict)


async def test_verdicts_move_the_score_of_prompts_of_their_kind_and_a_new_start_remembers(
    fake: FakeProvider, store: Store
) -> None:
    unseen = "What is the boiling point of compound G7?"
    async with running(fake, store) as bench:
        before = await score(bench, unseen)
        await taught(bench, Verdict.TOO_WEAK)
    async with running(fake, store) as bench:
        with anyio.fail_after(PATIENCE):
            while await score(bench, unseen) <= before:  # noqa: ASYNC110  it is learned in the background
                await anyio.sleep(0.01)
        plan = await bench.engine.plan(ChatRequest(prompt=unseen))
        assert "learned" in plan.judged.contributions
        assert "by the outcomes of your calls" in plan.reason


async def test_nothing_is_kept_or_learned_where_learning_is_off(fake: FakeProvider, store: Store) -> None:
    off = LearningSettings(enabled=False)
    async with running(fake, store, learning=off) as bench:
        await taught(bench, Verdict.TOO_WEAK)
        assert all(record.features is None for record in bench.records)
        assert (
            "learned" not in (await bench.engine.plan(ChatRequest(prompt=QUESTIONS[0]))).judged.contributions
        )


async def test_what_is_kept_of_a_prompt_describes_it_without_its_text(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store) as bench:
        await bench.ask(prompt="Where is the treasure of Captain Flint?")
        features = bench.records[0].features
    assert features is not None
    assert b"treasure" not in features.lower()
    assert unpack(features) is not None


async def test_exploring_tries_uncertain_calls_a_tier_lower_and_the_preview_does_not(
    fake: FakeProvider, store: Store
) -> None:
    exploring = LearningSettings(exploration=0.5)
    vague = "Zibbel the frumious"
    async with running(fake, store, learning=exploring) as bench:
        tiers = {(await bench.ask(prompt=vague, tier=None, use_cache=False)).tier for _ in range(40)}
        previews = {(await bench.engine.plan(ChatRequest(prompt=vague))).tier for _ in range(40)}
    assert tiers == {Tier.SIMPLE, Tier.STANDARD}
    assert previews == {Tier.STANDARD}
