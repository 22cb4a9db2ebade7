"""How a provider misbehaves, or whoever answers in its place. Each is a behaviour, over every wire.

Where a request asks for a stream the fault is in the stream, unless it says otherwise.
"""

import asyncio
import itertools
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Literal

from aiohttp import web

from tests.fake_provider.answers import Answer, Json
from tests.fake_provider.behaviours import Behaviour, ok
from tests.fake_provider.exchange import Exchange

_MEGABYTE = 2**20
_BLOCK = b"a" * (64 * 1024)

Encoding = Literal["gzip", "deflate", "br", "zstd"]


# Answers of another shape


def sends(body: bytes, content_type: str = "application/json") -> Behaviour:
    """200 with this body, whatever was asked for."""

    async def send(_: Exchange) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": content_type})

    return send


def mistyped(content_type: str) -> Behaviour:
    """A whole and right answer that says it is something else."""

    async def answer(exchange: Exchange) -> web.StreamResponse:
        if exchange.streams:
            exchange.events.headers["Content-Type"] = content_type
            return await ok()(exchange)
        body = json.dumps(_carrying(exchange, exchange.content)).encode()
        return web.Response(body=body, headers={"Content-Type": content_type})

    return answer


def holding(value: Any) -> Behaviour:
    """An answer whose choices, content or candidates are `value`; `...` leaves them out."""

    def change(exchange: Exchange, body: Json) -> Json:
        kept = {key: part for key, part in body.items() if key != exchange.holds}
        return kept if value is ... else {**kept, exchange.holds: value}

    return _changed(change)


def foreign_events() -> Behaviour:
    """A stream of events that are JSON, and nothing that any wire knows; plain, such a body."""
    return _changed(lambda _, __: {"jsonrpc": "2.0", "id": 1, "result": {"tools": []}})


def invalid_utf8() -> Behaviour:
    """An answer with bytes in its text that are none in UTF-8."""

    async def answer(exchange: Exchange) -> web.StreamResponse:
        right = json.dumps(_carrying(exchange, "It is MARK blue.")).encode()
        broken = right.replace(b"MARK", b"\xff\xfe\xc3")
        if not exchange.streams:
            return web.Response(body=broken, content_type="application/json")
        await exchange.delta("Well. ")
        await exchange.write(b"data: " + broken + b"\n\n")
        await exchange.end(_end(exchange))
        return exchange.events

    return answer


def wrong_usage(number: Any) -> Behaviour:
    """An answer that reports `number` for all that it used; NaN goes out as Python writes it."""

    async def answer(exchange: Exchange) -> web.StreamResponse:
        used: Json = exchange.whole(_end(exchange))[exchange.reports]
        wrong = {name: number for name, count in used.items() if isinstance(count, int)}
        return await ok(usage=wrong)(exchange)

    return answer


# Too much


def huge(megabytes: int, *, announced: bool = False) -> Behaviour:
    """One answer of that size, which is right but for that; in a stream, one that holds a huge event."""

    async def send(exchange: Exchange) -> web.StreamResponse:
        before, after = _around_the_text(exchange)
        length = len(before) + megabytes * _MEGABYTE + len(after)
        response = exchange.events if exchange.streams else web.StreamResponse()
        response.content_type = "text/event-stream" if exchange.streams else "application/json"
        if announced:
            response.content_length = length
        await response.prepare(exchange.request)
        await response.write(before)
        for _ in range(megabytes * _MEGABYTE // len(_BLOCK)):
            await response.write(_BLOCK)
        await response.write(after)
        return response

    return send


def huge_error(megabytes: int, code: int = 500) -> Behaviour:
    """A failure that goes on and on about itself."""

    async def send(exchange: Exchange) -> web.StreamResponse:
        response = web.StreamResponse(status=code, headers={"Content-Type": "text/html"})
        await response.prepare(exchange.request)
        for _ in range(megabytes * _MEGABYTE // len(_BLOCK)):
            await response.write(_BLOCK)
        return response

    return send


def endless_stream(words: int = 2000) -> Behaviour:
    """Events of so many words that are right, and never end."""

    async def stream(exchange: Exchange) -> web.StreamResponse:
        for n in itertools.count():
            await exchange.delta(f"{n} " + "word " * words)
        return exchange.events

    return stream


def endless_event(line: bytes = b"data: {\n") -> Behaviour:
    """An event of ever more lines; an empty `line` makes one line that never ends."""

    async def stream(exchange: Exchange) -> web.StreamResponse:
        block = line * (len(_BLOCK) // len(line)) if line else _BLOCK
        await exchange.write(b"data: ")
        while True:
            await exchange.write(block)

    return stream


def bomb(encoding: Encoding, megabytes: int = 500) -> Behaviour:
    """A body that is small on the wire; `br` and `zstd` are only said to be packed."""

    async def send(exchange: Exchange) -> web.StreamResponse:
        packed = _packed(encoding, megabytes) if encoding in ("gzip", "deflate") else _BLOCK
        kind = "text/event-stream" if exchange.streams else "application/json"
        return web.Response(body=packed, headers={"Content-Type": kind, "Content-Encoding": encoding})

    return send


def endless_packed() -> Behaviour:
    """A right answer in gzip, and after its end bytes that never end."""

    async def send(exchange: Exchange) -> web.StreamResponse:
        packer = _gzip()
        body = json.dumps(_carrying(exchange, exchange.content)).encode()
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        response.content_type = "text/event-stream" if exchange.streams else "application/json"
        await response.prepare(exchange.request)
        await response.write(packer.compress(body) + packer.flush())
        while True:
            await response.write(_BLOCK)

    return send


def packed() -> Behaviour:
    """A right answer, in gzip, as servers are free to send it."""

    async def send(exchange: Exchange) -> web.StreamResponse:
        exchange.events.enable_compression(web.ContentCoding.gzip)
        response = await ok()(exchange)
        if not exchange.streams:
            response.enable_compression(web.ContentCoding.gzip)
        return response

    return send


def cut_packed() -> Behaviour:
    """An answer in gzip that lacks its end."""

    async def send(exchange: Exchange) -> web.StreamResponse:
        packer = _gzip()
        whole = packer.compress(json.dumps(_carrying(exchange, "It is. " * 1000)).encode()) + packer.flush()
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        return web.Response(body=whole[: len(whole) // 2], headers=headers)

    return send


# By hand: bytes that no server library would send


def raw(*parts: bytes, pause: float = 0, endless: bool = False) -> Behaviour:
    """Write the parts in place of an answer, headers and all; `endless` repeats the last one for ever."""

    async def write(exchange: Exchange) -> web.StreamResponse:
        for part in _repeated(parts) if endless else parts:
            await exchange.raw(part)
            await asyncio.sleep(pause)
        exchange.reset()
        return exchange.events

    return write


def slow_headers(pause: float = 0.05) -> Behaviour:
    """Headers of which a byte comes now and then, and never the last."""
    return raw(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a", pause=pause, endless=True)


def slow_body(pause: float = 0.05) -> Behaviour:
    """A body of which a byte comes now and then, and never the last."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    return raw(head, b" ", pause=pause, endless=True)


def huge_header(megabytes: int = 100) -> Behaviour:
    """One header that is larger than any answer."""
    return raw(b"HTTP/1.1 200 OK\r\nX-Huge: ", *([_BLOCK] * (megabytes * _MEGABYTE // len(_BLOCK))))


def endless_headers() -> Behaviour:
    """Ever more headers."""
    return raw(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n" * 500, endless=True)


def no_http() -> Behaviour:
    """Something that is no HTTP at all."""
    return raw(b"SSH-2.0-OpenSSH_9.6\r\n")


def resets() -> Behaviour:
    """Reset the connection once the request is there, as a machine does that falls over."""

    async def reset(exchange: Exchange) -> web.StreamResponse:
        transport = exchange.request.transport
        assert transport
        socket_ = transport.get_extra_info("socket")
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange.reset()
        return exchange.events

    return reset


def redirects(location: str, code: int = 307) -> Behaviour:
    """Go there instead; 307 and 308 ask for the whole request to be repeated."""

    async def send(_: Exchange) -> web.StreamResponse:
        return web.Response(status=code, headers={"Location": location})

    return send


def _changed(change: Callable[[Exchange, Json], Json]) -> Behaviour:
    async def answer(exchange: Exchange) -> web.StreamResponse:
        body = change(exchange, _carrying(exchange, exchange.content))
        if not exchange.streams:
            return web.json_response(body)
        await exchange.event(body)
        await exchange.end(_end(exchange))
        return exchange.events

    return answer


def _end(exchange: Exchange) -> Answer:
    return Answer(pieces=(), finish_reason="stop", tokens=exchange.tokens(""))


def _carrying(exchange: Exchange, text: str) -> Json:
    """The body of an answer with this text, or the event of a stream that has it."""
    if exchange.streams:
        return exchange.sample(text)
    return exchange.whole(Answer(pieces=(text,), finish_reason="stop", tokens=exchange.tokens(text)))


def _around_the_text(exchange: Exchange) -> tuple[bytes, bytes]:
    before, _, after = json.dumps(_carrying(exchange, "MARK")).encode().partition(b"MARK")
    return (b"data: " + before, after + b"\n\n") if exchange.streams else (before, after)


@cache
def _packed(encoding: Encoding, megabytes: int) -> bytes:
    packer = _gzip() if encoding == "gzip" else zlib.compressobj()
    parts = [packer.compress(_BLOCK) for _ in range(megabytes * _MEGABYTE // len(_BLOCK))]
    return b"".join(parts) + packer.flush()


def _gzip() -> Any:
    return zlib.compressobj(wbits=zlib.MAX_WBITS | 16)


def _repeated(parts: tuple[bytes, ...]) -> Iterator[bytes]:
    yield from parts
    while True:
        yield parts[-1]
