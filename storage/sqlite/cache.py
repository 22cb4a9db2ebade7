"""Answers kept to be served again, oldest out first."""

import sqlite3
from dataclasses import fields

from tierwise.storage.records import CachedAnswer
from tierwise.storage.sqlite.database import Database
from tierwise.storage.sqlite.text import storable

_FIND = """
    SELECT digest, provider, model, tier, content, finish_reason, input_tokens, output_tokens,
        cost_nano_usd, created_at, expires_at
    FROM answers WHERE digest = ? AND expires_at > ?
"""
_ADD = """
    INSERT INTO answers (digest, provider, model, tier, content, finish_reason, input_tokens, output_tokens,
        cost_nano_usd, created_at, expires_at, bytes)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_LIKENESS = "INSERT INTO likenesses (answer, scope, embedding) VALUES (last_insert_rowid(), ?, ?)"
_FIND_ALIKE = """
    SELECT digest, embedding FROM likenesses JOIN answers ON answers.id = answer
    WHERE scope = ? AND expires_at > ? ORDER BY answer DESC LIMIT ?
"""
_FIELDS = [field.name for field in fields(CachedAnswer) if field.name != "likeness"]
"""Their order is that of the columns in both statements."""

_ROW_OVERHEAD = 300
"""Bytes on disk beside the content: 150 to 420 were measured for contents of 1 to 10,000 bytes."""

_LIKENESS_OVERHEAD = 60
"""Bytes on disk beside the embedding: two scopes of 16, and what keeps row and index together."""


async def find_answer(database: Database, digest: bytes, now: int) -> CachedAnswer | None:
    """See `AnswerCache.find_answer`."""
    rows = await database.fetch(_FIND, (digest, now))
    return CachedAnswer(**dict(zip(_FIELDS, rows[0], strict=True))) if rows else None


async def find_alike(database: Database, scope: bytes, now: int, limit: int) -> list[tuple[bytes, bytes]]:
    """See `AnswerCache.find_alike`."""
    return [
        (digest, embedding) for digest, embedding in await database.fetch(_FIND_ALIKE, (scope, now, limit))
    ]


def keep_answer(connection: sqlite3.Connection, answer: CachedAnswer, max_bytes: int) -> None:
    """Put `answer` in place of the one under its digest, then evict down to `max_bytes`."""
    likeness = answer.likeness
    size = _ROW_OVERHEAD + len(answer.content.encode("utf-8", "replace"))
    if likeness:
        size += _LIKENESS_OVERHEAD + len(likeness.embedding)
    if size > max_bytes:
        return
    connection.execute("DELETE FROM answers WHERE digest = ?", (answer.digest,))
    connection.execute(_ADD, (*storable([getattr(answer, name) for name in _FIELDS]), size))
    if likeness:
        connection.execute(_ADD_LIKENESS, (likeness.scope, likeness.embedding))
    _evict(connection, max_bytes)


def purge(connection: sqlite3.Connection, now: int) -> int:
    """Delete what has expired at `now`; says how many."""
    return connection.execute("DELETE FROM answers WHERE expires_at <= ?", (now,)).rowcount


def _evict(connection: sqlite3.Connection, max_bytes: int) -> None:
    excess: int = connection.execute("SELECT bytes FROM cache_size").fetchone()[0] - max_bytes
    oldest = connection.execute("SELECT id, bytes FROM answers ORDER BY id")
    last = 0
    while excess > 0:
        last, size = oldest.fetchone()
        excess -= size
    connection.execute("DELETE FROM answers WHERE id <= ?", (last,))
