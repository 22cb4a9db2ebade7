"""Verdicts on calls, and what is kept of calls for the sake of a verdict to come."""

import sqlite3
from collections.abc import Iterable
from dataclasses import fields

from tierwise.storage.errors import UnknownCall
from tierwise.storage.outcomes import OutcomeRecord, OutcomeSource, StoredOutcome, Verdict
from tierwise.storage.sqlite.database import Database, Row
from tierwise.storage.sqlite.text import storable

_CALLS_WITH_FEATURES = 10_000
_MAX_FEATURES = 1024
_MAX_NOTE = 500

# What was copied from the call stays when the same source changes its mind: by then the features may
# be gone.
_ADD = """
    INSERT INTO outcomes (call_id, at, verdict, source, note, tier_served, complexity_score, features)
    SELECT call_id, ?, ?, ?, ?, tier_served, complexity_score, content
    FROM calls LEFT JOIN features ON features.call = calls.id WHERE call_id = ?
    ON CONFLICT (call_id, source) DO UPDATE SET
        at = excluded.at, verdict = excluded.verdict, note = excluded.note
"""
_FIELDS = [field.name for field in fields(StoredOutcome)]
_COLUMNS = ", ".join(_FIELDS)
_IMPORT = f"INSERT OR REPLACE INTO outcomes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  our own names
_NEWEST = f"SELECT {_COLUMNS} FROM outcomes ORDER BY at DESC, id DESC LIMIT ?"  # noqa: S608  our own names


def keep_features(connection: sqlite3.Connection, call: int, features: bytes) -> None:
    """Keep them for the call with that row id, and let go of those of calls too old by now."""
    if len(features) <= _MAX_FEATURES:
        connection.execute("INSERT INTO features VALUES (?, ?)", (call, features))
    connection.execute("DELETE FROM features WHERE call <= ?", (call - _CALLS_WITH_FEATURES,))


def add_outcome(connection: sqlite3.Connection, outcome: OutcomeRecord) -> None:
    """See `Outcomes.add_outcome`."""
    note = outcome.note[:_MAX_NOTE] if outcome.note else None
    row = (outcome.at, outcome.verdict, outcome.source, note, outcome.call_id)
    if not connection.execute(_ADD, storable(row)).rowcount:
        raise UnknownCall(
            f"No call is recorded under the call_id {outcome.call_id[:80]!r}. Give the one from its receipt."
        )


def import_outcomes(connection: sqlite3.Connection, outcomes: Iterable[StoredOutcome]) -> None:
    """See `Outcomes.import_outcomes`."""
    rows = ([getattr(outcome, name) for name in _FIELDS] for outcome in outcomes)
    connection.executemany(_IMPORT, map(storable, rows))


async def read_outcomes(database: Database, limit: int) -> list[StoredOutcome]:
    """See `Outcomes.outcomes`."""
    return [_outcome(row) for row in await database.fetch(_NEWEST, (limit,))]


def reset_outcomes(connection: sqlite3.Connection) -> int:
    """See `Outcomes.reset_outcomes`."""
    return connection.execute("DELETE FROM outcomes").rowcount


def _outcome(row: Row) -> StoredOutcome:
    values = dict(zip(_FIELDS, row, strict=True))
    values["verdict"] = Verdict(values["verdict"])
    values["source"] = OutcomeSource(values["source"])
    return StoredOutcome(**values)
