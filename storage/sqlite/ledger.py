"""Calls and attempts as rows, and the sums that they add to."""

import json
import sqlite3

from tierwise.storage.records import RARELY_BILLED, AttemptRecord, CallRecord
from tierwise.storage.sqlite.metadata import metadata_text
from tierwise.storage.sqlite.rollup import add_to_rollup
from tierwise.storage.sqlite.text import storable

_FIND_LABELS = """
    SELECT id FROM labels
    WHERE model = ? AND provider = ? AND tier = ? AND operation = ? AND tenant = ? AND agent = ?
"""
_ADD_LABELS = """
    INSERT INTO labels (model, provider, tier, operation, tenant, agent) VALUES (?, ?, ?, ?, ?, ?)
"""
_ADD_CALL = """
    INSERT INTO calls (call_id, started_at, latency_us, labels, status, error, tier_served,
        complexity_score, cached, saved_nano_usd, finish_reason, metadata)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (call_id) DO NOTHING
"""
_ADD_ATTEMPT = """
    INSERT INTO attempts (call, ordinal, labels, outcome, error, started_at, latency_us, input_tokens,
        output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, estimated, cost_nano_usd,
        old_cost_nano_usd, cost_note, cost_reported, billed)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def add_call(connection: sqlite3.Connection, call: CallRecord) -> int | None:
    """Add the call, its attempts and their sums; returns its row's id.

    None, and no change, if its `call_id` is there.
    """
    labels = _labels(connection, call, call)
    added = connection.execute(_ADD_CALL, storable(_call_row(call, labels)))
    if not added.rowcount or added.lastrowid is None:
        return None
    for ordinal, attempt in enumerate(call.attempts):
        row = (added.lastrowid, ordinal, _labels(connection, call, attempt), *_attempt_row(attempt))
        connection.execute(_ADD_ATTEMPT, storable(row))
    add_to_rollup(connection, added.lastrowid)
    return added.lastrowid


def _labels(connection: sqlite3.Connection, call: CallRecord, tried: CallRecord | AttemptRecord) -> int:
    row = storable((tried.model, tried.provider, call.tier, call.operation, call.tenant, call.agent))
    found = connection.execute(_FIND_LABELS, row).fetchone()
    if found is None:
        connection.execute(_ADD_LABELS, row)
        found = connection.execute(_FIND_LABELS, row).fetchone()
    return found[0]


def _call_row(call: CallRecord, labels: int) -> tuple[object, ...]:
    return (
        call.call_id,
        call.started_at,
        round(call.latency_ms * 1000),
        labels,
        call.status,
        call.error,
        call.tier_served,
        call.complexity_score,
        call.cached,
        call.saved_nano_usd,
        call.finish_reason,
        metadata_text(call.metadata),
    )


def _attempt_row(attempt: AttemptRecord) -> tuple[object, ...]:
    billed = {name: value for name in RARELY_BILLED if (value := getattr(attempt, name))}
    return (
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
        attempt.old_cost_nano_usd,
        attempt.cost_note,
        attempt.cost_reported,
        json.dumps(billed, separators=(",", ":")) if billed else None,
    )
