"""What calls that make images, speech and transcriptions answer with."""

import base64
from typing import Any, Literal

from mcp_types import AudioContent, ContentBlock, ImageContent, ResourceLink
from pydantic import BaseModel

from tierwise.routing.calls import Call, Receipt
from tierwise.routing.media import Media
from tierwise.routing.money.pricing import usd
from tierwise.server.tools.attempts import Attempt, attempts_of
from tierwise.server.tools.base import Answer

MEDIA_PREFIX = "media://"
MOST_INLINE_BYTES = 750_000
"""Of all that an answer holds itself: in base64 it is a million characters, and Claude Desktop refuses an
answer of more than 1,048,576."""


class MadePart(BaseModel):
    uri: str
    """A resource of this server, there until newer ones need its room."""
    media_type: str
    bytes: int


class MediaResult(BaseModel):
    """What is always there first; the rest where it tells something."""

    status: Literal["done"]
    call_id: str
    content: str
    """The transcription, or a sentence on what was made."""
    model: str
    provider: str
    reason: str
    cost_usd: float | None
    latency_ms: float
    media: list[MadePart] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_note: str | None = None
    attempts: list[Attempt] | None = None
    warning: str | None = None


def made(call: Call) -> Answer:
    """The answer of a call that is done.

    Raises:
        TierwiseError: the call failed.
    """
    receipt = call.receipt()
    parts = [
        MadePart(uri=f"{MEDIA_PREFIX}{call.id}/{place}", media_type=part.media_type, bytes=len(part.data))
        for place, part in enumerate(receipt.media, start=1)
    ]
    result = _result(receipt, parts)
    inline = call.size <= MOST_INLINE_BYTES
    blocks = [_block(part, told, inline) for part, told in zip(receipt.media, parts, strict=True)]
    return Answer(result, result.content, tuple(blocks))


def _result(receipt: Receipt, parts: list[MadePart]) -> MediaResult:
    optional: dict[str, Any] = {
        "media": parts or None,
        "input_tokens": receipt.input_tokens or None,
        "output_tokens": receipt.output_tokens or None,
        "cost_note": receipt.cost_note,
        "attempts": attempts_of(receipt.attempts),
        "warning": receipt.warning,
    }
    return MediaResult(
        status="done",
        call_id=receipt.call_id,
        content=receipt.content or "; ".join(_told(part) for part in parts),
        model=receipt.model,
        provider=receipt.provider,
        reason=receipt.reason,
        cost_usd=None if receipt.cost is None else usd(receipt.cost),
        latency_ms=round(receipt.latency_ms, 1),
        **{name: value for name, value in optional.items() if value is not None},
    )


def _told(part: MadePart) -> str:
    return f"{part.media_type}, {part.bytes:,} bytes: {part.uri}"


def _block(part: Media, told: MadePart, inline: bool) -> ContentBlock:
    """The part itself, or a link to the resource where it is large."""
    if not inline:
        return ResourceLink(uri=told.uri, name=told.uri, mime_type=part.media_type, size=told.bytes)
    data = base64.b64encode(part.data).decode()
    block = AudioContent if part.media_type.startswith("audio/") else ImageContent
    return block(data=data, mime_type=part.media_type)
