"""Answers whose stream breaks off: what the next model does, what is shown, what is paid."""

from typing import Any

import anyio
import pytest

from tests.fake_provider import (
    Behaviour,
    Exchange,
    FakeProvider,
    cut_mid_stream,
    fails_mid_stream,
    ok,
    refusal,
    status,
    web,
)
from tests.routing.bench import MARKS, PATIENCE, PROMPT, Gate, answer_of, chat, litellm, only, running
from tierwise.routing.errors import AllCandidatesFailed
from tierwise.routing.reliability_settings import ReliabilitySettings
from tierwise.routing.request import Tier, ToolDefinition
from tierwise.storage.ports import Store

pytestmark = MARKS

CONTINUE = ReliabilitySettings(broken_stream="continue")
CUTS = [cut_mid_stream(3), cut_mid_stream(3, politely=True), fails_mid_stream(3)]


def writes(*pieces: str) -> Behaviour:
    """Write these and break off."""

    async def write(exchange: Exchange) -> web.StreamResponse:
        for piece in pieces:
            await exchange.delta(piece)
        exchange.reset()
        return exchange.events

    return write


def sent(fake: FakeProvider, place: int) -> list[tuple[str, str]]:
    """The turns of the request at `place`."""
    return [(turn["role"], turn["content"]) for turn in fake.requests[place].json["messages"]]


# Starting over


@pytest.mark.parametrize("cut", CUTS, ids=["reset", "ended early", "error in the stream"])
async def test_another_model_starts_over_at_once(fake: FakeProvider, store: Store, cut: Behaviour) -> None:
    fake.always("standard", cut)
    async with running(fake, store, litellm=litellm(fake, retry_delay=300)) as bench:
        receipt = await bench.ask(watched=True)
        assert bench.upstream == ["standard", "peer"]
    assert receipt.content == f"answer from peer: {PROMPT}"
    assert [attempt.outcome for attempt in receipt.attempts][1:] == ["ok"]
    assert receipt.attempts[0].output_tokens > 0
    assert sent(fake, 1) == [("user", PROMPT)]


async def test_where_there_is_no_other_the_same_model_is_asked_again(
    fake: FakeProvider, store: Store
) -> None:
    fake.next("standard", cut_mid_stream(3))
    async with running(fake, store, routing=only("fake/standard")) as bench:
        assert (await bench.ask(watched=True)).content == f"answer from standard: {PROMPT}"
        assert bench.upstream == ["standard", "standard"]


async def test_before_the_first_word_the_same_model_is_asked_again(fake: FakeProvider, store: Store) -> None:
    fake.next("standard", cut_mid_stream(0))
    async with running(fake, store) as bench:
        await bench.ask(watched=True)
        assert bench.upstream == ["standard", "standard"]


async def test_one_who_watches_is_told_why_the_text_is_another(fake: FakeProvider, store: Store) -> None:
    gate = Gate(ok(content="a whole answer"))
    fake.next("standard", writes("Once ", "upon "))
    fake.next("peer", gate)
    async with running(fake, store) as bench:
        call = await bench.start(watched=True)
        await gate.reached()
        assert call.shown == "(fake/standard broke off; fake/peer starts over.)\n"
        gate.opened.set()
        assert (await answer_of(call)).content == "a whole answer"
        assert call.shown == "(fake/standard broke off; fake/peer starts over.)\na whole answer"


@pytest.mark.parametrize("reliability", [ReliabilitySettings(), CONTINUE], ids=["restart", "continue"])
async def test_partial_text_is_no_answer_and_the_error_says_that_it_is_lost(
    fake: FakeProvider, store: Store, reliability: ReliabilitySettings
) -> None:
    for model in ("standard", "peer"):
        fake.always(model, writes("the secret ", "beginning "))
    settings = litellm(fake, max_retries=0)
    routing = only("fake/standard", "fake/peer")
    async with running(fake, store, litellm=settings, routing=routing, reliability=reliability) as bench:
        error = await bench.failure(watched=True)
        assert isinstance(error, AllCandidatesFailed)
        assert "What had been written of an answer is lost." in str(error)
        assert "secret" not in str(error)
        (record,) = bench.records
        assert record.status == "failed"
        assert all(attempt.output_tokens > 0 for attempt in record.attempts)
        assert (await bench.failure(watched=True)).args  # nor is it served from the cache


async def test_in_a_cascade_one_who_watches_is_told_why_the_text_is_another(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate(ok(content="Paris"))
    fake.always("small", ok(content="I don't know."))
    fake.next("standard", gate)
    async with running(fake, store) as bench:
        call = await bench.start(watched=True, tier=None, strategy="cascade")
        await gate.reached()
        assert call.shown == "(fake/small: the answer was a refusal; fake/standard starts over.)\n"
        gate.opened.set()
        assert (await answer_of(call)).content == "Paris"


# Going on


async def test_the_next_model_goes_on_from_the_text_and_both_are_joined(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", writes("Once upon ", "a time there ", "was a mon"))
    fake.next("peer", ok(content="monkey who could count."))
    async with running(fake, store, reliability=CONTINUE) as bench:
        receipt = await bench.ask(watched=True)
        again = await bench.ask(watched=True)
    assert receipt.content == "Once upon a time there was a monkey who could count."
    assert "fake/standard broke off, and fake/peer finished the answer" in receipt.reason
    assert [attempt.model for attempt in receipt.attempts] == ["fake/standard", "fake/peer"]
    assert receipt.output_tokens == sum(attempt.output_tokens for attempt in receipt.attempts)
    asked, said, order = sent(fake, 1)
    assert (asked, said) == (("user", PROMPT), ("assistant", "Once upon a time there was a "))
    assert "cut off" in order[1]
    assert not again.cached  # what two models wrote is neither's answer


async def test_while_it_goes_on_what_is_shown_never_shrinks_by_more_than_half_a_word(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate(ok(content="monkey."))
    fake.always("standard", writes("Once upon ", "a time there ", "was a mon"))
    fake.next("peer", gate)
    async with running(fake, store, reliability=CONTINUE) as bench:
        call = await bench.start(watched=True)
        await gate.reached()
        assert call.text == "Once upon a time there was a "
        assert call.shown.startswith("(fake/standard broke off; fake/peer goes on from there.)\n")
        gate.opened.set()
        await answer_of(call)
        assert call.text == "Once upon a time there was a monkey."


@pytest.mark.parametrize(
    "refused", [refusal(400, "roles must alternate"), refusal(400, "maximum context length is 10 tokens")]
)
async def test_a_model_that_will_not_go_on_starts_over(
    fake: FakeProvider, store: Store, refused: Behaviour
) -> None:
    fake.always("standard", writes("Once ", "upon "))
    fake.next("peer", refused)
    async with running(fake, store, reliability=CONTINUE) as bench:
        receipt = await bench.ask(watched=True)
        assert bench.upstream == ["standard", "peer", "peer"]
    assert receipt.content == f"answer from peer: {PROMPT}"
    assert sent(fake, 2) == [("user", PROMPT)]
    assert "finished the answer" not in receipt.reason


async def test_each_that_breaks_off_adds_its_part(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", writes("one "))
    fake.always("peer", writes("two "))
    fake.always("large", ok(content="three"))
    async with running(fake, store, reliability=CONTINUE) as bench:
        receipt = await bench.ask(watched=True)
    assert receipt.content == "one two three"
    assert "fake/standard and then fake/peer broke off, and fake/large finished" in receipt.reason


async def test_an_answer_that_is_not_streamed_starts_over(fake: FakeProvider, store: Store) -> None:
    fake.next("small", status(500))
    async with running(fake, store, reliability=CONTINUE) as bench:
        await bench.ask(tier=Tier.SIMPLE)
    assert sent(fake, 1) == [("user", PROMPT)]


FORMS: list[dict[str, Any]] = [
    {"tools": (ToolDefinition(name="look"),)},
    {"response_schema": '{"type": "object"}'},
]


@pytest.mark.parametrize("form", FORMS, ids=["tools", "a schema"])
async def test_what_must_have_a_form_starts_over(
    fake: FakeProvider, store: Store, form: dict[str, Any]
) -> None:
    fake.always("standard", writes('{"half": '))
    fake.always("peer", ok(content="{}"))
    async with running(fake, store, reliability=CONTINUE) as bench:
        receipt = await bench.ask(watched=True, **form)
    assert receipt.content == "{}"
    assert not any(role == "assistant" for role, _ in sent(fake, 1))


async def test_a_price_cap_counts_what_broke_off(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", writes("Once ", "upon "))
    async with running(fake, store, reliability=CONTINUE) as bench:
        plan = await bench.engine.plan(chat(max_tokens=10))
        cap = (plan.first.worst_cost or 0) / 1e9
        receipt = await bench.ask(max_tokens=10, max_cost_usd=cap, watched=True)
    assert receipt.model == "fake/small"
    assert (receipt.cost or 0) <= cap * 1e9


async def test_a_call_that_is_given_up_while_another_goes_on_has_both_on_record(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.always("standard", writes("Once ", "upon "))
    fake.always("peer", gate)
    async with running(fake, store, reliability=CONTINUE) as bench:
        call = await bench.start(watched=True)
        await gate.reached()
        call.cancel()
        with anyio.fail_after(PATIENCE):
            await call.wait(None)
        (record,) = bench.records
    assert record.status == "cancelled"
    assert [attempt.outcome for attempt in record.attempts] == ["connection_failed", "cancelled"]
