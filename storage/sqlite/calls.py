"""Reading calls back."""

import json
from collections.abc import AsyncGenerator, Iterable
from itertools import groupby
from typing import Any

from tierwise.storage.ports import MOST_LOOKED_AT
from tierwise.storage.records import AttemptRecord, AttemptSample, CallRecord, CallStatus, Filters
from tierwise.storage.sqlite.database import Database, Row
from tierwise.storage.sqlite.filters import condition

_LABELS = ("provider", "model", "tier", "operation", "tenant", "agent")
_CALL = (
    *("call_id", "started_at", "latency_us", "status", "error", "tier_served", "complexity_score", "cached"),
    *("saved_nano_usd", "finish_reason", "metadata"),
)
_TRIED = ("provider", "model")
_ATTEMPT = (
    *("outcome", "error", "started_at", "latency_us", "input_tokens", "output_tokens", "cache_read_tokens"),
    *("cache_write_tokens", "reasoning_tokens", "estimated", "cost_nano_usd", "old_cost_nano_usd"),
    *("cost_note", "cost_reported", "billed"),
)
_COLUMNS = [
    "page.id",
    *(f"own.{name}" for name in _LABELS),
    *(f"page.{name}" for name in _CALL),
    *(f"tried.{name}" for name in _TRIED),
    *(f"attempts.{name}" for name in _ATTEMPT),
]
_FIRST_OF_ATTEMPT = 1 + len(_LABELS) + len(_CALL)

# One statement, so that a call and its attempts are read as they stood at one instant.
_PAGE = f"""
    SELECT {", ".join(_COLUMNS)}
    FROM (
        SELECT * FROM calls
        WHERE (started_at, id) > (:started_at, :id) AND started_at < :end AND {{wanted}}
        ORDER BY started_at, id LIMIT :batch
    ) AS page
    CROSS JOIN labels AS own ON own.id = page.labels
    LEFT JOIN attempts ON attempts.call = page.id
    LEFT JOIN labels AS tried ON tried.id = attempts.labels
    ORDER BY page.started_at, page.id, ordinal
"""  # noqa: S608  our own names
_NEWEST = f"""
    SELECT {", ".join(_COLUMNS)}
    FROM (
        SELECT id FROM (
            SELECT id, started_at, labels, metadata FROM calls
            WHERE started_at >= :start AND started_at < :end
            ORDER BY started_at DESC, id DESC LIMIT :looked_at
        )
        WHERE {{wanted}}
        ORDER BY started_at DESC, id DESC LIMIT :limit
    ) AS chosen
    CROSS JOIN calls AS page ON page.id = chosen.id
    CROSS JOIN labels AS own ON own.id = page.labels
    LEFT JOIN attempts ON attempts.call = page.id
    LEFT JOIN labels AS tried ON tried.id = attempts.labels
    ORDER BY page.started_at DESC, page.id DESC, ordinal
"""  # noqa: S608  our own names
_RECENT = """
    SELECT provider, model, outcome, attempts.started_at, latency_us, output_tokens, EXISTS (
        SELECT 1 FROM attempts AS next
        WHERE next.call = attempts.call AND next.ordinal = attempts.ordinal + 1
            AND next.labels <> attempts.labels
    )
    FROM (SELECT id FROM calls WHERE started_at >= ? ORDER BY started_at DESC, id DESC LIMIT ?) AS page
    CROSS JOIN attempts ON attempts.call = page.id
    CROSS JOIN labels ON labels.id = attempts.labels
    ORDER BY attempts.started_at DESC, attempts.call DESC, ordinal DESC
"""
_SAMPLE = ("provider", "model", "outcome", "started_at", "latency_us", "output_tokens", "left")
_SCORES = "SELECT complexity_score FROM calls WHERE complexity_score IS NOT NULL ORDER BY id DESC LIMIT ?"


async def read_scores(database: Database, limit: int) -> list[float]:
    """See `Ledger.recent_scores`."""
    return [score for (score,) in await database.fetch(_SCORES, (limit,))]


async def read_samples(database: Database, since: int, limit: int) -> list[AttemptSample]:
    """See `Ledger.recent_attempts`."""
    found = [_values(_SAMPLE, row) for row in await database.fetch(_RECENT, (since, limit))]
    return [AttemptSample(left=bool(values.pop("left")), **values) for values in found]


async def read_calls(
    database: Database, start: int, end: int, filters: Filters, batch: int
) -> AsyncGenerator[list[CallRecord]]:
    """See `Ledger.export_calls`."""
    wanted, parameters = condition(filters)
    query = _PAGE.format(wanted=wanted)
    parameters |= {"started_at": start, "id": 0, "end": end, "batch": batch}
    while rows := await database.fetch(query, parameters):
        calls = _calls(rows)
        parameters |= {"started_at": calls[-1].started_at, "id": rows[-1][0]}
        yield calls


async def read_newest(
    database: Database, start: int, end: int, limit: int, filters: Filters
) -> list[CallRecord]:
    """See `Ledger.recent_calls`."""
    wanted, parameters = condition(filters)
    parameters |= {
        "start": start,
        "end": end,
        "limit": limit,
        "looked_at": MOST_LOOKED_AT if filters else limit,
    }
    return _calls(await database.fetch(_NEWEST.format(wanted=wanted), parameters))


def _calls(rows: Iterable[Row]) -> list[CallRecord]:
    return [_call(list(lines)) for _, lines in groupby(rows, key=lambda row: row[0])]


def _call(rows: list[Row]) -> CallRecord:
    values = _values((*_LABELS, *_CALL), rows[0][1:_FIRST_OF_ATTEMPT])
    values["status"] = CallStatus(values["status"])
    values["cached"] = bool(values["cached"])
    values["metadata"] = json.loads(values["metadata"] or "{}")
    # A call without attempts comes as one row in which all of theirs is NULL.
    tried = [row[_FIRST_OF_ATTEMPT:] for row in rows if row[_FIRST_OF_ATTEMPT] is not None]
    return CallRecord(**values, attempts=tuple(map(_attempt, tried)))


def _attempt(row: Row) -> AttemptRecord:
    values = _values((*_TRIED, *_ATTEMPT), row)
    values["estimated"] = bool(values["estimated"])
    values["cost_reported"] = bool(values["cost_reported"])
    billed = json.loads(values.pop("billed") or "{}")
    return AttemptRecord(**values, **billed)


def _values(names: Iterable[str], row: Row) -> dict[str, Any]:
    values = dict(zip(names, row, strict=True))
    values["latency_ms"] = values.pop("latency_us") / 1000
    return values
