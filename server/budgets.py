"""Budgets as people and programs read them: what is spent, what is left, where it is heading."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from pydantic import BaseModel

from tierwise.routing.clock import next_first_day, period_end, start_of, today
from tierwise.routing.errors import InvalidRequest
from tierwise.routing.money.pricing import usd
from tierwise.routing.money.spending import Spending
from tierwise.server.forecast import FEWEST_DAYS, Day, Forecast, forecast
from tierwise.storage.budgets import AtLimit, Budget, BudgetPeriod, BudgetScope
from tierwise.storage.ports import Store
from tierwise.storage.records import Dimension

_HISTORY_DAYS = 28
"""Four of each weekday: enough for a pattern, and not last season's."""


class BudgetForecast(BaseModel):
    """For the end of the period; 8 of 10 outcomes are expected from `low_usd` to `high_usd`."""

    projected_usd: float | None = None
    low_usd: float | None = None
    high_usd: float | None = None
    limit_reached_on: str | None = None
    note: str | None = None


class BudgetStatus(BaseModel):
    name: str
    scope: BudgetScope
    value: str | None = None
    period: BudgetPeriod
    at_limit: AtLimit
    limit_usd: float
    spent_usd: float
    reserved_usd: float
    remaining_usd: float
    percent: float | None
    thresholds: list[int]
    resets_at: str | None = None
    forecast: BudgetForecast


class BudgetList(BaseModel):
    budgets: list[BudgetStatus]


async def budget_list(store: Store, spending: Spending, scope: str = "all") -> BudgetList:
    """How the budgets of `scope` stand.

    Raises:
        InvalidRequest: there is no such scope.
    """
    chosen = _chosen(await store.budgets(), scope)
    return BudgetList(budgets=[await budget_status(store, spending, budget) for budget in chosen])


async def budget_status(store: Store, spending: Spending, budget: Budget) -> BudgetStatus:
    """How one budget stands now."""
    account = await spending.account(budget)
    limit, spent = budget.limit_nano_usd, account.spent_nano_usd
    now = start_of(today(spending.time_zone), spending.time_zone)
    end = period_end(budget.period, now, spending.time_zone)
    status = BudgetStatus(
        name=budget.name,
        scope=budget.scope,
        period=budget.period,
        at_limit=budget.at_limit,
        limit_usd=usd(limit),
        spent_usd=usd(spent),
        reserved_usd=usd(account.reserved_nano_usd),
        remaining_usd=usd(max(limit - spent - account.reserved_nano_usd, 0)),
        percent=round(100 * spent / limit, 1) if limit else None,
        thresholds=list(budget.thresholds),
        forecast=await _forecast(store, spending, budget, spent),
    )
    if budget.scope_value:
        status.value = budget.scope_value
    if end is not None:
        status.resets_at = datetime.fromtimestamp(end / 1000, spending.time_zone).isoformat()
    return status


def check_scope(scope: str) -> None:
    """Raise `InvalidRequest` where there is no such scope."""
    kind, colon, value = scope.partition(":")
    if scope != "all" and (kind not in list(BudgetScope) or bool(value) != bool(colon)):
        raise InvalidRequest(
            f"There is no budget scope {scope[:100]!r}: use all, overall, tenant, agent or operation, or the"
            " calls of one of them, such as tenant:acme."
        )


def _chosen(budgets: Sequence[Budget], scope: str) -> list[Budget]:
    check_scope(scope)
    kind, _, value = scope.partition(":")
    return [it for it in budgets if scope == "all" or (it.scope == kind and value in ("", it.scope_value))]


async def _forecast(store: Store, spending: Spending, budget: Budget, spent: int) -> BudgetForecast:
    local = spending.time_zone
    now = today(local)
    *history, this_day = await _days(store, spending, budget, now)
    end = None if budget.period is BudgetPeriod.TOTAL else next_first_day(budget.period, now)
    found = forecast(history, this_day, spent=spent, limit=budget.limit_nano_usd, end=end)
    if found is None:
        return BudgetForecast(note=f"not enough data: it takes {FEWEST_DAYS} days with a cost")
    return _told(found, ends=end is not None)


def _told(found: Forecast, *, ends: bool) -> BudgetForecast:
    told = BudgetForecast()
    if ends:
        told.projected_usd = usd(found.expected)
        told.low_usd, told.high_usd = usd(found.low), usd(found.high)
    if found.limit_reached is not None:
        told.limit_reached_on = found.limit_reached.isoformat()
    return told


async def _days(store: Store, spending: Spending, budget: Budget, now: date) -> list[Day]:
    """What each of the last days cost in the budget's scope, today last."""
    local = spending.time_zone
    days = [now - timedelta(days=ago) for ago in range(_HISTORY_DAYS, -2, -1)]
    overall = budget.scope is BudgetScope.OVERALL
    filters = {} if overall else {Dimension(budget.scope.value): budget.scope_value}
    series = await store.usage_series([start_of(day, local) for day in days], filters=filters)
    return [Day(day, row.cost_nano_usd) for day, [row] in zip(days, series, strict=False)]
