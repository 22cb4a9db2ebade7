"""What is remembered only as long as the process lives."""

from collections import OrderedDict

from tierwise.storage.conversations import ConversationRecord
from tierwise.storage.ports import Conversations


class MemoryConversations(Conversations):
    """Holds up to `max_bytes` of content; the conversations that rested longest make room."""

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._records: OrderedDict[str, ConversationRecord] = OrderedDict()

    async def find_conversation(self, conversation_id: str) -> ConversationRecord | None:
        return self._records.get(conversation_id)

    async def keep_conversation(self, record: ConversationRecord) -> bool:
        known = self._records.get(record.conversation_id)
        if record.version != (known.version if known else 0) + 1:
            return False
        self._drop(record.conversation_id)
        self._records[record.conversation_id] = record
        self._bytes += len(record.content)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._records)))
        return True

    async def purge_conversations(self, *, before: int) -> int:
        old = [known.conversation_id for known in self._records.values() if known.updated_at < before]
        for conversation_id in old:
            self._drop(conversation_id)
        return len(old)

    def _drop(self, conversation_id: str) -> None:
        if (known := self._records.pop(conversation_id, None)) is not None:
            self._bytes -= len(known.content)
