"""Conversations that are kept for callers who come back to them.

Units are those of `tierwise.storage.records`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRecord:
    """One conversation; what it holds, only routing reads."""

    conversation_id: str
    tenant: str
    version: int
    """1 when it begins, and one more with each change."""
    updated_at: int
    content: str
