"""What every store does with budgets."""

from collections.abc import Sequence

import anyio
import pytest

from tests.storage.samples import DAY, HOUR, MIDNIGHT, NOON, QUARTER, attempt, budget, call, reservation
from tierwise.storage.budgets import (
    AtLimit,
    BudgetAccount,
    BudgetPeriod,
    BudgetScope,
    Charge,
    Committed,
    Crossing,
    Refusal,
)
from tierwise.storage.errors import StorageError
from tierwise.storage.ports import Store

pytestmark = pytest.mark.anyio


async def account(store: Store, name: str = "all", now: int = NOON, start: int = MIDNIGHT) -> tuple[int, int]:
    """What is spent and what is reserved."""
    found = await store.budget_spent(name, start, now=now)
    return found.spent_nano_usd, found.reserved_nano_usd


async def spend(store: Store, call_id: str, cost: int | None, *, reserved: int = 0) -> list[int]:
    """Reserve and record; returns the percents crossed."""
    assert await store.reserve(reservation(call_id, reserved), now=NOON) == ()
    committed = await store.record(call(call_id, attempt(cost_nano_usd=cost)))
    return [crossing.percent for crossing in committed.crossed]


def refused(refusals: Sequence[Refusal]) -> list[str]:
    return [refusal.budget for refusal in refusals]


async def test_a_budget_comes_back_as_it_was_set_and_is_replaced_by_its_name(store: Store) -> None:
    first = budget("b", scope=BudgetScope.TENANT, scope_value="acme", thresholds=(50,))
    second = budget("a", period=BudgetPeriod.TOTAL, at_limit=AtLimit.DOWNGRADE)
    await store.set_budget(first, period_start=MIDNIGHT)
    await store.set_budget(second, period_start=0)
    assert await store.budgets() == [second, first]
    changed = budget("b", limit=5, scope=BudgetScope.AGENT, scope_value="x", at_limit=AtLimit.WARN)
    await store.set_budget(changed, period_start=MIDNIGHT)
    assert await store.budgets() == [second, changed]


async def test_a_deleted_budget_is_gone_with_its_account_and_refuses_nobody(store: Store) -> None:
    await store.set_budget(budget(limit=1), period_start=MIDNIGHT)
    await store.reserve(reservation("a", 1), now=NOON)
    assert await store.delete_budget("all")
    assert not await store.delete_budget("all")
    assert await store.budgets() == []
    assert await account(store) == (0, 0)
    assert await store.reserve(reservation("b", 99), now=NOON) == ()
    assert await store.record(call("a", attempt())) == Committed()
    assert await account(store) == (0, 0)


async def test_what_is_reserved_counts_until_the_call_is_settled_at_its_real_cost(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    assert await store.reserve(reservation("a", 900), now=NOON) == ()
    assert await account(store) == (0, 900)
    await store.record(call("a", attempt(cost_nano_usd=300), attempt(cost_nano_usd=25)))
    assert await account(store) == (325, 0)


async def test_a_reservation_may_reach_the_limit_and_not_pass_it(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await spend(store, "a", 600, reserved=600)
    await store.reserve(reservation("b", 300), now=NOON)
    assert await store.reserve(reservation("c", 101), now=NOON) == (
        Refusal(budget="all", limit_nano_usd=1_000, spent_nano_usd=600, reserved_nano_usd=300),
    )
    assert await store.reserve(reservation("c", 100), now=NOON) == ()


async def test_one_budget_that_refuses_keeps_the_others_free(store: Store) -> None:
    for name, limit in (("small", 100), ("large", 1_000), ("tiny", 10)):
        await store.set_budget(budget(name, limit), period_start=MIDNIGHT)
    assert refused(await store.reserve(reservation("a", 500, "small", "large", "tiny"), now=NOON)) == [
        "small",
        "tiny",
    ]
    assert await account(store, "large") == (0, 0)


async def test_one_cost_is_charged_to_every_budget_reserved(store: Store) -> None:
    for name in ("a", "b", "c"):
        await store.set_budget(budget(name), period_start=MIDNIGHT)
    await store.reserve(reservation("call", 500, "a", "b"), now=NOON)
    await store.record(call("call", attempt(cost_nano_usd=400)))
    assert [await account(store, name) for name in ("a", "b", "c")] == [(400, 0), (400, 0), (0, 0)]


async def test_a_budget_that_only_warns_counts_past_its_limit(store: Store) -> None:
    await store.set_budget(budget(at_limit=AtLimit.WARN), period_start=MIDNIGHT)
    assert await spend(store, "a", 1_500, reserved=1_500) == [80, 90, 100]
    assert await spend(store, "b", 1_500, reserved=1_500) == []
    assert await account(store) == (3_000, 0)


async def test_a_budget_that_downgrades_refuses_so_that_the_caller_looks_for_less(store: Store) -> None:
    await store.set_budget(budget(at_limit=AtLimit.DOWNGRADE), period_start=MIDNIGHT)
    assert refused(await store.reserve(reservation("a", 1_001), now=NOON)) == ["all"]
    assert await store.reserve(reservation("a", 1_000), now=NOON) == ()


async def test_a_call_that_costs_nothing_passes_whatever_is_spent(store: Store) -> None:
    await store.set_budget(budget(limit=0), period_start=MIDNIGHT)
    assert refused(await store.reserve(reservation("a", 1), now=NOON)) == ["all"]
    assert await store.reserve(reservation("a", 0), now=NOON) == ()
    assert await spend(store, "over", 5) == [80, 90, 100]
    assert await store.reserve(reservation("b", 0), now=NOON) == ()


async def test_reserving_again_replaces_what_the_call_held_unless_it_is_refused(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await store.reserve(reservation("a", 900), now=NOON)
    assert await store.reserve(reservation("a", 950), now=NOON) == ()
    assert await account(store) == (0, 950)
    assert refused(await store.reserve(reservation("a", 1_001), now=NOON)) == ["all"]
    assert await account(store) == (0, 950)


async def test_an_unknown_cost_is_settled_at_what_was_reserved(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await spend(store, "a", None, reserved=300)
    assert await account(store) == (300, 0)
    await store.reserve(reservation("b", 100), now=NOON)
    await store.record(call("b", attempt(cost_nano_usd=None), attempt(cost_nano_usd=150)))
    assert await account(store) == (450, 0)


async def test_a_call_that_made_no_attempt_frees_what_it_held(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await store.reserve(reservation("a", 900), now=NOON)
    await store.record(call("a"))
    assert await account(store) == (0, 0)


async def test_a_call_without_a_reservation_changes_no_budget(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await store.reserve(reservation("other", 10), now=NOON)
    assert await store.record(call("a", attempt(cost_nano_usd=5_000))) == Committed()
    assert await account(store) == (0, 10)


async def test_a_call_is_charged_where_it_says_if_nothing_could_be_reserved(store: Store) -> None:
    await store.set_budget(budget(thresholds=(50,)), period_start=MIDNIGHT)
    charges = (Charge(budget="all", period_start=MIDNIGHT), Charge(budget="gone", period_start=MIDNIGHT))
    committed = await store.record(call("a", attempt(), unreserved=charges))
    assert committed == Committed((Crossing(budget="all", period_start=MIDNIGHT, percent=50),))
    assert await account(store) == (700, 0)
    await store.reserve(reservation("b", 100), now=NOON)
    await store.record(call("b", attempt(cost_nano_usd=20), unreserved=charges))
    assert await account(store) == (720, 0)


async def test_a_call_that_opens_the_account_of_its_period_is_charged_to_it_once(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT - DAY)
    charges = (Charge(budget="all", period_start=MIDNIGHT),)
    for _ in range(2):
        await store.record(call("a", attempt(), unreserved=charges))
        assert await account(store) == (700, 0)


async def test_recording_again_neither_charges_nor_crosses_again(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    assert await spend(store, "a", 800, reserved=800) == [80]
    assert await spend(store, "a", 800, reserved=100) == []
    assert (await account(store))[0] == 800


async def test_each_threshold_is_told_once_when_it_is_reached(store: Store) -> None:
    await store.set_budget(budget(thresholds=(100, 50, 80)), period_start=MIDNIGHT)
    assert await spend(store, "a", 499) == []
    assert await spend(store, "b", 1) == [50]
    assert await spend(store, "c", 0) == []
    assert await spend(store, "d", 600) == [80, 100]
    assert await spend(store, "e", 600) == []


async def test_a_crossing_says_which_budget_and_period(store: Store) -> None:
    for name in ("b", "a"):
        await store.set_budget(budget(name, thresholds=(80,)), period_start=MIDNIGHT)
    await store.reserve(reservation("x", 1_000, "b", "a"), now=NOON)
    assert await store.record(call("x", attempt(cost_nano_usd=900))) == Committed(
        (
            Crossing(budget="a", period_start=MIDNIGHT, percent=80),
            Crossing(budget="b", period_start=MIDNIGHT, percent=80),
        )
    )


async def test_each_period_has_its_own_account_and_thresholds(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    assert await spend(store, "a", 1_000, reserved=1_000) == [80, 90, 100]
    tomorrow = Charge(budget="all", period_start=MIDNIGHT + DAY)
    assert await store.reserve(reservation("b", 1_000, charges=(tomorrow,)), now=NOON) == ()
    committed = await store.record(call("b", attempt(cost_nano_usd=850)))
    assert [crossing.percent for crossing in committed.crossed] == [80]
    assert await account(store) == (1_000, 0)
    assert await account(store, start=MIDNIGHT + DAY) == (850, 0)


async def test_a_raised_limit_can_be_crossed_again_and_keeps_what_is_spent(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await spend(store, "a", None, reserved=1_000)
    await store.set_budget(budget(limit=2_000), period_start=MIDNIGHT)
    assert await account(store) == (1_000, 0)
    assert await spend(store, "b", 600, reserved=900) == [80]


async def test_an_expired_reservation_holds_nothing_back(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await store.reserve(reservation("dead", 1_000, expires_at=NOON + 10), now=NOON)
    assert refused(await store.reserve(reservation("a", 1), now=NOON + 9)) == ["all"]
    assert await account(store, now=NOON + 10) == (0, 0)
    assert await store.reserve(reservation("a", 1), now=NOON + 10) == ()


async def test_a_call_that_ends_after_its_reservation_expired_is_charged_all_the_same(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await store.reserve(reservation("late", 500, expires_at=NOON + 10), now=NOON)
    await store.reserve(reservation("other", 1), now=NOON + HOUR)
    await store.record(call("late", attempt(cost_nano_usd=400)))
    assert (await account(store))[0] == 400


async def test_the_reservations_of_the_dead_are_cleared_after_a_day(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await store.reserve(reservation("dead", 500, expires_at=NOON), now=NOON - 1)
    await store.reserve(reservation("other", 1), now=NOON + DAY)
    await store.record(call("dead", attempt(cost_nano_usd=400)))
    assert (await account(store))[0] == 0


async def test_a_new_budget_opens_with_what_its_scope_has_spent_in_the_period(store: Store) -> None:
    spendings = {
        "before": {"tenant": "acme", "started_at": MIDNIGHT - 1},
        "first": {"tenant": "acme", "started_at": MIDNIGHT},
        "last": {"tenant": "acme", "started_at": MIDNIGHT + 3 * DAY},
        "other": {"tenant": "else", "started_at": NOON},
    }
    for number, (name, fields) in enumerate(spendings.items()):
        await store.record(call(name, attempt(cost_nano_usd=10**number), **fields))
    tenant = budget(scope=BudgetScope.TENANT, scope_value="acme")
    await store.set_budget(tenant, period_start=MIDNIGHT)
    assert await account(store) == (110, 0)
    await store.set_budget(budget("total", period=BudgetPeriod.TOTAL), period_start=0)
    assert await account(store, "total", start=0) == (1_111, 0)


async def test_a_period_that_began_before_anyone_reserved_in_it_opens_with_what_was_spent(
    store: Store,
) -> None:
    """Such as that of another time zone."""
    await store.set_budget(budget(scope=BudgetScope.TENANT, scope_value="acme"), period_start=MIDNIGHT)
    await store.record(call("early", attempt(cost_nano_usd=5), tenant="acme", started_at=MIDNIGHT + HOUR))
    await store.record(
        call("late", attempt(cost_nano_usd=300), tenant="acme", started_at=MIDNIGHT + 2 * HOUR)
    )
    await store.record(call("other", attempt(cost_nano_usd=50), started_at=MIDNIGHT + 2 * HOUR))
    shifted = MIDNIGHT + 2 * HOUR
    assert await account(store, start=shifted) == (300, 0)
    charge = Charge(budget="all", period_start=shifted)
    too_much = reservation("a", 701, charges=(charge,))
    assert await store.reserve(too_much, now=NOON) == (
        Refusal(budget="all", limit_nano_usd=1_000, spent_nano_usd=300, reserved_nano_usd=0),
    )
    assert await store.reserve(reservation("a", 700, charges=(charge,)), now=NOON) == ()
    await store.record(call("a", attempt(cost_nano_usd=500), tenant="acme"))
    assert await account(store, start=shifted) == (800, 0)


async def test_a_budget_whose_scope_changes_is_opened_anew(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    await spend(store, "a", 300)
    await store.set_budget(budget(scope=BudgetScope.AGENT, scope_value="bot"), period_start=MIDNIGHT)
    assert await account(store) == (0, 0)


async def test_an_absurd_limit_is_said_and_changes_nothing(store: Store) -> None:
    await store.set_budget(budget(), period_start=MIDNIGHT)
    with pytest.raises(StorageError, match="a number that large"):
        await store.set_budget(budget(limit=10**30), period_start=MIDNIGHT)
    assert await store.budgets() == [budget()]


async def test_a_negative_limit_is_one_of_nothing(store: Store) -> None:
    await store.set_budget(budget(limit=-5), period_start=MIDNIGHT)
    assert refused(await store.reserve(reservation("a", 1), now=NOON)) == ["all"]
    assert await spend(store, "b", 1) == [80, 90, 100]


async def test_names_may_hold_any_text(store: Store) -> None:
    odd = "half a pair \ud800"
    await store.set_budget(budget(odd, scope=BudgetScope.TENANT, scope_value=odd), period_start=MIDNIGHT)
    assert await store.reserve(reservation(odd, 500, odd), now=NOON) == ()
    await store.record(call(odd, attempt(), tenant=odd))
    assert await account(store, odd) == (700, 0)
    assert await store.delete_budget(odd)


async def test_reservations_made_at_once_never_pass_the_limit(store: Store) -> None:
    await store.set_budget(budget(limit=1_000), period_start=MIDNIGHT)
    granted: list[str] = []

    async def one(number: int) -> None:
        if not await store.reserve(reservation(str(number), 70), now=NOON):
            granted.append(str(number))

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(one, number)
    assert len(granted) == 14
    assert await store.budget_spent("all", MIDNIGHT, now=NOON) == BudgetAccount(
        spent_nano_usd=0, reserved_nano_usd=980
    )
    assert await account(store, now=NOON + QUARTER) == (0, 0)
