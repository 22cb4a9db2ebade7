"""A provider on loopback that speaks OpenAI's chat completions and fails on request.

    async with FakeProvider() as fake:
        fake.always("model-a", rate_limited(retry_after=3))
        fake.next("model-b", status(500), ok())  # then as before
        …  # point a client at fake.url

As a program, for demonstrations and benchmarks: `python -m tests.fake_provider --port 9000`.
"""

import argparse
import asyncio
import contextlib
import json
import socket
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

Json = dict[str, Any]


@dataclass(frozen=True)
class RecordedRequest:
    path: str
    headers: dict[str, str]
    json: Json


class Exchange:
    """One chat completion that has been asked for, and the means to answer it."""

    def __init__(self, request: web.Request, body: Json) -> None:
        self.request = request
        self.json = body
        self.model = str(body.get("model", ""))
        self.streams = bool(body.get("stream"))
        self.events = web.StreamResponse(headers={"Content-Type": "text/event-stream"})

    @property
    def content(self) -> str:
        """The answer, which depends on nothing but the model's name and the last message."""
        return f"answer from {self.model}: {str(self.json['messages'][-1]['content'])[:80]}"

    def usage(self, content: str) -> Json:
        """About four characters a token, as English has."""
        sent = sum(len(str(message["content"])) // 4 + 4 for message in self.json["messages"])
        made = len(content) // 4 + 1
        return {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}

    def body(self, kind: str, **parts: Any) -> Json:
        return {"id": "chatcmpl-fake", "object": kind, "created": 1, "model": self.model, **parts}

    async def event(self, data: str) -> None:
        """Send one server-sent event."""
        if not self.events.prepared:
            await self.events.prepare(self.request)
        await self.events.write(f"data: {data}\n\n".encode())

    async def chunk(self, **parts: Any) -> None:
        await self.event(json.dumps(self.body("chat.completion.chunk", **parts)))

    async def delta(self, finish_reason: str | None = None, **delta: Any) -> None:
        await self.chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}])

    def reset(self) -> None:
        """Cut the connection without a goodbye."""
        if self.request.transport is not None:
            self.request.transport.abort()


Behaviour = Callable[[Exchange], Awaitable[web.StreamResponse]]
"""How one request is answered, or not."""


def ok(
    *,
    content: str | None = None,
    pieces: Sequence[str] | None = None,
    reasoning: str | None = None,
    finish_reason: str = "stop",
    usage: Json | None = None,
    report_usage: bool = True,
    logprob: float | None = None,
    drip: float = 0,
) -> Behaviour:
    """Answer; `usage` is laid over a plausible one, `drip` is the pause between pieces in seconds."""

    async def answer(exchange: Exchange) -> web.StreamResponse:
        text = "".join(pieces) if pieces else exchange.content if content is None else content
        reported = {"usage": {**exchange.usage(text), **(usage or {})}} if report_usage else {}
        if exchange.streams:
            return await stream(exchange, pieces or _words(text), reported)
        message = {"role": "assistant", "content": text, "reasoning_content": reasoning}
        choice: Json = {"index": 0, "message": message, "finish_reason": finish_reason}
        if logprob is not None and exchange.json.get("logprobs"):
            tokens: list[Json] = [
                {"token": word, "logprob": logprob, "bytes": None, "top_logprobs": []}
                for word in _words(text)
            ]
            choice["logprobs"] = {"content": tokens}
        return web.json_response(exchange.body("chat.completion", choices=[choice], **reported))

    async def stream(exchange: Exchange, parts: Sequence[str], reported: Json) -> web.StreamResponse:
        await exchange.delta(role="assistant", content="")
        if reasoning:
            await exchange.delta(reasoning_content=reasoning)
        for part in parts:
            await exchange.delta(content=part)
            await asyncio.sleep(drip)
        await exchange.delta(finish_reason)
        if reported and exchange.json.get("stream_options", {}).get("include_usage"):
            await exchange.chunk(choices=[], **reported)
        await exchange.event("[DONE]")
        return exchange.events

    return answer


def _words(text: str) -> list[str]:
    *firsts, last = text.split(" ")
    return [*(f"{word} " for word in firsts), last]


def empty() -> Behaviour:
    return ok(content="")


def no_usage() -> Behaviour:
    return ok(report_usage=False)


def slow_drip(delay: float, chunks: int) -> Behaviour:
    return ok(pieces=[f"piece {n} " for n in range(chunks)], drip=delay)


def delay(seconds: float) -> Behaviour:
    async def answer_late(exchange: Exchange) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await ok()(exchange)

    return answer_late


def status(code: int, body: Json | str | None = None, headers: dict[str, str] | None = None) -> Behaviour:
    """An answer with this status; a `str` goes out as HTML, None as an error in OpenAI's shape."""

    async def answer(_: Exchange) -> web.StreamResponse:
        if isinstance(body, str):
            return web.Response(status=code, text=body, content_type="text/html", headers=headers)
        return web.json_response(body or _error(f"fake status {code}"), status=code, headers=headers)

    return answer


def refusal(code: int, message: str) -> Behaviour:
    """An error in OpenAI's shape with the provider's own words."""
    return status(code, _error(message))


def rate_limited(retry_after: float | str) -> Behaviour:
    """429; `retry_after` is in seconds, or an HTTP date."""
    return status(429, _error("Rate limit reached"), {"retry-after": str(retry_after)})


def _error(message: str) -> Json:
    return {"error": {"message": message, "type": "fake", "code": None}}


def garbage() -> Behaviour:
    """200, and something that is no chat completion: a page of HTML, or a broken event in a stream."""

    async def answer(exchange: Exchange) -> web.StreamResponse:
        if not exchange.streams:
            return web.Response(text="<html>It works!</html>", content_type="text/html")
        await exchange.event('{"choices": [{"delta": {"cont')
        return exchange.events

    return answer


def hang() -> Behaviour:
    """Never answer."""
    return delay(3600)


def refuse() -> Behaviour:
    """Reset the connection in place of an answer; see `FakeProvider.refused_url` for a port that is shut."""

    async def cut(exchange: Exchange) -> web.StreamResponse:
        exchange.reset()
        return web.Response()

    return cut


def cut_mid_stream(after_chunks: int, *, politely: bool = False) -> Behaviour:
    """Stop after some pieces: with a reset, or `politely` with an end that lacks only the finish reason."""

    async def cut(exchange: Exchange) -> web.StreamResponse:
        for n in range(after_chunks):
            await exchange.delta(content=f"piece {n} ")
        if not politely:
            exchange.reset()
        return exchange.events

    return cut


@dataclass
class FakeProvider:
    port: int = 0
    """0 takes a free one."""
    models: Sequence[str] = ("fake-small", "fake-standard", "fake-large")
    requests: list[RecordedRequest] = field(default_factory=list[RecordedRequest])
    open_requests: int = 0
    disconnected: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released once for each client that went away before its answer was complete."""

    def __post_init__(self) -> None:
        self._always: dict[str, Behaviour] = {}
        self._next: defaultdict[str, deque[Behaviour]] = defaultdict(deque)
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, shutdown_timeout=0.1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def refused_url(self) -> str:
        """An address on which nothing listens."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

    def always(self, model: str, behaviour: Behaviour) -> None:
        self._always[model] = behaviour

    def next(self, model: str, *behaviours: Behaviour) -> None:
        """The next requests for `model`, one each; afterwards it behaves as before."""
        self._next[model].extend(behaviours)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._list_models)
        return app

    async def _list_models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        exchange = Exchange(request, await request.json())
        self.requests.append(RecordedRequest(request.path, dict(request.headers), exchange.json))
        queue = self._next[exchange.model]
        behave = queue.popleft() if queue else self._always.get(exchange.model, ok())
        self.open_requests += 1
        try:
            return await behave(exchange)
        except (asyncio.CancelledError, ConnectionError):
            self.disconnected.release()
            raise
        finally:
            self.open_requests -= 1


async def _serve(port: int) -> None:
    async with FakeProvider(port=port) as fake:
        print(fake.url, flush=True)  # noqa: T201  its standard output is for whoever started it
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A fake provider; prints the URL to use as api_base.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args().port))
