"""The sums over calls by quarter-hour, hour and day: kept up to date, checked, and made anew."""

import sqlite3
from datetime import UTC, datetime
from functools import partial

from tierwise.storage.records import SUMS
from tierwise.storage.sqlite.database import Database

_COLUMNS = ", ".join(SUMS)
_TOTALS = ", ".join(f"SUM({name}) AS {name}" for name in SUMS)
_KEPT = "(SELECT before FROM pruned)"
_QUARTERS_A_DAY = 96
DAY_MS = 24 * 60 * 60 * 1000

# The texts below are made of names of ours alone, from the record.
_SHARES = f"""
    SELECT span, quarter - quarter % span AS quarter, labels, {_TOTALS} FROM shares CROSS JOIN spans
"""  # noqa: S608
_BY_KEY = "GROUP BY span, quarter - quarter % span, labels"
_ADD = f"INSERT INTO usage (span, quarter, labels, {_COLUMNS}) "

_ADD_CALL = (
    f"{_ADD} {_SHARES} WHERE call = ? {_BY_KEY} ON CONFLICT (span, quarter, labels) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)
)
# The rows are there to be subtracted from, for the call was added to them.
_REMOVE_CALL = _ADD_CALL.replace(" + excluded", " - excluded")
_ADD_DAY = f"{_ADD} {_SHARES} WHERE started_at >= ? AND started_at < ? {_BY_KEY}"

_IN_DAY = "span IN (SELECT span FROM spans) AND quarter >= ? AND quarter < ?"
_REMOVE_DAY = f"DELETE FROM usage WHERE {_IN_DAY}"  # noqa: S608
_DIFFERENCES = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM (
            SELECT span, quarter, labels, {_COLUMNS} FROM usage WHERE {_IN_DAY}
            UNION ALL
            SELECT span, quarter, labels, {", ".join(f"-{name}" for name in SUMS)}
            FROM ({_SHARES} WHERE started_at >= ? AND started_at < ? {_BY_KEY})
        )
        GROUP BY span, quarter, labels HAVING {" OR ".join(f"SUM({name})" for name in SUMS)}
    )
    WHERE ? >= {_KEPT}
"""  # noqa: S608
_DAYS = f"""
    SELECT quarter / {_QUARTERS_A_DAY} AS day FROM usage WHERE day * {DAY_MS} >= {_KEPT}
    UNION SELECT started_at / {DAY_MS} FROM calls WHERE started_at >= {_KEPT}
    ORDER BY 1
"""  # noqa: S608


def add_to_rollup(connection: sqlite3.Connection, call: int) -> None:
    """Add what the call with that row id comes to."""
    connection.execute(_ADD_CALL, (call,))


def remove_from_rollup(connection: sqlite3.Connection, call: int) -> None:
    """Take out what the call with that row id comes to, before its rows change."""
    connection.execute(_REMOVE_CALL, (call,))


async def check_rollup(database: Database) -> list[str]:
    """A sentence for each UTC day not pruned whose sums are not those of its calls."""
    found: list[str] = []
    for (day,) in await database.fetch(_DAYS):
        [(count,)] = await database.fetch(_DIFFERENCES, (*_quarters(day), *_instants(day), day * DAY_MS))
        if count:
            date = datetime.fromtimestamp(day * DAY_MS // 1000, UTC).date()
            found.append(f"On {date} (UTC), {count} of the sums of usage are not those of the calls.")
    return found


async def rebuild_rollup(database: Database) -> None:
    """Make the sums anew from the calls, a day at a time; days that were pruned keep theirs."""
    for (day,) in await database.fetch(_DAYS):
        await database.transact(partial(rebuild_day, day=day))


def rebuild_day(connection: sqlite3.Connection, day: int) -> None:
    """Make the sums of one UTC day (a number from the epoch) anew, unless it was pruned meanwhile."""
    [kept] = connection.execute("SELECT before FROM pruned").fetchone()
    if day * DAY_MS >= kept:
        connection.execute(_REMOVE_DAY, _quarters(day))
        connection.execute(_ADD_DAY, _instants(day))


def _quarters(day: int) -> tuple[int, int]:
    return day * _QUARTERS_A_DAY, (day + 1) * _QUARTERS_A_DAY


def _instants(day: int) -> tuple[int, int]:
    return day * DAY_MS, (day + 1) * DAY_MS
