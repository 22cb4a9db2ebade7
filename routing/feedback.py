"""What the callers' own behaviour says of recent answers: verdicts, and asking again of a stronger model."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b

from tierwise.routing.request import ChatRequest, Tier

_REMEMBERED = 2_000
"""Calls and raised conversations that are kept in mind, some 200 bytes each."""
_RETRY_SECONDS = 600.0
"""Asking the same again within so long is a second try; later it may be another matter."""


@dataclass(frozen=True, slots=True)
class _Served:
    prompt: bytes
    """Digest of the prompt."""
    asked: bytes
    """Digest of the whole conversation."""
    tier: Tier
    at: float


class RecentCalls:
    """Remembers which calls were served by which tier; holds digests, no text, and only in memory."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, _Served] = OrderedDict()
        self._last_asked: OrderedDict[bytes, str] = OrderedDict()
        self._floors: OrderedDict[bytes, Tier] = OrderedDict()

    def remember(self, call_id: str, request: ChatRequest, tier: Tier) -> None:
        """Take note of a call that `tier` has served."""
        asked = _digest(*(message.content for message in request.messages))
        self._calls[call_id] = _Served(_digest(request.prompt), asked, tier, time.monotonic())
        self._last_asked[asked] = call_id
        for kept in (self._calls, self._last_asked):
            if len(kept) > _REMEMBERED:
                kept.popitem(last=False)

    def retried(self, request: ChatRequest, tier: Tier) -> str | None:
        """The id of the call that asked just the same a short while ago and was served by a lower tier
        than the one that its caller has chosen now; None if this is no such second try."""
        if request.tier is None and request.named_model is None:
            return None
        asked = _digest(*(message.content for message in request.messages))
        call_id = self._last_asked.get(asked)
        served = self._calls.get(call_id) if call_id else None
        if served is None or time.monotonic() - served.at > _RETRY_SECONDS:
            return None
        return call_id if tier.rank > served.tier.rank else None

    def raise_floor(self, call_id: str) -> None:
        """The call's answer was too weak: the rest of its conversation goes to a higher tier."""
        served = self._calls.get(call_id)
        if served is None:
            return
        self._floors[served.prompt] = list(Tier)[min(served.tier.rank + 1, Tier.COMPLEX.rank)]
        if len(self._floors) > _REMEMBERED:
            self._floors.popitem(last=False)

    def floor(self, request: ChatRequest) -> Tier | None:
        """The tier below which this conversation may not fall again."""
        floors = self._floors
        if not floors:
            return None
        turns = [message.content for message in request.history if message.role == "user"]
        found = [floors[digest] for text in (*turns, request.prompt) if (digest := _digest(text)) in floors]
        return max(found, key=lambda tier: tier.rank, default=None)


def _digest(*texts: str) -> bytes:
    digest = blake2b(digest_size=16)
    for text in texts:
        digest.update(len(text).to_bytes(8, "big"))
        digest.update(text.encode())
    return digest.digest()
