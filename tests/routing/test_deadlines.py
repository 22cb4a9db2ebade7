"""One deadline for all that a call may have to wait for."""

import re
from collections.abc import Iterator
from concurrent.futures import Future
from functools import cache

import anyio
import pytest

from tests.fake_provider import FakeProvider, delay, hang, ok, status
from tests.routing.bench import MARKS, PATIENCE, answer_of, chat, litellm, only, rules, running
from tierwise.routing.errors import DeadlineExceeded
from tierwise.routing.reliability.upstream_queue import Ticket
from tierwise.routing.reliability_settings import HedgingSettings, ReliabilitySettings
from tierwise.routing.request import Tier
from tierwise.storage.ports import Store

pytestmark = MARKS

SOON = 0.5


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """litellm is being imported, and never gets done."""
    loading: Future[None] = Future()
    loading.set_running_or_notify_cancel()
    with monkeypatch.context() as patch:
        patch.setattr("tierwise.routing.providers.litellm.loading", cache(lambda: loading))
        yield
        loading.set_result(None)


@pytest.mark.usefixtures("never_loaded")
async def test_loading_a_library_counts(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, reliability=ReliabilitySettings(deadline=SOON)) as bench:
        error = await bench.failure()
        assert isinstance(error, DeadlineExceeded)
        assert "within 0.5 s (reliability.deadline)" in str(error)
        assert re.search("try again|raise it", str(error), re.IGNORECASE)
        (record,) = bench.records
    assert (record.status, record.error, record.attempts) == ("failed", "DeadlineExceeded", ())


async def test_waiting_for_a_slot_counts_and_the_error_says_so(fake: FakeProvider, store: Store) -> None:
    reliability = ReliabilitySettings(max_concurrent_calls=1, deadline=SOON)
    async with running(fake, store, reliability=reliability) as bench:
        plan = await bench.engine.plan(chat())
        async with bench.engine.queue.slot(Ticket("", plan.first.model, lambda: 1)):
            error = await bench.failure()
        assert isinstance(error, DeadlineExceeded)
        assert "still waiting for its turn" in str(error)
        assert bench.upstream == []
        assert [(record.error, record.attempts) for record in bench.records] == [("DeadlineExceeded", ())]


async def test_an_attempt_that_the_deadline_ends_is_charged_as_one_that_timed_out(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", hang())
    settings = litellm(fake, timeout=PATIENCE)
    reliability = ReliabilitySettings(deadline=SOON)
    async with running(fake, store, litellm=settings, reliability=reliability) as bench:
        assert isinstance(await bench.failure(), DeadlineExceeded)
        (record,) = bench.records
        with anyio.fail_after(PATIENCE):
            await fake.disconnected.acquire()
    assert [attempt.outcome for attempt in record.attempts] == ["timeout"]
    assert record.cost_nano_usd


async def test_so_are_two_that_are_under_way(fake: FakeProvider, store: Store) -> None:
    for model in ("standard", "peer"):
        fake.always(model, hang())
    reliability = ReliabilitySettings(deadline=1, hedging=HedgingSettings(enabled=True, delay=0))
    async with running(fake, store, reliability=reliability) as bench:
        assert isinstance(await bench.failure(), DeadlineExceeded)
        (record,) = bench.records
    assert [(attempt.model, attempt.outcome) for attempt in record.attempts] == [
        ("fake/standard", "timeout"),
        ("fake/peer", "timeout"),
    ]


async def test_a_pause_before_a_retry_is_not_begun_where_it_would_not_end_in_time(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", status(500))
    settings = litellm(fake, retry_delay=100)
    routing = only("fake/standard")
    reliability = ReliabilitySettings(deadline=50)
    async with running(fake, store, litellm=settings, routing=routing, reliability=reliability) as bench:
        assert "failed on its side" in str(await bench.failure())


async def test_in_a_cascade_the_weaker_answer_is_better_than_none(fake: FakeProvider, store: Store) -> None:
    fake.always("small", ok(content="I don't know."))
    fake.always("standard", hang())
    routing = rules().model_copy(update={"strategy": "cascade"})
    async with running(fake, store, routing=routing, reliability=ReliabilitySettings(deadline=2)) as bench:
        receipt = await bench.ask(tier=None)
    assert receipt.content == "I don't know."
    assert [attempt.outcome for attempt in receipt.attempts] == ["escalated", "timeout"]


async def test_an_answer_that_comes_in_time_is_not_lost_to_a_judge_that_hangs(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("judge", hang())
    cascade = rules().cascade.model_copy(update={"judge_model": "fake/judge"})
    routing = rules().model_copy(update={"strategy": "cascade", "cascade": cascade})
    async with running(fake, store, routing=routing, reliability=ReliabilitySettings(deadline=2)) as bench:
        receipt = await bench.ask(tier=Tier.SIMPLE)
    assert receipt.model == "fake/small"
    assert [attempt.outcome for attempt in receipt.attempts] == ["ok", "timeout"]


async def test_a_streamed_answer_that_stalls_is_left_long_before_the_deadline(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", ok(pieces=["Once ", "upon "], drip=PATIENCE))
    reliability = ReliabilitySettings(between_tokens_timeout=0.3)
    settings = litellm(fake, max_retries=0)
    async with running(fake, store, litellm=settings, reliability=reliability) as bench:
        receipt = await bench.ask(watched=True)
    assert [(attempt.model, attempt.outcome) for attempt in receipt.attempts] == [
        ("fake/standard", "timeout"),
        ("fake/peer", "ok"),
    ]
    assert receipt.attempts[0].output_tokens > 0


async def test_a_streamed_answer_that_does_not_begin_is_left_as_well(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", delay(PATIENCE))
    reliability = ReliabilitySettings(first_token_timeout=0.3)
    settings = litellm(fake, max_retries=0)
    async with running(fake, store, litellm=settings, reliability=reliability) as bench:
        assert (await bench.ask(watched=True)).model == "fake/peer"


async def test_a_call_that_joins_another_ends_with_it(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", hang())
    async with running(fake, store, reliability=ReliabilitySettings(deadline=1)) as bench:
        calls = [await bench.start() for _ in range(3)]
        for call in calls:
            with pytest.raises(DeadlineExceeded):
                await answer_of(call)
        assert [record.status for record in bench.records] == ["failed"] * 3
