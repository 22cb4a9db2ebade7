"""Conversations, in memory and in the store."""

from dataclasses import replace

import pytest

from tierwise.storage.conversations import ConversationRecord
from tierwise.storage.memory import MemoryConversations
from tierwise.storage.ports import Conversations, Store

pytestmark = pytest.mark.anyio

FIRST = ConversationRecord(conversation_id="c", tenant="t", version=1, updated_at=1000, content="{}")


@pytest.fixture(params=["memory", "store"])
def conversations(request: pytest.FixtureRequest, store: Store) -> Conversations:
    return MemoryConversations() if request.param == "memory" else store


async def test_what_is_kept_is_found(conversations: Conversations) -> None:
    assert await conversations.find_conversation("c") is None
    assert await conversations.keep_conversation(FIRST)
    assert await conversations.find_conversation("c") == FIRST
    assert await conversations.find_conversation("d") is None


async def test_only_the_next_version_takes_the_place_of_one(conversations: Conversations) -> None:
    second = replace(FIRST, version=2, updated_at=2000, content='{"a": 1}')
    assert not await conversations.keep_conversation(second)
    await conversations.keep_conversation(FIRST)
    assert not await conversations.keep_conversation(replace(FIRST, content="lost"))
    assert await conversations.keep_conversation(second)
    assert not await conversations.keep_conversation(replace(second, content="lost"))
    assert await conversations.find_conversation("c") == second


async def test_those_that_rested_for_long_are_deleted(conversations: Conversations) -> None:
    await conversations.keep_conversation(FIRST)
    await conversations.keep_conversation(replace(FIRST, conversation_id="d", updated_at=2000))
    assert await conversations.purge_conversations(before=2000) == 1
    assert await conversations.find_conversation("c") is None
    assert await conversations.find_conversation("d")


async def test_memory_has_an_end_and_those_that_rested_longest_make_room() -> None:
    conversations = MemoryConversations(max_bytes=100)
    for name in "abc":
        await conversations.keep_conversation(replace(FIRST, conversation_id=name, content="x" * 40))
    assert await conversations.find_conversation("a") is None
    assert await conversations.find_conversation("b")
    assert await conversations.find_conversation("c")
