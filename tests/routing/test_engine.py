"""What one call gives: the model, the receipt, the cache entry and the rows in the ledger."""

from typing import Any

import pytest

from tests.fake_provider import FakeProvider, cut_mid_stream, no_usage, ok, refusal
from tests.routing.bench import (
    MARKS,
    PATIENCE,
    Gate,
    answer_of,
    chat,
    litellm,
    only,
    rules,
    running,
)
from tierwise.routing.errors import NoCandidate, UnknownModel
from tierwise.routing.money.pricing import usd
from tierwise.routing.request import Tier
from tierwise.routing.settings import DefaultSettings, ProviderSettings
from tierwise.storage.ports import Store

pytestmark = MARKS

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
ETERNITY = 2**52


# Which model


@pytest.mark.parametrize(
    ("prompt", "tier", "model"),
    [
        ("What is the capital of France?", Tier.SIMPLE, "small"),
        ("Explain recursion", Tier.STANDARD, "standard"),
        ("Design a fault-tolerant distributed caching system with consistency", Tier.COMPLEX, "large"),
    ],
)
async def test_the_tier_of_the_prompt_decides_the_model(
    fake: FakeProvider, store: Store, prompt: str, tier: Tier, model: str
) -> None:
    async with running(fake, store) as bench:
        receipt = await bench.ask(prompt=prompt, tier=None)
        assert bench.upstream == [model]
    assert (receipt.tier, receipt.tier_chosen) == (tier, tier)
    assert receipt.model == f"fake/{model}"
    assert receipt.content == f"answer from {model}: {prompt}"


@pytest.mark.parametrize("tier", [None, *Tier])
@pytest.mark.parametrize("asked", [{}, {"model": "fake/peer"}, {"fallback_models": ("fake/large",)}])
async def test_the_preview_and_the_call_choose_the_same(
    fake: FakeProvider, store: Store, tier: Tier | None, asked: dict[str, Any]
) -> None:
    async with running(fake, store) as bench:
        preview = await bench.engine.plan(chat(tier=tier, **asked))
        assert bench.upstream == []
        receipt = await bench.ask(tier=tier, **asked)
        assert (await bench.engine.plan(chat(tier=tier, **asked))) == preview
    assert receipt.model == preview.first.model.id
    assert receipt.reason == preview.reason
    assert (receipt.tier_chosen, receipt.complexity_score) == (preview.tier, preview.judged.score)


@pytest.mark.parametrize("name", ["tiny", "small", "fake/small"])
async def test_a_model_goes_by_its_alias_its_bare_name_and_its_full_name(
    fake: FakeProvider, store: Store, name: str
) -> None:
    async with running(fake, store) as bench:
        receipt = await bench.ask(model=name, tier=None)
        assert bench.upstream == ["small"]
    assert (receipt.model, receipt.provider, receipt.tier) == ("fake/small", "fake", Tier.SIMPLE)
    assert "the caller chose the model" in receipt.reason


async def test_a_model_that_nobody_knows_is_refused_with_the_nearest_name(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store) as bench:
        error = await bench.failure(model="tinny")
        assert isinstance(error, UnknownModel)
        assert "Did you mean tiny" in str(error)
        assert bench.upstream == []
        assert bench.records == []


async def test_with_routing_off_the_default_model_serves_whatever_the_prompt(
    fake: FakeProvider, store: Store
) -> None:
    settings = litellm(fake, default_model="fake/large")
    routing = rules().model_copy(update={"enabled": False})
    async with running(fake, store, litellm=settings, routing=routing) as bench:
        receipt = await bench.ask(prompt="Hello", tier=None)
        assert bench.upstream == ["large"]
        await bench.ask(model="tiny")
        assert bench.upstream == ["large", "small"]
    assert "routing is off" in receipt.reason


async def test_without_a_key_the_error_names_the_variable_and_nothing_is_sent(
    fake: FakeProvider, store: Store
) -> None:
    providers = {"fake": ProviderSettings(api_base=fake.url, api_key_env="FAKE_KEY")}
    settings = litellm(fake, providers=providers)
    async with running(fake, store, litellm=settings) as bench:
        error = await bench.failure()
        assert bench.upstream == []
    assert isinstance(error, NoCandidate)
    assert "Set FAKE_KEY in the `env`" in str(error)
    async with running(fake, store, {"FAKE_KEY": "secret-key-123"}, litellm=settings) as bench:
        await bench.ask()
        assert fake.requests[0].headers["Authorization"] == "Bearer secret-key-123"


# What it may cost, and what it did


async def test_a_price_cap_lowers_the_tier_and_says_so(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store) as bench:
        receipt = await bench.ask(tier=Tier.COMPLEX, max_tokens=1000, max_cost_usd=0.03)
        assert bench.upstream == ["standard"]
    assert (receipt.tier_chosen, receipt.tier) == (Tier.COMPLEX, Tier.STANDARD)
    assert "in place of the complex tier to stay under max_cost_usd" in receipt.reason


async def test_a_price_cap_that_no_model_keeps_refuses_before_anything_is_spent(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store) as bench:
        error = await bench.failure(max_cost_usd=0.0000001)
        assert bench.upstream == []
    assert isinstance(error, NoCandidate)
    assert "over the price cap" in str(error)


async def test_a_call_that_keeps_its_price_cap_never_costs_more_than_that(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", ok(usage={"prompt_tokens": 12, "completion_tokens": 50}))
    async with running(fake, store) as bench:
        plan = await bench.engine.plan(chat(max_tokens=50))
        worst = plan.first.worst_cost
        assert worst is not None
        receipt = await bench.ask(max_tokens=50, max_cost_usd=usd(worst))
        assert bench.fake.requests[0].json["max_tokens"] == 50
    assert receipt.model == "fake/standard"
    assert receipt.cost is not None
    assert receipt.cost <= worst


async def test_an_unknown_price_is_told_as_unknown_and_never_as_nothing(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store, routing=only("fake/new")) as bench:
        receipt = await bench.ask()
        (row,) = await store.usage(start=0, end=ETERNITY)
    assert (receipt.cost, receipt.saved) == (None, None)
    assert receipt.cost_note == "no price is known for fake/new: set usage_tracking.pricing"
    assert (row.calls, row.unpriced_calls, row.cost_nano_usd) == (1, 1, 0)


async def test_why_a_cost_is_unknown_is_told_before_what_is_estimated_in_it(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", cut_mid_stream(after_chunks=2))
    settings = litellm(fake, max_retries=0)
    async with running(fake, store, litellm=settings, routing=only("fake/standard", "fake/new")) as bench:
        receipt = await bench.ask(watched=True)
    assert receipt.attempts[0].cost_note == "token counts estimated"
    assert receipt.cost is None
    assert receipt.cost_note == "no price is known for fake/new: set usage_tracking.pricing"


async def test_the_cost_is_that_of_the_reported_tokens_and_the_saving_is_against_the_best_model(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", ok(usage=USAGE))
    async with running(fake, store) as bench:
        receipt = await bench.ask()
    assert (receipt.input_tokens, receipt.output_tokens) == (1000, 100)
    assert receipt.cost == 1000 * 10_000 + 100 * 20_000
    assert receipt.saved == 1000 * 100_000 + 100 * 200_000 - receipt.cost
    assert receipt.cost_note is None


async def test_tokens_that_the_provider_does_not_report_are_counted_and_marked(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", no_usage())
    async with running(fake, store) as bench:
        receipt = await bench.ask()
    assert receipt.cost_note == "token counts estimated"
    assert receipt.attempts[0].estimated
    assert receipt.cost == receipt.input_tokens * 10_000 + receipt.output_tokens * 20_000 > 0


# Calls that outlast their caller


async def test_a_kept_call_is_found_by_its_id_with_its_answer(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store) as bench:
        call = await bench.start()
        assert bench.engine.find(call.id) is None
        bench.engine.keep(call)
        assert await call.wait(PATIENCE)
        assert bench.engine.find(call.id) is call
        assert call.receipt().call_id == call.id


# The defaults and limits of a call


async def test_the_default_temperature_is_sent_where_the_call_has_none(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store, defaults=DefaultSettings(temperature=0.3)) as bench:
        await bench.ask()
        await bench.ask(temperature=1.5)
        assert [request.json["temperature"] for request in fake.requests] == [0.3, 1.5]


async def test_retries_and_fallbacks_together_stay_under_the_price_cap(
    fake: FakeProvider, store: Store
) -> None:
    for model in ("standard", "peer", "small"):
        fake.always(model, cut_mid_stream(3))
    async with running(fake, store) as bench:
        plan = await bench.engine.plan(chat(max_tokens=10))
        cap = usd(3 * (plan.first.worst_cost or 0))
        await bench.failure(max_tokens=10, max_cost_usd=cap, watched=True)
    assert len(fake.requests) >= 2
    assert (bench.records[0].cost_nano_usd or 0) <= cap * 1e9


async def test_where_the_price_cap_has_no_room_for_another_attempt_a_cheaper_model_answers(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", cut_mid_stream(3))
    async with running(fake, store) as bench:
        plan = await bench.engine.plan(chat(max_tokens=10))
        cap = usd(plan.first.worst_cost or 0)
        receipt = await bench.ask(max_tokens=10, max_cost_usd=cap, watched=True)
        assert bench.upstream == ["standard", "small"]
    assert receipt.model == "fake/small"
    assert 0 < (receipt.cost or 0) <= cap * 1e9


async def test_no_limit_is_sent_to_a_server_of_the_users_own_unless_the_caller_sets_one(
    fake: FakeProvider, store: Store
) -> None:
    providers = {"ollama": ProviderSettings(api_base=fake.url)}
    settings = litellm(fake, providers=providers)
    async with running(fake, store, litellm=settings, routing=only("ollama/llama"), pricing={}) as bench:
        await bench.ask()
        await bench.ask(max_tokens=77)
        assert [request.json.get("max_tokens") for request in fake.requests] == [None, 77]


async def test_a_provider_that_quotes_the_prompt_in_its_error_puts_none_of_it_into_the_ledger(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", refusal(401, "your prompt was: the secret plan of the council"))
    async with running(fake, store) as bench:
        await bench.ask(prompt="the secret plan of the council")
    assert "secret plan" not in repr(bench.records)


async def test_one_who_watches_sees_the_text_grow_though_another_asked_the_same_unwatched(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate()
    fake.next("small", gate)
    async with running(fake, store) as bench:
        first = await bench.start(tier=Tier.SIMPLE)
        await gate.reached()
        watcher = await bench.start(tier=Tier.SIMPLE, watched=True)
        gate.opened.set()
        await answer_of(first)
        await answer_of(watcher)
        assert [bool(request.json.get("stream")) for request in fake.requests] == [False, True]
