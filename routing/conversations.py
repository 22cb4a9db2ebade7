"""Conversations that are kept here: opened before a call, and added to after it."""

import base64
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tierwise.routing.errors import InvalidRequest
from tierwise.routing.policy import Plan
from tierwise.routing.providers.base import Completion
from tierwise.routing.request import ChatRequest, Image, Message, Payload, Remembered, Tier, ToolCall
from tierwise.routing.settings import ConversationSettings
from tierwise.routing.tokens import estimate_prompt_tokens
from tierwise.storage.conversations import ConversationRecord
from tierwise.storage.errors import StorageError, TierwiseError
from tierwise.storage.ports import Conversations

_log = logging.getLogger(__name__)

_CALM_TURNS = 3
"""Turns in a row that must be easier before a conversation falls by a tier: an easy one in between is
cheaper to answer a tier too high than to lose the thread over."""
_KEPT_TURNS = 4
"""The newest, which are never summed up."""
_TRIES = 5
"""Against other processes that add to the same conversation at the same moment."""
_SUMMARY = "What was said earlier in this conversation, in short:\n"
_SUMMARISE = (
    "Sum up this conversation for somebody who has to go on with it: facts, decisions, names, numbers and"
    " open questions. At most 300 words, no introduction."
)

Summarise = Callable[[ChatRequest], Awaitable[str]]
"""Has a summary written, as a call of its own."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is kept of one."""

    system_prompt: str | None = None
    turns: tuple[Message, ...] = ()
    tier: Tier | None = None
    """It is judged to need this one, or a higher."""
    easier_turns: int = 0
    """The last so many were judged to need less."""

    def risen(self, judged: Tier) -> "Conversation":
        """The same after a turn that was judged by itself: it rises at once, and falls with delay."""
        if self.tier is None or judged.rank >= self.tier.rank:
            return replace(self, tier=judged, easier_turns=0)
        if self.easier_turns + 1 < _CALM_TURNS:
            return replace(self, easier_turns=self.easier_turns + 1)
        return replace(self, tier=list(Tier)[self.tier.rank - 1], easier_turns=0)


class OpenConversations:
    """The conversations of one store."""

    def __init__(self, store: Conversations, settings: ConversationSettings, summarise: Summarise) -> None:
        self._store = store
        self._settings = settings
        self._summarise = summarise

    async def open(self, request: ChatRequest) -> ChatRequest:
        """The request with what was said before it, within `max_tokens`.

        Raises:
            InvalidRequest: the conversation is another tenant's.
            StorageError: it cannot be read.
        """
        if request.conversation_id is None:
            return request
        record = await self._find(request)
        known = _decoded(record)
        turns = await self._within_limit(request, known.turns)
        return replace(
            request,
            system_prompt=request.system_prompt or known.system_prompt,
            history=(*turns, *request.history),
            remembered=Remembered(version=record.version if record else 0, turns=len(turns), tier=known.tier),
        )

    async def add(self, plan: Plan, completion: Completion) -> None:
        """Keep what was asked and answered; where that fails it is only logged: the answer is good."""
        request = plan.request
        if request.remembered is None:
            return
        try:
            for _ in range(_TRIES):
                if await self._added(request, request.remembered, plan.judged.tier, completion):
                    return
        except (StorageError, InvalidRequest) as error:
            _log.warning("A turn was not added to its conversation: %s", error)
        else:
            _log.warning("A turn was not added to its conversation, which changes too fast")

    async def purge(self) -> None:
        """Forget those that have rested for too long."""
        await self._store.purge_conversations(before=_now() - self._settings.ttl_seconds * 1000)

    async def _added(
        self, request: ChatRequest, opened: Remembered, judged: Tier, completion: Completion
    ) -> bool:
        record = await self._find(request)
        known, version = _decoded(record), record.version if record else 0
        # Turns that another call has added meanwhile stand before these.
        before = request.history[: opened.turns] if version == opened.version else known.turns
        answer = Message("assistant", completion.content, tool_calls=completion.tool_calls)
        chosen = request.named_model is not None or request.tier is not None
        updated = replace(
            known if chosen else known.risen(judged),
            system_prompt=request.system_prompt,
            turns=(*before, *request.history[opened.turns :], *request.asked, answer),
        )
        return await self._store.keep_conversation(
            ConversationRecord(
                conversation_id=request.conversation_id or "",
                tenant=request.tenant,
                version=version + 1,
                updated_at=_now(),
                content=_encoded(updated),
            )
        )

    async def _find(self, request: ChatRequest) -> ConversationRecord | None:
        record = await self._store.find_conversation(request.conversation_id or "")
        if record is not None and record.tenant != request.tenant:
            raise InvalidRequest(
                f"The conversation {request.conversation_id!r} cannot be gone on with: that id is taken."
                " Choose another, such as a UUID."
            )
        return record

    async def _within_limit(self, request: ChatRequest, turns: tuple[Message, ...]) -> tuple[Message, ...]:
        dropped, kept = _split(turns, self._settings.max_tokens)
        if not dropped:
            return turns
        summary = await self._summary(request, dropped) if self._settings.overflow == "summarise" else None
        return (*((summary,) if summary else ()), *kept)

    async def _summary(self, request: ChatRequest, turns: Sequence[Message]) -> Message | None:
        text = "\n\n".join(f"{turn.role}: {turn.content}" for turn in turns if turn.content)
        asked = ChatRequest(
            prompt=f"{_SUMMARISE}\n\n{text}",
            tier=Tier.SIMPLE,
            operation="summarise",
            tenant=request.tenant,
            agent=request.agent,
        )
        try:
            return Message("system", _SUMMARY + await self._summarise(asked))
        except TierwiseError as error:
            _log.warning("The oldest turns of a conversation are dropped without a summary: %s", error)
            return None


def _split(turns: tuple[Message, ...], max_tokens: int) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """The oldest turns, beyond `max_tokens` together with the newer ones, and these. No call of a tool
    is parted from its results, and the newest turns stay however long they are."""
    starts = [place for place, turn in enumerate(turns) if turn.role == "user"] or [0]
    latest = [place for place in starts if place <= len(turns) - _KEPT_TURNS] or [0]
    for start in (0, *latest):
        if estimate_prompt_tokens(Payload(messages=turns[start:])) <= max_tokens:
            return turns[:start], turns[start:]
    return turns[: latest[-1]], turns[latest[-1] :]


def _encoded(conversation: Conversation) -> str:
    def plain(value: Any) -> Any:
        return base64.b64encode(value).decode() if isinstance(value, bytes) else value

    return json.dumps(asdict(conversation), default=plain, ensure_ascii=False)


def _decoded(record: ConversationRecord | None) -> Conversation:
    if record is None:
        return Conversation()
    content: dict[str, Any] = json.loads(record.content)
    return Conversation(
        system_prompt=content["system_prompt"],
        turns=tuple(_turn(turn) for turn in content["turns"]),
        tier=content["tier"] and Tier(content["tier"]),
        easier_turns=content["easier_turns"],
    )


def _turn(turn: dict[str, Any]) -> Message:
    images = tuple(_image(**image) for image in turn["images"])
    calls = tuple(ToolCall(**call) for call in turn["tool_calls"])
    return Message(turn["role"], turn["content"], images, calls, turn["tool_call_id"])


def _image(*, data: str, **rest: Any) -> Image:
    return Image(data=base64.b64decode(data), **rest)


def _now() -> int:
    return time.time_ns() // 1_000_000
