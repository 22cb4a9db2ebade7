"""`tierwise budget`: set, list and remove."""

from collections.abc import Mapping
from typing import Any

from tierwise.routing.errors import InvalidRequest
from tierwise.routing.money.spending import budget_of
from tierwise.server.budgets import BudgetList, BudgetStatus, budget_list, budget_status
from tierwise.server.commands.console import dollars, note, write_json, write_table
from tierwise.server.runtime import open_runtime, run
from tierwise.server.settings import Settings
from tierwise.server.tools.budgets import SET_BUDGET
from tierwise.storage.budgets import Budget


def run_set(
    settings: Settings, environ: Mapping[str, str], terms: Mapping[str, Any], *, as_json: bool
) -> None:
    """Add or replace a budget.

    Raises:
        TierwiseError: the terms do not fit, or the database is unusable.
    """
    budget = budget_of(SET_BUDGET.parse(terms))
    status = run(_set, settings, environ, budget)
    if as_json:
        write_json(status)
    else:
        _write([status])


def run_list(settings: Settings, environ: Mapping[str, str], scope: str, *, as_json: bool) -> None:
    """Show how the budgets stand.

    Raises:
        TierwiseError: there is no such scope, or the database is unusable.
    """
    listed = run(_list, settings, environ, scope)
    if as_json:
        write_json(listed)
    elif listed.budgets:
        _write(listed.budgets)
    else:
        note("There is no budget. `tierwise budget set --help` says how to set one.")


def run_remove(settings: Settings, environ: Mapping[str, str], name: str) -> None:
    """Remove a budget.

    Raises:
        InvalidRequest: there is none of that name, or the settings would set it again.
    """
    if any(budget.name == name for budget in settings.budgets):
        raise InvalidRequest(f"The settings set the budget {name!r}: take it out of them first.")
    if not run(_remove, settings, environ, name):
        raise InvalidRequest(f"There is no budget {name!r}; `tierwise budget list` shows them.")
    note(f"The budget {name!r} is removed.")


def _write(budgets: list[BudgetStatus]) -> None:
    write_table(
        ["name", "for", "period", "limit", "spent", "left", "at limit", "forecast", "begins anew"],
        [
            [
                item.name,
                f"{item.scope} {item.value}" if item.value else item.scope,
                item.period,
                dollars(item.limit_usd),
                dollars(item.spent_usd),
                dollars(item.remaining_usd),
                item.at_limit,
                _forecast(item),
                item.resets_at or "never",
            ]
            for item in budgets
        ],
        right=("limit", "spent", "left"),
    )


def _forecast(item: BudgetStatus) -> str:
    ahead = item.forecast
    if ahead.note is not None:
        return "not enough data"
    ends = f"{dollars(ahead.low_usd)} to {dollars(ahead.high_usd)}" if ahead.projected_usd is not None else ""
    reached = f"limit on {ahead.limit_reached_on}" if ahead.limit_reached_on else ""
    return ", ".join(part for part in (ends, reached) if part)


async def _set(settings: Settings, environ: Mapping[str, str], budget: Budget) -> BudgetStatus:
    async with open_runtime(settings, environ) as engine:
        await engine.spending.set_budget(budget)
        return await budget_status(engine.store, engine.spending, budget)


async def _list(settings: Settings, environ: Mapping[str, str], scope: str) -> BudgetList:
    async with open_runtime(settings, environ) as engine:
        return await budget_list(engine.store, engine.spending, scope)


async def _remove(settings: Settings, environ: Mapping[str, str], name: str) -> bool:
    async with open_runtime(settings, environ) as engine:
        return await engine.spending.delete_budget(name)
