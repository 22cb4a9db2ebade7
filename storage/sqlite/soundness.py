"""Whether a database is what it promises to be, and putting right what follows from the rest of it."""

import sqlite3
from datetime import UTC, datetime

from tierwise.storage.records import Finding
from tierwise.storage.sqlite.database import Database
from tierwise.storage.sqlite.rollup import check_rollup, rebuild_rollup

_TOLD = 10
"""Faults of the file itself that are told; one of them often brings hundreds."""
_CHARGED = "SELECT budget, period_start, SUM(nano_usd) AS total FROM charges GROUP BY budget, period_start"
_WRONG_ACCOUNTS = f"""
    SELECT budget, period_start, spent.nano_usd, opened_with + COALESCE(total, 0) AS due
    FROM spent LEFT JOIN ({_CHARGED}) AS charged USING (budget, period_start)
    WHERE spent.nano_usd <> due ORDER BY budget, period_start
"""  # noqa: S608  our own names
# Corrections of prices leave budgets alone: what counts is what the attempts cost at first.
_WRONG_CHARGES = """
    SELECT COUNT(*) FROM (
        SELECT 1 FROM charges LEFT JOIN attempts USING (call) WHERE NOT assumed
        GROUP BY charges.call, budget
        HAVING charges.nano_usd <> COALESCE(SUM(COALESCE(old_cost_nano_usd, cost_nano_usd)), 0)
    )
"""
_CACHE_SIZE = "(SELECT COALESCE(SUM(bytes), 0) FROM answers)"
_SIZES = f"SELECT bytes, {_CACHE_SIZE} FROM cache_size"  # noqa: S608  our own names
_CORRECT_SIZE = f"UPDATE cache_size SET bytes = {_CACHE_SIZE}"  # noqa: S608  our own names
_CORRECT_ACCOUNT = "UPDATE spent SET nano_usd = ? WHERE budget = ? AND period_start = ?"


async def check(database: Database) -> list[Finding]:
    """See `Store.check`."""
    if found := await _file_faults(database):
        return found  # what a damaged file says of sums means nothing
    return [
        *await _orphans(database),
        *[Finding(sentence, repairable=True) for sentence in await check_rollup(database)],
        *await _account_faults(database),
        *await _cache_faults(database),
    ]


async def repair(database: Database) -> None:
    """See `Store.repair`."""
    await rebuild_rollup(database)
    await database.transact(_correct_accounts)
    await database.transact(lambda connection: connection.execute(_CORRECT_SIZE).rowcount)


async def _file_faults(database: Database) -> list[Finding]:
    lines = [line for (line,) in await database.fetch(f"PRAGMA integrity_check({_TOLD})")]
    if lines == ["ok"]:
        return []
    advice = "Keep a copy, and save what can be read with `tierwise export`."
    return [Finding(f"The database file is damaged: {line}. {advice}", repairable=False) for line in lines]


async def _orphans(database: Database) -> list[Finding]:
    """Rows that point to one that is not there, such as attempts without their call."""
    counts: dict[tuple[str, str], int] = {}
    for table, _, parent, _ in await database.fetch("PRAGMA foreign_key_check"):
        counts[table, parent] = counts.get((table, parent), 0) + 1
    return [
        Finding(f"{count} rows of {table} belong to {parent} that are not there.", repairable=False)
        for (table, parent), count in sorted(counts.items())
    ]


async def _account_faults(database: Database) -> list[Finding]:
    found = [
        Finding(
            f"The budget {budget!r} counts {spent} nano-USD as spent in the period from"
            f" {_date(period_start)} (UTC), and its charges come to {due}.",
            repairable=True,
        )
        for budget, period_start, spent, due in await database.fetch(_WRONG_ACCOUNTS)
    ]
    [(count,)] = await database.fetch(_WRONG_CHARGES)
    if count:
        text = f"{count} charges to budgets are not what their calls cost."
        found.append(Finding(text, repairable=False))
    return found


async def _cache_faults(database: Database) -> list[Finding]:
    [(counted, due)] = await database.fetch(_SIZES)
    if counted == due:
        return []
    text = f"The cache counts {counted} bytes, and its answers come to {due}."
    return [Finding(text, repairable=True)]


def _correct_accounts(connection: sqlite3.Connection) -> None:
    wrong = connection.execute(_WRONG_ACCOUNTS).fetchall()
    connection.executemany(_CORRECT_ACCOUNT, [(due, budget, start) for budget, start, _, due in wrong])


def _date(instant: int) -> str:
    return str(datetime.fromtimestamp(instant / 1000, UTC).date())
