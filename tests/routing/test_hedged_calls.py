"""A second request where the first is slow: who serves, what is paid and reserved, what is on record."""

from typing import Any

import anyio
import pytest

from tests.fake_provider import FakeProvider, hang, status
from tests.routing.bench import MARKS, PATIENCE, PROMPT, Bench, Gate, answer_of, chat, litellm, only, running
from tierwise.routing.money.pricing import usd
from tierwise.routing.reliability_settings import HedgingSettings, ReliabilitySettings
from tierwise.routing.settings import ProviderSettings
from tierwise.routing.tokens import most_prompt_tokens
from tierwise.storage.budgets import Budget, BudgetPeriod
from tierwise.storage.ports import Store
from tierwise.storage.records import CallRecord

pytestmark = MARKS

AT_ONCE = ReliabilitySettings(hedging=HedgingSettings(enabled=True, delay=0))
NEVER = ReliabilitySettings(hedging=HedgingSettings(enabled=True, delay=3600, min_samples=5))


def outcomes(record: CallRecord) -> list[tuple[str, str]]:
    return [(attempt.model, attempt.outcome) for attempt in record.attempts]


async def closed_by_us(fake: FakeProvider) -> None:
    with anyio.fail_after(PATIENCE):
        await fake.disconnected.acquire()


@pytest.mark.parametrize("watched", [False, True])
async def test_the_next_model_answers_first_and_the_slow_one_is_closed_and_charged(
    fake: FakeProvider, store: Store, watched: bool
) -> None:
    fake.always("standard", hang())
    async with running(fake, store, reliability=AT_ONCE) as bench:
        receipt = await bench.ask(watched=watched)
        await closed_by_us(fake)
        (record,) = bench.records
    assert receipt.content == f"answer from peer: {PROMPT}"
    assert outcomes(record) == [("fake/standard", "cancelled"), ("fake/peer", "ok")]
    slow, fast = record.attempts
    assert slow.cost_nano_usd == slow.input_tokens * 10_000 > 0
    assert receipt.cost == (slow.cost_nano_usd or 0) + (fast.cost_nano_usd or 0)
    assert (record.model, record.status) == ("fake/peer", "ok")
    assert "; it was slow, so fake/peer served" in receipt.reason


async def test_the_slow_one_may_still_win(fake: FakeProvider, store: Store) -> None:
    slow, other = Gate(), Gate()
    fake.always("standard", slow)
    fake.always("peer", other)
    async with running(fake, store, reliability=AT_ONCE) as bench:
        call = await bench.start()
        await other.reached()
        slow.opened.set()
        receipt = await answer_of(call)
        await closed_by_us(fake)
        (record,) = bench.records
    assert receipt.model == "fake/standard"
    assert outcomes(record) == [("fake/standard", "ok"), ("fake/peer", "cancelled")]


async def test_the_only_model_is_asked_a_second_time(fake: FakeProvider, store: Store) -> None:
    fake.next("standard", hang())
    async with running(fake, store, routing=only("fake/standard"), reliability=AT_ONCE) as bench:
        await bench.ask()
        (record,) = bench.records
    assert outcomes(record) == [("fake/standard", "cancelled"), ("fake/standard", "ok")]


async def test_nobody_is_asked_twice_unless_that_is_set(fake: FakeProvider, store: Store) -> None:
    gate = Gate()
    fake.always("standard", gate)
    async with running(fake, store) as bench:
        call = await bench.start()
        await gate.reached()
        await anyio.wait_all_tasks_blocked()
        gate.opened.set()
        await answer_of(call)
        assert bench.upstream == ["standard"]


@pytest.mark.parametrize("watched", [False, True])
async def test_how_long_is_slow_is_learnt_from_what_a_model_usually_takes(
    fake: FakeProvider, store: Store, watched: bool
) -> None:
    async with running(fake, store, reliability=NEVER) as bench:
        for number in range(5):
            await bench.ask(prompt=f"number {number}", watched=watched)
        fake.always("standard", hang())
        receipt = await bench.ask(prompt="slow", watched=watched)
        assert bench.upstream == [*["standard"] * 6, "peer"]
    assert receipt.model == "fake/peer"


async def test_an_answer_of_the_second_that_is_kept_in_the_cache_is_taken(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store, reliability=AT_ONCE) as bench:
        await bench.ask(model="fake/peer", max_tokens=100)
        before = len(bench.upstream)
        fake.always("standard", hang())
        receipt = await bench.ask(max_tokens=100)
        assert bench.upstream[before:] == ["standard"]
    assert receipt.model == "fake/peer"
    assert outcomes(bench.records[-1]) == [("fake/standard", "cancelled")]


async def test_a_second_that_fails_harms_nobody_and_is_not_asked_again(
    fake: FakeProvider, store: Store
) -> None:
    slow = Gate(status(500))
    fake.next("standard", slow)
    fake.always("standard", status(500))
    fake.always("peer", status(401))
    routing = only("fake/standard", "fake/peer", "fake/large")
    settings = litellm(fake, max_retries=0)
    async with running(fake, store, routing=routing, litellm=settings, reliability=AT_ONCE) as bench:
        call = await bench.start()
        while not any(request.json["model"] == "peer" for request in fake.requests) or fake.open_requests > 1:
            await call.wait(0.01)
        slow.opened.set()
        receipt = await answer_of(call)
        assert bench.upstream.count("peer") == 1
    assert receipt.model == "fake/large"


async def test_where_both_fail_the_call_goes_on_as_ever(fake: FakeProvider, store: Store) -> None:
    for model in ("standard", "peer"):
        fake.always(model, status(401))
    async with running(fake, store, reliability=AT_ONCE) as bench:
        receipt = await bench.ask()
    assert receipt.model == "fake/large"
    failed = {attempt.model for attempt in receipt.attempts if attempt.outcome == "authentication_failed"}
    assert failed == {"fake/standard", "fake/peer"}


async def test_a_second_never_waits_for_its_turn(fake: FakeProvider, store: Store) -> None:
    gate = Gate()
    fake.always("standard", gate)
    one = ProviderSettings(api_base=fake.url, max_concurrent=1)
    settings = litellm(fake, providers={"fake": one})
    async with running(fake, store, litellm=settings, reliability=AT_ONCE) as bench:
        call = await bench.start()
        await gate.reached()
        await anyio.wait_all_tasks_blocked()
        gate.opened.set()
        await answer_of(call)
        assert bench.upstream == ["standard"]


# Money

MAX_TOKENS = 100


def worst() -> int:
    """The most that one attempt can cost, in nano-USD."""
    return most_prompt_tokens(chat(prompt="one").payload) * 10_000 + MAX_TOKENS * 20_000


async def asked(bench: Bench, count: int, **request: Any) -> list[str]:
    """The models that were asked when the first of them hangs: `count` of them, and whoever comes until
    nobody moves any more."""
    call = await bench.start(prompt="one", max_tokens=MAX_TOKENS, **request)
    while len(bench.fake.requests) < count:
        assert not await call.wait(0.01)
    await anyio.wait_all_tasks_blocked()
    models = bench.upstream
    call.cancel()
    assert await call.wait(PATIENCE)
    return models


@pytest.mark.parametrize(("room", "models"), [(2, ["standard", "peer"]), (1.9, ["standard"])])
async def test_a_budget_must_have_room_for_both(
    fake: FakeProvider, store: Store, room: float, models: list[str]
) -> None:
    for model in ("standard", "peer"):
        fake.always(model, hang())
    budget = Budget(name="all", period=BudgetPeriod.DAY, limit_nano_usd=int(worst() * room))
    async with running(fake, store, reliability=AT_ONCE, budgets=(budget,)) as bench:
        assert await asked(bench, len(models)) == models
        account = await bench.engine.spending.account(budget)
        assert account.reserved_nano_usd == 0
        assert account.spent_nano_usd == bench.records[0].cost_nano_usd


async def test_while_both_are_under_way_both_are_held_in_the_budget(fake: FakeProvider, store: Store) -> None:
    first, second = Gate(), Gate()
    fake.always("standard", first)
    fake.always("peer", second)
    budget = Budget(name="all", period=BudgetPeriod.DAY, limit_nano_usd=10**10)
    async with running(fake, store, reliability=AT_ONCE, budgets=(budget,)) as bench:
        call = await bench.start(prompt="one", max_tokens=MAX_TOKENS)
        await first.reached()
        await second.reached()
        assert (await bench.engine.spending.account(budget)).reserved_nano_usd == 2 * worst()
        second.opened.set()
        receipt = await answer_of(call)
        account = await bench.engine.spending.account(budget)
        assert (account.spent_nano_usd, account.reserved_nano_usd) == (receipt.cost, 0)


@pytest.mark.parametrize(("room", "models"), [(2, ["standard", "peer"]), (1.9, ["standard"])])
async def test_a_price_cap_must_have_room_for_both(
    fake: FakeProvider, store: Store, room: float, models: list[str]
) -> None:
    for model in ("standard", "peer"):
        fake.always(model, hang())
    async with running(fake, store, reliability=AT_ONCE) as bench:
        plan = await bench.engine.plan(chat(prompt="one", max_tokens=MAX_TOKENS))
        cap = usd(plan.first.worst_cost or 0) * room
        assert await asked(bench, len(models), max_cost_usd=cap) == models


async def test_a_call_that_is_given_up_has_both_on_record(fake: FakeProvider, store: Store) -> None:
    for model in ("standard", "peer"):
        fake.always(model, hang())
    async with running(fake, store, reliability=AT_ONCE) as bench:
        call = await bench.start()
        while fake.open_requests < 2:
            await call.wait(0.01)
        call.cancel()
        for _ in range(2):
            await closed_by_us(fake)
        assert await call.wait(PATIENCE)
        (record,) = bench.records
    assert record.status == "cancelled"
    assert outcomes(record) == [("fake/standard", "cancelled"), ("fake/peer", "cancelled")]
