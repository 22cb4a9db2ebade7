"""What may come back from a provider, whichever way litellm reaches it.

A provider, or whoever answers in its place, may send anything: an answer without end, one that unpacks
to gigabytes, a redirect that would carry the key to another host. Every limit is kept here, in the one
transport that all of litellm's asynchronous clients are made with, on bytes as they arrive.

Imports httpx, which costs start-up time, so only what has loaded litellm may import this.
"""

import codecs
import re
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import cast
from urllib.parse import urlsplit

import httpx
from anyio.lowlevel import checkpoint

from tierwise.routing.errors import BadResponse, ConnectionFailed, UnsafeResponse, UpstreamError

MAX_ANSWER_BYTES = 64 * 2**20
"""Unpacked. 128,000 tokens, as many as any model writes today, take 45 MB as a stream of OpenAI's."""
MAX_ERROR_BYTES = 8 * 2**10
"""Of an answer that reports a failure; what follows is left unread. litellm holds it against regular
expressions for 5 µs a byte, in which nobody else is served: pages of HTML must not stop the server."""
MAX_EVENT_BYTES = 8 * 2**20
"""Of a stream; the largest that one event holds is an image in base64. The OpenAI SDK copies what there
is of an event for every line and chunk that is added."""
MAX_EVENT_LINES = 1000
"""Providers send three at most."""

_MANY_LINES = 100
_TAIL_BYTES = 32
"""Of the bytes before a chunk, so that what its edge cuts in two is still found."""
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")
_UTF8 = codecs.getincrementaldecoder("utf-8")
_GEMINI_STREAM = ":streamGenerateContent"
_GEMINI_ENDS = re.compile(rb'"(finishReason|promptFeedback|error)"')


def contained(
    transport: type[httpx.AsyncBaseTransport], expects_events: Callable[[], bool]
) -> type[httpx.AsyncBaseTransport]:
    """The class `transport`, made to keep the limits.

    Its requests raise `UnsafeResponse` where an answer breaks one, as does reading that answer.
    `expects_events` says whether the request at hand asks for a stream: its answer will be read as
    one, whatever it says that it is.
    """

    class ContainedTransport(transport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.headers["Accept-Encoding"] = "gzip"
            try:
                response = await super().handle_async_request(request)
            except (httpx.ConnectError, httpx.RemoteProtocolError) as error:
                # litellm would send the request a second time, although the first may have been served.
                raise httpx.NetworkError(str(error)) from error
            except httpx.TransportError:
                raise
            except httpx.RequestError as error:  # aiohttp's limits: 8 KB a header, 128 headers
                raise BadResponse("its HTTP is broken") from error
            try:
                response.stream = _contained_stream(request, response, expects_events())
            except UpstreamError:
                await response.aclose()
                raise
            return response

    return ContainedTransport


def _contained_stream(
    request: httpx.Request, response: httpx.Response, has_events: bool
) -> "_ContainedStream":
    """The body of `response`, unpacked as it is read.

    Raises:
        UnsafeResponse: its headers alone say that it must not be read.
    """
    headers = response.headers
    if response.has_redirect_location:
        host = urlsplit(headers["Location"]).netloc.rpartition("@")[2]
        raise UnsafeResponse(f"it redirects to {host[:80] or 'another address'}")
    if not response.is_error and _announced(headers) > MAX_ANSWER_BYTES:
        raise UnsafeResponse(_TOO_LARGE)
    encoding = headers.pop("Content-Encoding", "identity").strip().lower() or "identity"
    if encoding not in ("gzip", "x-gzip", "identity"):
        raise UnsafeResponse("it is packed in a way that was not asked for")
    raw = cast("httpx.AsyncByteStream", response.stream)
    if response.is_error:
        return _ErrorStream(raw, encoding)
    if not has_events:
        return _ContainedStream(raw, encoding)
    return _EventStream(raw, encoding, whole_with_reason=request.url.path.endswith(_GEMINI_STREAM))


_TOO_LARGE = f"it is larger than {MAX_ANSWER_BYTES // 2**20} MB"


def _announced(headers: httpx.Headers) -> int:
    length = headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


class _ContainedStream(httpx.AsyncByteStream):
    piece_bytes = 64 * 2**10
    """At most so much is handed on at a time."""
    turn_bytes = piece_bytes
    """Others get their turn after a piece of that size."""

    def __init__(self, raw: httpx.AsyncByteStream, encoding: str) -> None:
        self._raw = raw
        self._gzip = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._received = 0
        self._unpacked = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._raw:
                self._received += len(chunk)
                if self._is_full():
                    return
                for piece in self._pieces(chunk):
                    self._unpacked += len(piece)
                    if self._is_full():
                        return
                    self._check(piece)
                    yield piece
                    if len(piece) >= self.turn_bytes:
                        await checkpoint()
            self._check_end()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        await self._raw.aclose()

    def _is_full(self) -> bool:
        """Whether the rest is left unread.

        Raises:
            UnsafeResponse: it is too large to be read at all.
        """
        if max(self._received, self._unpacked) > MAX_ANSWER_BYTES:
            raise UnsafeResponse(_TOO_LARGE)
        return False

    def _check(self, piece: bytes) -> None:
        """Look at what has been unpacked; raises an `UpstreamError` where it goes too far."""

    def _check_end(self) -> None:
        if self._gzip and not self._gzip.eof and self._received:
            raise ConnectionFailed("it ended before all of the answer had come")

    def _pieces(self, chunk: bytes) -> Iterable[bytes]:
        small = self._gzip is None and len(chunk) <= self.turn_bytes
        return (chunk,) if small else self._unpack(chunk)

    def _unpack(self, chunk: bytes) -> Iterator[bytes]:
        if self._gzip is None:
            yield from (chunk[at : at + self.piece_bytes] for at in range(0, len(chunk), self.piece_bytes))
            return
        try:
            while chunk and not self._gzip.eof:
                piece = self._gzip.decompress(chunk, self.piece_bytes)
                chunk = self._gzip.unconsumed_tail
                if piece:
                    yield piece
        except zlib.error as error:
            raise BadResponse("it cannot be unpacked") from error


class _ErrorStream(_ContainedStream):
    """What a failure says matters less than that it is one: it may be long or broken, and is cut."""

    piece_bytes = turn_bytes = 2**10

    def _is_full(self) -> bool:
        return self._unpacked > MAX_ERROR_BYTES or self._received > MAX_ANSWER_BYTES

    def _check_end(self) -> None:
        pass

    def _unpack(self, chunk: bytes) -> Iterator[bytes]:
        try:
            yield from super()._unpack(chunk)
        except BadResponse:
            self._unpacked = MAX_ERROR_BYTES + 1
            yield b""


class _EventStream(_ContainedStream):
    """Server-sent events, of which each one must be short; the stream may go on."""

    turn_bytes = 4 * 2**10
    """Some 80 of the shortest events, which litellm reads in 15 ms."""

    def __init__(self, raw: httpx.AsyncByteStream, encoding: str, *, whole_with_reason: bool) -> None:
        super().__init__(raw, encoding)
        self._tail = b""
        self._text = _UTF8()
        self._event_bytes = 0
        self._event_lines = 0
        self._lacks_reason = whole_with_reason

    def _unpack(self, chunk: bytes) -> Iterator[bytes]:
        for piece in super()._unpack(chunk):
            size = self.turn_bytes if piece.count(b"\n") > _MANY_LINES else len(piece)
            yield from (piece[at : at + size] for at in range(0, len(piece), size))

    def _check(self, piece: bytes) -> None:
        self._check_encoding(piece)
        if not self._lacks_reason and piece.endswith(b"\n\n"):  # as nearly all do
            self._event_bytes = self._event_lines = 0
            self._tail = b""
            return
        text = self._tail + piece
        self._tail = text[-_TAIL_BYTES:]
        if self._lacks_reason and _GEMINI_ENDS.search(text):
            self._lacks_reason = False
        blank = max(text.rfind(ending) for ending in _BLANK_LINES)
        if blank >= 0:
            self._event_bytes = self._event_lines = 0
            piece = text[blank:].lstrip(b"\r\n")
        self._event_bytes += len(piece)
        self._event_lines += piece.count(b"\n") + piece.count(b"\r")
        if self._event_bytes > MAX_EVENT_BYTES or self._event_lines > MAX_EVENT_LINES:
            raise UnsafeResponse("an event of its stream does not end")

    def _check_encoding(self, piece: bytes) -> None:
        # Else some of litellm's readers would put replacement characters into the answer.
        try:
            self._text.decode(piece)
        except UnicodeDecodeError as error:
            raise BadResponse("it is not in UTF-8") from error

    def _check_end(self) -> None:
        super()._check_end()
        # litellm says "stop" of whatever Gemini's stream has brought, whole or not.
        if self._lacks_reason:
            raise ConnectionFailed("it ended before the model had finished")
