"""The one table of retries and fallback, from the caller's side and from the provider's."""

import anyio
import pytest

from tests.fake_provider import (
    Behaviour,
    FakeProvider,
    cut_mid_stream,
    garbage,
    hang,
    ok,
    rate_limited,
    refusal,
    refuse,
    status,
)
from tests.routing.bench import MARKS, PATIENCE, PROMPT, Gate, answer_of, litellm, only, rules, running
from tierwise.routing.errors import AllCandidatesFailed, DeadlineExceeded, RequestRejected
from tierwise.routing.reliability_settings import ReliabilitySettings
from tierwise.routing.request import Tier
from tierwise.routing.settings import ProviderSettings
from tierwise.storage.ports import Store

pytestmark = MARKS

NO_SECOND_TRY = {
    "rate_limited": rate_limited(retry_after=60),
    "authentication_failed": status(401),
    "model_not_found": status(404),
    "content_refused": refusal(400, "This violates our content policy."),
    "context_window_exceeded": refusal(400, "This model's maximum context length is 10 tokens."),
}
RETRIED = {"server_failed": status(500), "bad_response": garbage(), "connection_failed": refuse()}


@pytest.mark.parametrize("outcome", NO_SECOND_TRY)
async def test_a_failure_that_another_try_cannot_mend_goes_to_the_next_model_at_once(
    fake: FakeProvider, store: Store, pauses: list[float], outcome: str
) -> None:
    fake.always("standard", NO_SECOND_TRY[outcome])
    async with running(fake, store) as bench:
        receipt = await bench.ask()
        assert bench.upstream == ["standard", "peer"]
    assert [attempt.outcome for attempt in receipt.attempts] == [outcome, "ok"]
    assert (receipt.model, receipt.tier, receipt.tier_chosen) == ("fake/peer", Tier.STANDARD, Tier.STANDARD)
    assert "that failed, so fake/peer served" in receipt.reason
    assert pauses == []


@pytest.mark.parametrize("outcome", RETRIED)
async def test_a_passing_failure_is_retried_with_growing_pauses_before_the_next_model_is_tried(
    fake: FakeProvider, store: Store, pauses: list[float], outcome: str
) -> None:
    fake.always("standard", RETRIED[outcome])
    async with running(fake, store) as bench:
        receipt = await bench.ask()
        assert bench.upstream == ["standard", "standard", "standard", "peer"]
    assert [attempt.outcome for attempt in receipt.attempts] == [outcome, outcome, outcome, "ok"]
    assert pauses == [0.01, 0.02]


async def test_a_time_out_is_retried_like_a_broken_connection(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", hang())
    async with running(fake, store, litellm=litellm(fake, timeout=0.5, max_retries=1)) as bench:
        receipt = await bench.ask()
        assert bench.upstream == ["standard", "standard", "peer"]
    assert [attempt.outcome for attempt in receipt.attempts] == ["timeout", "timeout", "ok"]


async def test_a_port_that_nobody_listens_on_is_retried_and_then_left(
    fake: FakeProvider, store: Store
) -> None:
    providers = {
        "gone": ProviderSettings(api_base=fake.refused_url),
        "fake": ProviderSettings(api_base=fake.url),
    }
    settings = litellm(fake, providers=providers)
    async with running(fake, store, litellm=settings, routing=only("gone/model", "fake/peer")) as bench:
        receipt = await bench.ask()
    assert [attempt.outcome for attempt in receipt.attempts] == ["connection_failed"] * 3 + ["ok"]


async def test_a_failure_that_passes_is_over_with_the_second_try(fake: FakeProvider, store: Store) -> None:
    fake.next("standard", status(503))
    async with running(fake, store) as bench:
        receipt = await bench.ask()
        assert bench.upstream == ["standard", "standard"]
    assert receipt.model == "fake/standard"
    assert "failed" not in receipt.reason


async def test_without_retries_each_model_is_asked_once(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", status(500))
    async with running(fake, store, litellm=litellm(fake, max_retries=0)) as bench:
        await bench.ask()
        assert bench.upstream == ["standard", "peer"]


@pytest.mark.parametrize("code", [400, 422])
async def test_a_request_that_is_wrong_in_itself_ends_the_call_at_once(
    fake: FakeProvider, store: Store, code: int
) -> None:
    fake.always("standard", refusal(code, "'stop' has too many items"))
    async with running(fake, store) as bench:
        assert isinstance(await bench.failure(), RequestRejected)
        assert bench.upstream == ["standard"]
        assert [(record.status, record.error) for record in bench.records] == [("failed", "RequestRejected")]


async def test_the_last_model_is_asked_again_when_its_rate_limit_says(
    fake: FakeProvider, store: Store, pauses: list[float]
) -> None:
    fake.next("standard", rate_limited(retry_after=0.05))
    async with running(fake, store, routing=only("fake/standard")) as bench:
        receipt = await bench.ask()
        assert bench.upstream == ["standard", "standard"]
    assert [attempt.outcome for attempt in receipt.attempts] == ["rate_limited", "ok"]
    assert pauses == [0.05]


async def test_a_rate_limit_that_outlasts_the_deadline_is_told_and_not_waited_for(
    fake: FakeProvider, store: Store, pauses: list[float]
) -> None:
    fake.always("standard", rate_limited(retry_after=1000))
    async with running(fake, store, routing=only("fake/standard")) as bench:
        error = await bench.failure()
        assert bench.upstream == ["standard"]
    assert isinstance(error, AllCandidatesFailed)
    assert "Try again in 1000 s." in str(error)
    assert pauses == []


async def test_a_prompt_that_was_too_long_goes_only_to_a_larger_window(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("gpt-4o", NO_SECOND_TRY["context_window_exceeded"])
    routing = only("fake/gpt-4o", "fake/gpt-4", "fake/gpt-4.1")  # windows of 128,000, 8,192 and 1,047,576
    async with running(fake, store, routing=routing) as bench:
        await bench.ask()
        assert bench.upstream == ["gpt-4o", "gpt-4.1"]


async def test_the_peers_of_a_tier_come_first_and_then_the_tiers_above_it(
    fake: FakeProvider, store: Store
) -> None:
    for model in ("standard", "peer"):
        fake.always(model, status(401))
    async with running(fake, store) as bench:
        receipt = await bench.ask()
        assert bench.upstream == ["standard", "peer", "large"]
        assert (bench.records[0].tier, bench.records[0].tier_served) == ("standard", "complex")
    assert (receipt.tier_chosen, receipt.tier) == (Tier.STANDARD, Tier.COMPLEX)


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_lower_tier_serves_only_where_that_is_allowed(
    fake: FakeProvider, store: Store, allowed: bool
) -> None:
    fake.always("large", status(401))
    routing = rules().model_copy(update={"allow_downgrade": allowed})
    async with running(fake, store, routing=routing) as bench:
        if allowed:
            assert (await bench.ask(tier=Tier.COMPLEX)).tier is Tier.STANDARD
        else:
            await bench.failure(tier=Tier.COMPLEX)
        assert bench.upstream == (["large", "standard"] if allowed else ["large"])


async def test_the_fallback_models_of_a_call_replace_the_ladder(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", status(401))
    settings = litellm(fake, fallback_chain=("fake/large",))
    async with running(fake, store, litellm=settings) as bench:
        receipt = await bench.ask(fallback_models=("tiny",))
        assert bench.upstream == ["standard", "small"]
        assert (receipt.model, receipt.tier) == ("fake/small", Tier.SIMPLE)
        await bench.failure(fallback_models=())
        assert bench.upstream[2:] == ["standard"]


async def test_the_fallback_chain_of_the_settings_comes_after_the_tiers(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("large", status(401))
    async with running(fake, store, litellm=litellm(fake, fallback_chain=("fake/small",))) as bench:
        await bench.ask(tier=Tier.COMPLEX)
        assert bench.upstream == ["large", "small"]


async def test_when_every_model_fails_the_error_says_how_each_did(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", status(401))
    fake.always("peer", status(500))
    async with running(fake, store, routing=only("fake/standard", "fake/peer")) as bench:
        error = str(await bench.failure())
        assert bench.upstream == ["standard", "peer", "peer", "peer"]
        assert bench.records[0].error == "AllCandidatesFailed"
    assert error.count("fake/peer: ") == 1
    assert "fake/standard: fake rejected its API key" in error
    assert PROMPT not in error


@pytest.mark.parametrize("max_retries", [0, 2])
async def test_the_deadline_ends_a_call_whose_model_hangs(
    fake: FakeProvider, store: Store, max_retries: int
) -> None:
    fake.always("standard", hang())
    settings = litellm(fake, max_retries=max_retries)
    reliability = ReliabilitySettings(deadline=0.5)
    for routing in (rules(), only("fake/standard")):
        async with running(fake, store, litellm=settings, routing=routing, reliability=reliability) as bench:
            error = await bench.failure()
            assert isinstance(error, DeadlineExceeded)
            assert "within 0.5 s" in str(error)
            assert [attempt.outcome for attempt in bench.records[0].attempts] == ["timeout"]
    assert bench.upstream == ["standard", "standard"]


async def test_a_pause_that_would_outlast_the_deadline_is_not_begun(
    fake: FakeProvider, store: Store, pauses: list[float]
) -> None:
    fake.always("standard", status(500))
    settings = litellm(fake, retry_delay=300)
    reliability = ReliabilitySettings(deadline=100)
    async with running(fake, store, litellm=settings, reliability=reliability) as bench:
        await bench.ask()
        assert bench.upstream == ["standard", "peer"]
    assert pauses == []


async def test_a_call_that_is_given_up_in_a_pause_ends_at_once_with_what_was_tried(
    fake: FakeProvider, store: Store, pauses: list[float]
) -> None:
    fake.always("standard", status(500))
    async with running(fake, store, litellm=litellm(fake, retry_delay=50)) as bench:
        call = await bench.start()
        with anyio.fail_after(PATIENCE):
            while not pauses:
                await call.wait(0.01)
            call.cancel()
            await call.wait(None)
        (record,) = bench.records
        assert bench.upstream == ["standard"]
    assert record.status == "cancelled"
    assert [(attempt.outcome, attempt.cost_nano_usd) for attempt in record.attempts] == [("server_failed", 0)]


async def test_a_failed_attempt_that_had_written_text_is_charged(fake: FakeProvider, store: Store) -> None:
    fake.next("standard", cut_mid_stream(after_chunks=3))
    async with running(fake, store) as bench:
        receipt = await bench.ask(watched=True)
    failed, answered = receipt.attempts
    assert (failed.outcome, failed.estimated) == ("connection_failed", True)
    assert failed.output_tokens > 0
    assert failed.cost_nano_usd == failed.input_tokens * 10_000 + failed.output_tokens * 20_000
    assert receipt.cost == (failed.cost_nano_usd or 0) + (answered.cost_nano_usd or 0)
    assert receipt.cost_note == "token counts estimated"


async def test_a_refusal_before_the_first_word_costs_nothing(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", status(500))
    async with running(fake, store) as bench:
        receipt = await bench.ask(watched=True)
    assert [attempt.cost_nano_usd for attempt in receipt.attempts[:3]] == [0, 0, 0]


@pytest.mark.parametrize("cut", [cut_mid_stream(3), cut_mid_stream(3, politely=True)])
async def test_the_text_of_a_broken_attempt_gives_way_to_that_of_the_next(
    fake: FakeProvider, store: Store, cut: Behaviour
) -> None:
    gate = Gate(ok(content="a whole answer"))
    fake.next("standard", cut)
    fake.next("peer", gate)
    async with running(fake, store) as bench:
        call = await bench.start(watched=True)
        await gate.reached()
        assert (call.text, call.shown) == ("", "(fake/standard broke off; fake/peer starts over.)\n")
        gate.opened.set()
        assert (await answer_of(call)).content == call.text == "a whole answer"
