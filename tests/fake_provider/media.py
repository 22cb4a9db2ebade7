"""OpenAI's images and audio. What they make is tiny, and valid.

https://platform.openai.com/docs/api-reference/images, …/audio
"""

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.fake_provider import openai
from tests.fake_provider.answers import Answer, Json, Limits, Tokens
from tests.fake_provider.exchange import Exchange


def _png() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0\x80")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PNG = _png()
MP3 = bytes.fromhex("fffb9064") + bytes(413)
"""One frame of silence: MPEG-1 layer III, 128 kbit/s, 44.1 kHz."""


class _MediaExchange(Exchange):
    """Has OpenAI's errors and headers, and does not stream."""

    @property
    def streams(self) -> bool:
        return False

    def error(self, code: int, message: str, retry_after: float | str | None = None) -> Json:
        return openai.error(code, message)

    def headers(self, limits: Limits) -> Mapping[str, str]:
        return openai.headers(limits)


class ImagesExchange(_MediaExchange):
    def texts(self) -> list[str]:
        return [str(self.json.get("prompt", ""))]

    def tokens(self, content: str) -> Tokens:
        return Tokens(input=super().tokens("").input, output=272 * self._count)

    def whole(self, answer: Answer) -> Json:
        image = {"b64_json": base64.b64encode(PNG).decode()}
        read = answer.tokens.input if answer.tokens else 0
        details = {"input_tokens_details": {"text_tokens": read, "image_tokens": 0}}
        return {"created": 1, "data": [image] * self._count, **_reported(answer, **details)}

    @property
    def _count(self) -> int:
        return int(self.json.get("n") or 1)


class TranscriptionExchange(_MediaExchange):
    @property
    def model(self) -> str:
        return str(self.recorded.fields.get("model", ""))

    @property
    def content(self) -> str:
        return f"words heard by {self.model}"

    def texts(self) -> list[str]:
        return [str(self.recorded.fields.get("prompt", ""))]

    def tokens(self, content: str) -> Tokens:
        return Tokens(input=14, output=super().tokens(content).output)

    def whole(self, answer: Answer) -> Json:
        read = answer.tokens.input if answer.tokens else 0
        details = {"type": "tokens", "input_token_details": {"text_tokens": 0, "audio_tokens": read}}
        return {"text": answer.text, **_reported(answer, **details)}

    async def respond(self, answer: Answer) -> web.StreamResponse:
        if self.recorded.fields.get("response_format") in ("text", "srt", "vtt"):
            return web.Response(text=answer.text)
        return await super().respond(answer)


class SpeechExchange(_MediaExchange):
    def texts(self) -> list[str]:
        return [str(self.json.get("input", ""))]

    def whole(self, answer: Answer) -> Json:
        raise NotImplementedError("speech is no JSON")

    async def respond(self, answer: Answer) -> web.StreamResponse:
        headers = self.limit_headers(answer.limits)
        return web.Response(body=MP3, content_type="audio/mpeg", headers=headers)


def _reported(answer: Answer, **details: Any) -> Json:
    if not answer.tokens:
        return {}
    used = {"input_tokens": answer.tokens.input, "output_tokens": answer.tokens.output}
    total = {"total_tokens": answer.tokens.input + answer.tokens.output}
    return {"usage": {**used, **total, **details, **answer.usage}}
