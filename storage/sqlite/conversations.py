"""Conversations on disk, for those who have asked for that."""

import sqlite3

from tierwise.storage.conversations import ConversationRecord
from tierwise.storage.sqlite.database import Database
from tierwise.storage.sqlite.text import storable

_FIND = """
    SELECT conversation_id, tenant, version, updated_at, content FROM conversations WHERE conversation_id = ?
"""
_BEGIN = "INSERT INTO conversations VALUES (?, ?, ?, ?, ?) ON CONFLICT (conversation_id) DO NOTHING"
_GO_ON = """
    UPDATE conversations SET version = ?, updated_at = ?, content = ?
    WHERE conversation_id = ? AND version = ?
"""


async def find_conversation(database: Database, conversation_id: str) -> ConversationRecord | None:
    """See `Conversations.find_conversation`."""
    for row in await database.fetch(_FIND, storable((conversation_id,))):
        found, tenant, version, updated_at, content = row
        return ConversationRecord(
            conversation_id=found, tenant=tenant, version=version, updated_at=updated_at, content=content
        )
    return None


def keep_conversation(connection: sqlite3.Connection, record: ConversationRecord) -> bool:
    """See `Conversations.keep_conversation`."""
    if record.version == 1:
        row = (record.conversation_id, record.tenant, 1, record.updated_at, record.content)
        return connection.execute(_BEGIN, storable(row)).rowcount == 1
    known = (record.conversation_id, record.version - 1)
    row = (record.version, record.updated_at, record.content, *known)
    return connection.execute(_GO_ON, storable(row)).rowcount == 1


def purge_conversations(connection: sqlite3.Connection, before: int) -> int:
    """See `Conversations.purge_conversations`."""
    return connection.execute("DELETE FROM conversations WHERE updated_at < ?", (before,)).rowcount
