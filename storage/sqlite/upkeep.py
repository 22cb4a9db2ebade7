"""Changes to calls that are in the ledger: letting old ones go, correcting what they cost."""

import sqlite3
from collections.abc import Iterable
from functools import partial

import anyio

from tierwise.storage.sqlite.database import Database
from tierwise.storage.sqlite.rollup import DAY_MS, add_to_rollup, remove_from_rollup

_BATCH = 2000
"""Calls deleted in one transaction: it holds the write lock for some 20 ms."""
_PAGES = 1000
"""Pages given back in one transaction, which takes as long."""
_PAUSE = 0.02
"""Seconds between two transactions, in which other processes get the write lock: they only look for it now
and then."""
_SPARE = 10
"""One page in so many may stay free, for the calls to come."""
_REMEMBER = "UPDATE pruned SET before = max(before, ?)"
_PRUNE = "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE started_at < ? LIMIT ?)"
_FIND_OTHER_COST = """
    SELECT id FROM calls JOIN attempts ON call = id
    WHERE call_id = ? AND ordinal = ? AND cost_nano_usd IS NOT ?
"""
_CORRECT = """
    UPDATE attempts SET
        old_cost_nano_usd = COALESCE(old_cost_nano_usd, cost_nano_usd),
        cost_note = CASE WHEN cost_nano_usd IS NULL THEN NULL ELSE cost_note END,
        cost_nano_usd = ?
    WHERE call = ? AND ordinal = ?
"""


async def prune(database: Database, before: int) -> int:
    """See `Ledger.prune`."""
    work = partial(_prune_batch, before=before - before % DAY_MS)
    deleted = 0
    while batch := await database.transact(work):
        deleted += batch
        await anyio.sleep(_PAUSE)
    more = True
    while more:
        more = await database.transact(_give_back)
        await anyio.sleep(_PAUSE)
    return deleted


def set_costs(connection: sqlite3.Connection, costs: Iterable[tuple[str, int, int]]) -> int:
    """See `Ledger.set_costs`."""
    changed = 0
    for call_id, index, cost in costs:
        found = connection.execute(_FIND_OTHER_COST, (call_id, index, cost)).fetchone()
        if found is None:
            continue
        [call] = found
        remove_from_rollup(connection, call)
        connection.execute(_CORRECT, (cost, call, index))
        add_to_rollup(connection, call)
        changed += 1
    return changed


def _prune_batch(connection: sqlite3.Connection, before: int) -> int:
    connection.execute(_REMEMBER, (before,))
    return connection.execute(_PRUNE, (before, _BATCH)).rowcount


def _give_back(connection: sqlite3.Connection) -> bool:
    """Hand free pages back to the disk; whether there is more to do."""
    free, pages = _number(connection, "freelist_count"), _number(connection, "page_count")
    if free * _SPARE <= pages:
        return False
    for _ in range(_PAGES):
        # Without columns to fetch, Python takes one step of it whatever the number: one page.
        connection.execute("PRAGMA incremental_vacuum(1)")
    return _number(connection, "freelist_count") < free


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return connection.execute(f"PRAGMA {pragma}").fetchone()[0]
