"""The server: takes requests, records them, and lets a behaviour answer."""

import asyncio
import json
import socket
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self, cast

from aiohttp import BodyPartReader, web

from tests.fake_provider import openai
from tests.fake_provider.answers import Json
from tests.fake_provider.anthropic import AnthropicExchange
from tests.fake_provider.behaviours import Behaviour, ok
from tests.fake_provider.exchange import Exchange, RecordedRequest, Upload
from tests.fake_provider.gemini import GeminiExchange
from tests.fake_provider.media import ImagesExchange, SpeechExchange, TranscriptionExchange

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

WIRES: dict[str, type[Exchange]] = {
    "/v1/chat/completions": openai.OpenAIExchange,
    "/v1/images/generations": ImagesExchange,
    "/v1/audio/transcriptions": TranscriptionExchange,
    "/v1/audio/speech": SpeechExchange,
    "/v1/messages": AnthropicExchange,
    "/v1beta/models/{model}:{verb:generateContent|streamGenerateContent}": GeminiExchange,
}


@dataclass
class FakeProvider:
    port: int = 0
    """0 takes a free one."""
    models: Sequence[str] = ("fake-small", "fake-standard", "fake-large")
    requests: list[RecordedRequest] = field(default_factory=list[RecordedRequest])
    """All that came, also those for addresses that are not there."""
    open_requests: int = 0
    disconnected: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released once for each client that went away before its answer was complete."""

    def __post_init__(self) -> None:
        self._always: dict[str, Behaviour] = {}
        self._next: defaultdict[str, deque[Behaviour]] = defaultdict(deque)
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, shutdown_timeout=0.1)

    @property
    def url(self) -> str:
        """The `api_base` of what speaks OpenAI's wire."""
        return f"{self.root}/v1"

    @property
    def anthropic_url(self) -> str:
        return self.root

    @property
    def gemini_url(self) -> str:
        return f"{self.root}/v1beta"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

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
        for path, wire in WIRES.items():
            app.router.add_post(path, self._handler(wire))
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/v1beta/models", self._list_models)
        app.router.add_route("*", "/{elsewhere:.*}", self._not_found)
        return app

    async def _record(self, request: web.Request) -> RecordedRequest:
        form = request.content_type == "multipart/form-data"
        recorded = RecordedRequest(
            path=request.path,
            headers=dict(request.headers),
            json={} if form else _json(await request.read()),
            method=request.method,
            query=dict(request.query),
            fields=await _fields(request) if form else {},
        )
        self.requests.append(recorded)
        return recorded

    def _handler(self, wire: type[Exchange]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            exchange = wire(request, await self._record(request))
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

        return handle

    async def _list_models(self, request: web.Request) -> web.Response:
        recorded = await self._record(request)
        if recorded.path.startswith("/v1beta/"):
            return web.json_response({"models": [_gemini_model(name) for name in self.models]})
        kind = "type" if "anthropic-version" in request.headers else "object"
        data = [{"id": name, kind: "model"} for name in self.models]
        return web.json_response({"object": "list", "data": data, "has_more": False})

    async def _not_found(self, request: web.Request) -> web.Response:
        recorded = await self._record(request)
        return web.json_response(openai.error(404, f"There is no {recorded.path}"), status=404)


def _gemini_model(name: str) -> Json:
    return {"name": f"models/{name}", "supportedGenerationMethods": ["generateContent"]}


def _json(body: bytes) -> Json:
    try:
        value = json.loads(body or "{}")
    except ValueError:
        return {}
    return cast("Json", value) if isinstance(value, dict) else {}


async def _fields(request: web.Request) -> dict[str, str | Upload]:
    fields: dict[str, str | Upload] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            continue
        if part.filename is None:
            fields[part.name] = await part.text()
        else:
            kind = part.headers.get("Content-Type", "")
            fields[part.name] = Upload(part.filename, kind, bytes(await part.read()))
    return fields
