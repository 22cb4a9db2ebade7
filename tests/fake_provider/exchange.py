"""One request and the means to answer it, whatever wire it came over."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import web

from tests.fake_provider.answers import Answer, Json, Limits, Tokens, ToolCall

_UNSENT_BYTES = 2**20


@dataclass(frozen=True)
class Upload:
    """A file among the fields of a form."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True)
class RecordedRequest:
    """What was really sent."""

    path: str
    headers: dict[str, str]
    json: Json
    """Empty where the body is none."""
    method: str = "POST"
    query: dict[str, str] = field(default_factory=dict[str, str])
    fields: dict[str, str | Upload] = field(default_factory=dict[str, str | Upload])
    """Those of a form."""


class Exchange(ABC):
    """One request to one model. A wire says how answers, pieces of a stream and errors look on it."""

    overloaded_status = 503
    reports = "usage"
    """The field of a whole answer that says what was used."""

    def __init__(self, request: web.Request, recorded: RecordedRequest) -> None:
        self.request = request
        self.recorded = recorded
        self.json = recorded.json
        self.answer: Answer | None = None
        """The one that is being sent, where it is a whole one."""
        self.events = web.StreamResponse(headers={"Content-Type": "text/event-stream"})

    @property
    def model(self) -> str:
        return str(self.json.get("model", ""))

    @property
    def streams(self) -> bool:
        return bool(self.json.get("stream"))

    @property
    def holds(self) -> str:
        """The field of a whole answer, or of a stream's event, that has the text in it."""
        return "choices"

    # What each wire says in its own way

    @abstractmethod
    def texts(self) -> list[str]:
        """The texts that were sent, the last of them last."""

    @abstractmethod
    def whole(self, answer: Answer) -> Json:
        """The body of a plain answer."""

    @abstractmethod
    def error(self, code: int, message: str, retry_after: float | str | None = None) -> Json:
        """The body of an answer with the status `code`, or an event in a stream."""

    def headers(self, _limits: Limits) -> Mapping[str, str]:
        """`limits` as headers, where the provider has such."""
        return {}

    # What only wires that stream have

    async def delta(self, content: str) -> None:
        """Send a piece of the text; the first one opens the stream."""
        raise NotImplementedError(f"{type(self).__name__} does not stream")

    def sample(self, text: str) -> Json:
        """The event of a stream that carries `text`."""
        raise NotImplementedError(f"{type(self).__name__} does not stream")

    async def think(self, reasoning: str) -> None:
        """Send a piece of the thinking."""
        raise NotImplementedError(f"{type(self).__name__} does not stream")

    async def call(self, index: int, call: ToolCall) -> None:
        """Send a whole tool call, in as many events as the wire cuts it into."""
        raise NotImplementedError(f"{type(self).__name__} does not stream")

    async def end(self, answer: Answer) -> None:
        """Send what follows the last piece."""
        raise NotImplementedError(f"{type(self).__name__} does not stream")

    # What all wires share

    @property
    def content(self) -> str:
        """The answer, which depends on nothing but the model's name and the last message."""
        texts = self.texts()
        return f"answer from {self.model}: {texts[-1][:80] if texts else ''}"

    def tokens(self, content: str) -> Tokens:
        """About four characters a token, as English has."""
        return Tokens(input=sum(len(text) // 4 + 4 for text in self.texts()), output=len(content) // 4 + 1)

    def limit_headers(self, limits: Limits | None) -> Mapping[str, str]:
        return self.headers(limits) if limits else {}

    async def respond(self, answer: Answer) -> web.StreamResponse:
        self.answer = answer
        headers = self.limit_headers(answer.limits)
        if not self.streams:
            return web.json_response(self.whole(answer), headers=headers)
        self.events.headers.update(headers)
        if answer.reasoning:
            await self.think(answer.reasoning)
        for piece in answer.pieces:
            await self.delta(piece)
            await asyncio.sleep(answer.drip)
        for index, call in enumerate(answer.tool_calls):
            await self.call(index, call)
        await self.end(answer)
        return self.events

    async def event(self, data: Json | str, name: str | None = None) -> None:
        """Send one server-sent event."""
        text = data if isinstance(data, str) else json.dumps(data)
        await self.write((f"event: {name}\n" if name else "") + f"data: {text}\n\n")

    async def write(self, data: str | bytes) -> None:
        """Send bytes of the stream, whatever they are."""
        if not self.events.prepared:
            await self.events.prepare(self.request)
        await self.events.write(data if isinstance(data, bytes) else data.encode())

    async def fail(self, code: int, message: str) -> None:
        """Send an error as an event of the stream."""
        await self.event(self.error(code, message))

    async def raw(self, data: bytes) -> None:
        """Send bytes that are no answer, past everything that makes one."""
        while (transport := self.request.transport) and not transport.is_closing():
            if transport.get_write_buffer_size() <= _UNSENT_BYTES:
                transport.write(data)
                return
            await asyncio.sleep(0.001)
        raise ConnectionResetError("the client is gone")

    def reset(self) -> None:
        """Cut the connection without a goodbye."""
        if self.request.transport is not None:
            self.request.transport.abort()


def text_in(content: Any) -> str:
    """The text of a message: a `str`, or the `text` of its parts."""
    return content if isinstance(content, str) else "".join(_parts(content))


def _parts(content: Any) -> Iterator[str]:
    for part in cast("list[Any]", content) if isinstance(content, list) else []:
        if isinstance(part, dict):
            yield str(cast("Json", part).get("text") or "")
