"""Calls and attempts as rows, and their sums by quarter-hour."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import fields

from tierwise.storage.records import AttemptRecord, CallRecord, CallStatus, Dimension, UsageRow
from tierwise.storage.sqlite.database import Database
from tierwise.storage.sqlite.text import storable

_QUARTER_MS = 15 * 60 * 1000
"""Every real time zone is off UTC by a multiple of it, so days in any of them are sums of these."""

_ADD_CALL = """
    INSERT INTO calls (call_id, started_at, latency_us, operation, status, error, tier, tier_served,
        complexity_score, provider, model, cached, saved_nano_usd, finish_reason, metadata)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (call_id) DO NOTHING
"""
_ADD_ATTEMPT = """
    INSERT INTO attempts (call, ordinal, provider, model, outcome, error, started_at, latency_us,
        input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, estimated,
        cost_nano_usd, cost_note)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_USAGE = """
    INSERT INTO usage (quarter, tier, operation, provider, model, calls, cached_calls, failed_calls,
        unpriced_calls, input_tokens, output_tokens, cost_nano_usd, saved_nano_usd)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (quarter, provider, model, tier, operation) DO UPDATE SET
        calls = calls + excluded.calls,
        cached_calls = cached_calls + excluded.cached_calls,
        failed_calls = failed_calls + excluded.failed_calls,
        unpriced_calls = unpriced_calls + excluded.unpriced_calls,
        input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cost_nano_usd = cost_nano_usd + excluded.cost_nano_usd,
        saved_nano_usd = saved_nano_usd + excluded.saved_nano_usd
"""
_SUMS = [field.name for field in fields(UsageRow) if field.name != "key"]


def add_call(connection: sqlite3.Connection, call: CallRecord) -> bool:
    """Add the call, its attempts and their sums; False, and no change, if its `call_id` is there."""
    added = connection.execute(_ADD_CALL, storable(_call_row(call)))
    if not added.rowcount:
        return False
    rows = [(added.lastrowid, i, *_attempt_row(attempt)) for i, attempt in enumerate(call.attempts)]
    connection.executemany(_ADD_ATTEMPT, map(storable, rows))
    connection.executemany(_ADD_USAGE, map(storable, _usage_rows(call)))
    return True


async def read_usage(
    database: Database, *, start: int, end: int, group_by: Sequence[Dimension]
) -> list[UsageRow]:
    """See `Store.usage`."""
    keys = [dimension.value for dimension in group_by]
    sums = [f"COALESCE(SUM({name}), 0)" for name in _SUMS]
    # Only names of ours, from the record and the enumeration, go into the text of the query.
    query = f"SELECT {', '.join(keys + sums)} FROM usage WHERE quarter >= ? AND quarter < ?"  # noqa: S608
    if keys:
        names = ", ".join(keys)
        query += f" GROUP BY {names} ORDER BY SUM(cost_nano_usd) DESC, SUM(calls) DESC, {names}"
    rows = await database.fetch(query, (start // _QUARTER_MS, end // _QUARTER_MS))
    width = len(keys)
    return [UsageRow(key=row[:width], **dict(zip(_SUMS, row[width:], strict=True))) for row in rows]


def _usage_rows(call: CallRecord) -> list[tuple[object, ...]]:
    """What to add up: the call under the model that served it, each attempt under its own."""
    kind = (call.started_at // _QUARTER_MS, call.tier, call.operation)
    failed = call.status != CallStatus.OK
    served = (*kind, call.provider, call.model, 1, call.cached, failed, 0, 0, 0, 0, call.saved_nano_usd or 0)
    return [served, *((*kind, *_attempt_sums(attempt)) for attempt in call.attempts)]


def _attempt_sums(attempt: AttemptRecord) -> tuple[object, ...]:
    tokens = (attempt.input_tokens, attempt.output_tokens)
    cost = attempt.cost_nano_usd
    return (attempt.provider, attempt.model, 0, 0, 0, cost is None, *tokens, cost or 0, 0)


def _call_row(call: CallRecord) -> tuple[object, ...]:
    return (
        call.call_id,
        call.started_at,
        round(call.latency_ms * 1000),
        call.operation,
        call.status,
        call.error,
        call.tier,
        call.tier_served,
        call.complexity_score,
        call.provider,
        call.model,
        call.cached,
        call.saved_nano_usd,
        call.finish_reason,
        json.dumps(call.metadata, separators=(",", ":")) if call.metadata else None,
    )


def _attempt_row(attempt: AttemptRecord) -> tuple[object, ...]:
    return (
        attempt.provider,
        attempt.model,
        attempt.outcome,
        attempt.error,
        attempt.started_at,
        round(attempt.latency_ms * 1000),
        attempt.input_tokens,
        attempt.output_tokens,
        attempt.cache_read_tokens,
        attempt.cache_write_tokens,
        attempt.reasoning_tokens,
        attempt.estimated,
        attempt.cost_nano_usd,
        attempt.cost_note,
    )
