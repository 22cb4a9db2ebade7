"""Budgets as a caller meets them: refused, moved to a cheaper model, or warned."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.fake_provider import FakeProvider, delay, ok, status
from tests.routing.bench import MARKS, PATIENCE, Bench, Gate, answer_of, litellm, only, running
from tierwise.routing.cascade import JUDGE_TOKENS
from tierwise.routing.errors import AllCandidatesFailed, BudgetExceeded, NoCandidate
from tierwise.routing.request import Message, Payload, Tier
from tierwise.routing.settings import CascadeSettings, RoutingSettings, TierRule, TierRules
from tierwise.routing.tokens import most_prompt_tokens
from tierwise.storage.budgets import AtLimit, Budget, BudgetPeriod, BudgetScope
from tierwise.storage.ports import Store

if TYPE_CHECKING:
    from tierwise.routing.money.spending import Alert

pytestmark = MARKS

MAX_TOKENS = 100
USAGE = {"prompt_tokens": 50, "completion_tokens": 100, "total_tokens": 150}
COST = 50 * 10_000 + 100 * 20_000
"""Of an answer with `USAGE` by the standard model, in nano-USD."""


def worst(prompt: str, rate: int = 10_000) -> int:
    """The most that `prompt` can cost at `rate` nano-USD a token of input and twice that for output."""
    return most_prompt_tokens(Payload(messages=(Message("user", prompt),))) * rate + MAX_TOKENS * 2 * rate


def budget(limit: int, **changes: Any) -> Budget:
    return replace(Budget(name="all", period=BudgetPeriod.DAY, limit_nano_usd=limit), **changes)


async def spent(bench: Bench, name: str = "all") -> tuple[int, int]:
    """What is spent and what is reserved."""
    (found,) = [budget for budget in await bench.engine.store.budgets() if budget.name == name]
    account = await bench.engine.spending.account(found)
    return account.spent_nano_usd, account.reserved_nano_usd


async def test_a_call_that_may_not_fit_is_refused_with_a_sentence_and_costs_nothing(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", ok(usage=USAGE))
    limit = worst("one") + COST - 1
    async with running(fake, store, budgets=(budget(limit),)) as bench:
        assert (await bench.ask(prompt="one", max_tokens=MAX_TOKENS)).cost == COST
        assert await spent(bench) == (COST, 0)
        refused = await bench.failure(prompt="two", max_tokens=MAX_TOKENS)
        assert isinstance(refused, BudgetExceeded)
        assert str(refused).startswith("The budget 'all' ($0.005330 a day) has no room for this call: ")
        assert "$0.002500 of $0.005330 is spent, and the call may cost up to $0.002830." in str(refused)
        assert "00:00 (UTC)" in str(refused)
        assert await spent(bench) == (COST, 0)
        assert bench.upstream == ["standard"]
        assert bench.records[-1].error == "BudgetExceeded"


async def test_a_call_that_just_fits_is_let_in(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, budgets=(budget(worst("one")),)) as bench:
        assert (await bench.ask(prompt="one", max_tokens=MAX_TOKENS)).content


async def test_while_a_call_is_under_way_its_worst_case_is_held(fake: FakeProvider, store: Store) -> None:
    gate = Gate(ok(usage=USAGE))
    fake.always("standard", gate)
    async with running(fake, store, budgets=(budget(2 * worst("one") - 1),)) as bench:
        call = await bench.start(prompt="one", max_tokens=MAX_TOKENS)
        await gate.reached()
        assert await spent(bench) == (0, worst("one"))
        refused = await bench.failure(prompt="two", max_tokens=MAX_TOKENS)
        assert "is held for calls under way" in str(refused)
        gate.opened.set()
        await answer_of(call)
        assert await spent(bench) == (COST, 0)


async def test_an_answer_from_the_cache_is_free_when_the_budget_is_used_up(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", ok(usage=USAGE))
    async with running(fake, store, budgets=(budget(10**9),)) as bench:
        await bench.ask(prompt="one", max_tokens=MAX_TOKENS)
        await bench.engine.spending.set_budget(budget(COST))
        again = await bench.ask(prompt="one", max_tokens=MAX_TOKENS)
        assert (again.cached, again.cost) == (True, 0)
        assert isinstance(await bench.failure(prompt="two", max_tokens=MAX_TOKENS), BudgetExceeded)


async def test_downgrading_the_cheapest_model_that_fits_answers_and_the_receipt_says_so(
    fake: FakeProvider, store: Store
) -> None:
    strict = budget(worst("one") - 1, at_limit=AtLimit.DOWNGRADE)
    async with running(fake, store, budgets=(strict,)) as bench:
        receipt = await bench.ask(prompt="one", max_tokens=MAX_TOKENS)
        assert (receipt.model, receipt.tier, receipt.tier_chosen) == (
            "fake/small",
            Tier.SIMPLE,
            Tier.STANDARD,
        )
        assert receipt.reason.endswith(
            "; but the budget 'all' has no room for that, so fake/small served, the cheapest that can"
        )
        assert bench.upstream == ["small"]
        assert (await spent(bench))[0] == receipt.cost


async def test_where_not_even_the_cheapest_model_fits_a_downgrade_is_a_refusal(
    fake: FakeProvider, store: Store
) -> None:
    strict = budget(worst("one", rate=1_000) - 1, at_limit=AtLimit.DOWNGRADE)
    async with running(fake, store, budgets=(strict,)) as bench:
        assert isinstance(await bench.failure(prompt="one", max_tokens=MAX_TOKENS), BudgetExceeded)
        assert bench.upstream == []


async def test_one_budget_that_refuses_is_stronger_than_one_that_downgrades(
    fake: FakeProvider, store: Store
) -> None:
    both = (budget(100, name="a", at_limit=AtLimit.DOWNGRADE), budget(100, name="b"))
    async with running(fake, store, budgets=both) as bench:
        assert str(await bench.failure(max_tokens=MAX_TOKENS)).startswith("The budget 'b'")


async def test_a_budget_that_warns_lets_calls_go_on_and_the_receipt_says_that_it_is_used_up(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", ok(usage=USAGE))
    lenient = budget(COST + 1, at_limit=AtLimit.WARN, thresholds=())
    async with running(fake, store, budgets=(lenient,)) as bench:
        assert (await bench.ask(prompt="one")).warning is None
        over = await bench.ask(prompt="two")
        assert over.warning == (
            "The budget 'all' ($0.002500 a day) is used up: $0.005000 of $0.002500 is spent."
        )
        assert (await spent(bench))[0] == 2 * COST


async def test_a_fallback_is_let_in_only_if_it_fits_beside_what_was_spent(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", status(401))
    fake.always("peer", status(401))
    async with running(fake, store, budgets=(budget(worst("one")),)) as bench:
        refused = await bench.failure(prompt="one", max_tokens=MAX_TOKENS)
        assert isinstance(refused, BudgetExceeded)  # the large model, ten times as dear
        assert bench.upstream == ["standard", "peer"]
        assert await spent(bench) == (0, 0)


async def test_an_attempt_that_timed_out_is_charged_and_counts_against_the_next(
    fake: FakeProvider, store: Store
) -> None:
    fake.next("standard", delay(PATIENCE))
    impatient = litellm(fake, timeout=0.5)
    twice = (budget(2 * worst("one")),)
    async with running(fake, store, routing=only("fake/standard"), litellm=impatient, budgets=twice) as bench:
        receipt = await bench.ask(prompt="one", max_tokens=MAX_TOKENS)
        assert [attempt.outcome for attempt in receipt.attempts] == ["timeout", "ok"]
        assert await spent(bench) == (receipt.cost, 0)


async def test_a_price_cap_holds_for_all_attempts_together(fake: FakeProvider, store: Store) -> None:
    fake.next("standard", delay(PATIENCE))
    impatient = litellm(fake, timeout=0.5)
    async with running(fake, store, routing=only("fake/standard"), litellm=impatient) as bench:
        refused = await bench.failure(prompt="one", max_tokens=MAX_TOKENS, max_cost_usd=0.00209)
        assert isinstance(refused, AllCandidatesFailed)
        assert "max_cost_usd has no room for a further attempt: $0.000" in str(refused)
        assert bench.upstream == ["standard"]


async def test_a_model_without_a_price_is_left_out_under_a_budget_that_refuses(
    fake: FakeProvider, store: Store
) -> None:
    unpriced = only("fake/unpriced", "fake/standard")
    async with running(fake, store, routing=unpriced, budgets=(budget(10**9),)) as bench:
        receipt = await bench.ask(max_tokens=MAX_TOKENS)
        assert (receipt.model, bench.upstream) == ("fake/standard", ["standard"])
        refused = await bench.failure(model="fake/unpriced", tier=None)
        assert isinstance(refused, (NoCandidate, AllCandidatesFailed))
    async with running(fake, store, routing=only("fake/unpriced"), budgets=(budget(10**9),)) as bench:
        refused = await bench.failure()
        assert isinstance(refused, NoCandidate)
        assert "so the budget 'all' cannot be kept" in str(refused)


async def test_a_model_without_a_price_serves_under_a_budget_that_warns(
    fake: FakeProvider, store: Store
) -> None:
    lenient = budget(0, at_limit=AtLimit.WARN)
    async with running(fake, store, routing=only("fake/unpriced"), budgets=(lenient,)) as bench:
        assert (await bench.ask()).cost is None


async def test_a_budget_for_one_tenant_holds_only_its_calls(fake: FakeProvider, store: Store) -> None:
    acme = budget(0, scope=BudgetScope.TENANT, scope_value="acme")
    async with running(fake, store, budgets=(acme,)) as bench:
        assert (await bench.ask(prompt="one", tenant="other")).content
        assert (await bench.ask(prompt="two")).content
        refused = await bench.failure(prompt="three", tenant="acme")
        assert str(refused).startswith("The budget 'all' ($0.00 a day for tenant 'acme') has no room")


async def test_calls_on_different_budgets_do_not_share_a_refusal(fake: FakeProvider, store: Store) -> None:
    acme = budget(0, scope=BudgetScope.TENANT, scope_value="acme")
    async with running(fake, store, budgets=(acme,)) as bench:
        refused = await bench.start(tenant="acme")
        served = await bench.start(tenant="other")
        assert (await answer_of(served)).content
        assert await refused.wait(PATIENCE)
        with pytest.raises(BudgetExceeded):
            refused.receipt()


async def test_who_shares_a_call_that_its_first_caller_gives_up_is_charged(
    fake: FakeProvider, store: Store
) -> None:
    gate = Gate(ok(usage=USAGE))
    fake.always("standard", gate)
    async with running(fake, store, budgets=(budget(10**9),)) as bench:
        first, second = await bench.start(), await bench.start()
        await gate.reached()
        first.cancel()
        gate.opened.set()
        assert (await answer_of(second)).cost == COST
        assert await spent(bench) == (COST, 0)


async def test_a_call_that_is_given_up_is_charged_for_what_it_used(fake: FakeProvider, store: Store) -> None:
    gate = Gate()
    fake.always("standard", gate)
    async with running(fake, store, budgets=(budget(10**9),)) as bench:
        call = await bench.start()
        await gate.reached()
        call.cancel()
        assert await call.wait(PATIENCE)
        assert await spent(bench) == (bench.records[0].cost_nano_usd, 0)


async def test_a_cascade_keeps_the_cheap_answer_where_a_better_one_does_not_fit(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("small", ok(content="I cannot say."))
    tight = budget(worst("one", rate=10_000) - 1)
    async with running(fake, store, budgets=(tight,)) as bench:
        receipt = await bench.ask(prompt="one", tier=None, strategy="cascade", max_tokens=MAX_TOKENS)
        assert (receipt.model, receipt.content) == ("fake/small", "I cannot say.")
        assert bench.upstream == ["small"]


async def test_a_judge_that_does_not_fit_lets_the_answer_pass(fake: FakeProvider, store: Store) -> None:
    judged = RoutingSettings(
        strategy="cascade",
        cascade=CascadeSettings(judge_model="fake/large"),
        rules=TierRules(simple=TierRule(model=("fake/small",)), standard=TierRule(model=("fake/standard",))),
    )
    tight = budget(JUDGE_TOKENS * 200_000 - 1)
    async with running(fake, store, routing=judged, budgets=(tight,)) as bench:
        receipt = await bench.ask(prompt="one", tier=None, max_tokens=MAX_TOKENS)
        assert (receipt.model, bench.upstream) == ("fake/small", ["small"])


async def test_a_threshold_is_told_once_in_the_receipt_and_to_whoever_listens(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", ok(usage=USAGE))
    heard: list[Alert] = []
    limited = budget(4 * COST, thresholds=(25, 50), at_limit=AtLimit.WARN)
    async with running(fake, store, budgets=(limited,)) as bench:
        bench.engine.alarms.append(heard.append)
        receipts = [await bench.ask(prompt=prompt) for prompt in ("one", "two", "three")]
    assert [alert.percent for alert in heard] == [25, 50]
    assert [receipt.warning for receipt in receipts] == [heard[0].message, heard[1].message, None]
    assert heard[1].message == (
        "The budget 'all' ($0.010000 a day) has reached 50% of its limit: $0.005000 of $0.010000 is spent."
    )
    assert heard[0].period_start < datetime.now(UTC).timestamp() * 1000 < (heard[0].period_end or 0)


async def test_an_answer_longer_than_max_tokens_is_charged_in_full_and_told(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", ok(usage={**USAGE, "completion_tokens": 1000}))
    heard: list[Alert] = []
    async with running(fake, store, budgets=(budget(worst("one")),)) as bench:
        bench.engine.alarms.append(heard.append)
        receipt = await bench.ask(prompt="one", max_tokens=MAX_TOKENS)
        assert receipt.cost == 50 * 10_000 + 1000 * 20_000
        assert await spent(bench) == (receipt.cost, 0)
        assert isinstance(await bench.failure(prompt="two", max_tokens=MAX_TOKENS), BudgetExceeded)
    assert [alert.percent for alert in heard] == [80, 90, 100]
    assert (receipt.warning or "").endswith("has reached 100% of its limit: $0.020500 of $0.002830 is spent.")


async def test_what_a_provider_reports_is_charged_and_not_what_was_held(
    fake: FakeProvider, store: Store
) -> None:
    fake.next("standard", ok(usage={**USAGE, "cost": 0.5}), ok(usage={**USAGE, "cost": 0.0000001}))
    async with running(fake, store, budgets=(budget(10**9),)) as bench:
        assert (await bench.ask(prompt="one")).cost == 500_000_000
        assert (await bench.ask(prompt="two")).cost == 100
        assert await spent(bench) == (500_000_100, 0)


async def test_a_model_without_a_price_is_charged_what_its_provider_reports(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("unpriced", ok(usage={**USAGE, "cost": 0.25}))
    lenient = budget(10**9, at_limit=AtLimit.WARN)
    async with running(fake, store, routing=only("fake/unpriced"), budgets=(lenient,)) as bench:
        receipt = await bench.ask()
        assert (receipt.cost, receipt.cost_note) == (250_000_000, None)
        assert await spent(bench) == (250_000_000, 0)


async def test_identical_calls_at_once_are_told_of_a_threshold_once(fake: FakeProvider, store: Store) -> None:
    gate = Gate(ok(usage=USAGE))
    fake.always("standard", gate)
    async with running(
        fake, store, budgets=(budget(2 * COST, thresholds=(50,), at_limit=AtLimit.WARN),)
    ) as bench:
        calls = [await bench.start() for _ in range(3)]
        gate.opened.set()
        warned = [(await answer_of(call)).warning is not None for call in calls]
    assert warned == [True, False, False]


async def test_the_budgets_of_the_settings_keep_what_is_spent_when_they_are_read_again(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", ok(usage=USAGE))
    for prompt, limit in (("one", 10**9), ("two", 2 * 10**9)):
        async with running(fake, store, budgets=(budget(limit),)) as bench:
            await bench.ask(prompt=prompt)
    assert [it.limit_nano_usd for it in await store.budgets()] == [2 * 10**9]
    assert await spent(bench) == (2 * COST, 0)


async def test_without_tracking_no_budget_is_kept(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store, tracking=False, budgets=(budget(0),)) as bench:
        with anyio.fail_after(PATIENCE):
            assert (await bench.ask()).content
