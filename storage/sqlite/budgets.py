"""Limits, their accounts by period, and what is held back for calls under way."""

import json
import sqlite3

from tierwise.storage.budgets import (
    AtLimit,
    Budget,
    BudgetAccount,
    BudgetPeriod,
    BudgetScope,
    Charge,
    Crossing,
    Refusal,
    Reservation,
)
from tierwise.storage.records import CallRecord, Dimension
from tierwise.storage.sqlite.database import Database
from tierwise.storage.sqlite.text import storable
from tierwise.storage.sqlite.usage import END_OF_TIME, cost_since, read_rollup

_GRACE_MS = 24 * 60 * 60 * 1000
"""How long an expired reservation stays, for a call that ends late after all to be charged to it."""

_SET = """
    INSERT INTO budgets (name, scope, scope_value, period, limit_nano_usd, thresholds, at_limit)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET scope = excluded.scope, scope_value = excluded.scope_value,
        period = excluded.period, limit_nano_usd = excluded.limit_nano_usd,
        thresholds = excluded.thresholds, at_limit = excluded.at_limit
"""
_ALL = """
    SELECT name, scope, scope_value, period, limit_nano_usd, thresholds, at_limit FROM budgets ORDER BY name
"""
_ACCOUNT = """
    (SELECT nano_usd FROM spent WHERE budget = :budget AND period_start = :period_start),
    COALESCE((SELECT SUM(nano_usd) FROM reservations
        WHERE budget = :budget AND period_start = :period_start AND expires_at > :now AND call_id <> :call_id
    ), 0)
"""
_STANDING = f"SELECT limit_nano_usd, at_limit, {_ACCOUNT} FROM budgets WHERE name = :budget"  # noqa: S608
_SCOPE = "SELECT scope, scope_value FROM budgets WHERE name = ?"
_UNOPENED = f"""
    {_SCOPE} AND NOT EXISTS (SELECT 1 FROM spent WHERE budget = name AND period_start = ?)
"""  # noqa: S608
# A budget that is gone holds nothing and has no account.
_OPEN_WITH = "INSERT INTO spent (budget, period_start, nano_usd, opened_with) VALUES (?, ?, ?, ?)"
_HOLD = "INSERT INTO reservations SELECT name, ?, ?, ?, ? FROM budgets WHERE name = ?"
_HELD = """
    SELECT budget, period_start, limit_nano_usd, thresholds, reservations.nano_usd, spent.nano_usd
    FROM reservations JOIN budgets ON name = budget JOIN spent USING (budget, period_start)
    WHERE call_id = ? ORDER BY budget, period_start
"""
_SPEND = "UPDATE spent SET nano_usd = nano_usd + ? WHERE budget = ? AND period_start = ?"
_CHARGE = "INSERT INTO charges (call, budget, period_start, nano_usd, assumed) VALUES (?, ?, ?, ?, ?)"
_RELEASE = "DELETE FROM reservations WHERE call_id = ?"
_PURGE = "DELETE FROM reservations WHERE expires_at <= ?"


def set_budget(connection: sqlite3.Connection, budget: Budget, period_start: int) -> None:
    """See `Budgets.set_budget`."""
    meant = storable((budget.scope, budget.scope_value, budget.period))
    [name] = storable((budget.name,))
    found = connection.execute("SELECT scope, scope_value, period FROM budgets WHERE name = ?", (name,))
    same = found.fetchone() == meant
    thresholds = json.dumps(budget.thresholds)
    connection.execute(_SET, (name, *meant, budget.limit_nano_usd, thresholds, budget.at_limit))
    if not same:
        connection.execute("DELETE FROM spent WHERE budget = ?", (name,))
        _open(connection, Charge(budget=budget.name, period_start=period_start))


def delete_budget(connection: sqlite3.Connection, name: str) -> bool:
    """See `Budgets.delete_budget`."""
    return connection.execute("DELETE FROM budgets WHERE name = ?", storable((name,))).rowcount > 0


async def read_budgets(database: Database) -> list[Budget]:
    """See `Budgets.budgets`."""
    return [_budget(*row) for row in await database.fetch(_ALL)]


async def read_account(database: Database, name: str, period_start: int, now: int) -> BudgetAccount:
    """See `Budgets.budget_spent`."""
    account = _account(Charge(budget=name, period_start=period_start), now, call_id="")
    [(spent, reserved)] = await database.fetch(f"SELECT {_ACCOUNT}", account)
    if spent is None:
        spent = 0
        for scope, value in await database.fetch(_SCOPE, storable((name,))):
            [[row]] = await read_rollup(database, (period_start, END_OF_TIME), (), _filters(scope, value))
            spent = row.cost_nano_usd
    return BudgetAccount(spent_nano_usd=spent, reserved_nano_usd=reserved)


def reserve(connection: sqlite3.Connection, reservation: Reservation, now: int) -> tuple[Refusal, ...]:
    """See `Budgets.reserve`."""
    connection.execute(_PURGE, (now - _GRACE_MS,))
    for charge in reservation.charges:
        _open(connection, charge)
    refused = [_refusal(connection, charge, reservation, now) for charge in reservation.charges]
    refusals = tuple(refusal for refusal in refused if refusal)
    if not refusals:
        connection.execute(_RELEASE, storable((reservation.call_id,)))
        for charge in reservation.charges:
            _hold(connection, charge, reservation)
    return refusals


def hold_unreserved(connection: sqlite3.Connection, call: CallRecord) -> None:
    """Reserve nothing where `call` is to be charged all the same; before it is in the sums that accounts
    open with."""
    reserved_under = call.reservation or call.call_id
    if call.unreserved and not connection.execute(_HELD, storable((reserved_under,))).fetchall():
        nothing = Reservation(
            call_id=reserved_under, amount_nano_usd=0, charges=call.unreserved, expires_at=0
        )
        for charge in nothing.charges:
            _open(connection, charge)
            _hold(connection, charge, nothing)


def settle(connection: sqlite3.Connection, row: int, call: CallRecord) -> tuple[Crossing, ...]:
    """Charge what `call`, whose row id is `row`, cost where it was reserved; returns the thresholds that
    this crosses."""
    reserved_under = storable((call.reservation or call.call_id,))
    held = connection.execute(_HELD, reserved_under).fetchall()
    crossed: list[Crossing] = []
    for budget, period_start, limit, thresholds, reserved, spent in held:
        cost = _cost(call, reserved)
        connection.execute(_SPEND, (cost, budget, period_start))
        connection.execute(_CHARGE, (row, budget, period_start, cost, call.cost_nano_usd is None))
        crossed += (
            Crossing(budget=budget, period_start=period_start, percent=percent)
            for percent in sorted(json.loads(thresholds))
            # A limit of 0 is crossed by the first cost.
            if spent * 100 < max(percent * limit, 1) <= (spent + cost) * 100
        )
    if held:
        connection.execute(_RELEASE, reserved_under)
    return tuple(crossed)


def _cost(call: CallRecord, reserved: int) -> int:
    if call.cost_nano_usd is not None:
        return call.cost_nano_usd
    known = sum(attempt.cost_nano_usd or 0 for attempt in call.attempts)
    return max(known, reserved)


def _refusal(
    connection: sqlite3.Connection, charge: Charge, reservation: Reservation, now: int
) -> Refusal | None:
    account = _account(charge, now, reservation.call_id)
    found = connection.execute(_STANDING, account).fetchone()
    if found is None:
        return None
    limit, at_limit, spent, reserved = found
    amount = reservation.amount_nano_usd
    if not amount or at_limit == AtLimit.WARN or spent + reserved + amount <= limit:
        return None
    return Refusal(
        budget=charge.budget, limit_nano_usd=limit, spent_nano_usd=spent, reserved_nano_usd=reserved
    )


def _open(connection: sqlite3.Connection, charge: Charge) -> None:
    """See to it that there is an account. The first call of a period finds nothing spent in it; but where the
    time zone was changed, the period that it makes has begun long ago."""
    key = storable((charge.budget, charge.period_start))
    for scope, value in connection.execute(_UNOPENED, key).fetchall():
        spent = cost_since(connection, charge.period_start, _filters(scope, value))
        connection.execute(_OPEN_WITH, (*key, spent, spent))


def _hold(connection: sqlite3.Connection, charge: Charge, reservation: Reservation) -> None:
    budget, call_id = storable((charge.budget, reservation.call_id))
    amount, expires_at = reservation.amount_nano_usd, reservation.expires_at
    connection.execute(_HOLD, (charge.period_start, call_id, amount, expires_at, budget))


def _account(charge: Charge, now: int, call_id: str) -> dict[str, object]:
    names = ("budget", "period_start", "now", "call_id")
    return dict(zip(names, storable((charge.budget, charge.period_start, now, call_id)), strict=True))


def _budget(
    name: str, scope: str, value: str, period: str, limit: int, thresholds: str, at_limit: str
) -> Budget:
    return Budget(
        name=name,
        scope=BudgetScope(scope),
        scope_value=value,
        period=BudgetPeriod(period),
        limit_nano_usd=limit,
        thresholds=tuple(json.loads(thresholds)),
        at_limit=AtLimit(at_limit),
    )


def _filters(scope: str, value: str) -> dict[Dimension, str]:
    return {} if scope == BudgetScope.OVERALL else {Dimension(scope): value}
