"""MCP over HTTP: streamable HTTP at /mcp, or the older HTTP+SSE at /sse; and whatever else is served."""

import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import anyio
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tierwise.server.transports.door import Door

MAX_BODY_BYTES = 64 * 2**20
"""As much as a message over stdio may have."""
MAX_SESSIONS = 1000
"""Each takes some 40 KB while its client stays away."""
_KEEP_ALIVE_SECONDS = 75
"""For which an idle connection stays open: longer than clients keep theirs (5 s in httpx, 60 in many
proxies), or a request that goes out as the server closes it fails."""
_GRACE_SECONDS = 1
"""For which connections may finish when the server is told to stop."""


def mcp_app(
    server: Server[Any], transport: Literal["http", "sse"], routes: Sequence[Route], stop: anyio.Event
) -> Starlette:
    """MCP by that transport, /healthz, and `routes`."""
    if transport == "http":
        return _http_app(server, routes)
    return _sse_app(server, routes, stop)


async def serve_http(app: ASGIApp, door: Door, stop: anyio.Event) -> None:
    """Serve until `stop` is set; then connections have a second to finish."""
    config = uvicorn.Config(
        door.guarding(app),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    web = _Uvicorn(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(web.serve, [door.listener])
        await stop.wait()
        web.handle_exit(signal.SIGTERM, None)  # which also tells open event streams to end


class _Uvicorn(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again, and end the process before it has tidied up."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


_CHECKED_BEFORE = TransportSecuritySettings(enable_dns_rebinding_protection=False)


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


_HEALTHZ = Route("/healthz", _healthz)


def _http_app(server: Server[Any], routes: Sequence[Route]) -> Starlette:
    return server.streamable_http_app(
        transport_security=_CHECKED_BEFORE,
        max_request_body_size=MAX_BODY_BYTES,
        max_sessions=MAX_SESSIONS,
        custom_starlette_routes=[_HEALTHZ, *routes],
    )


def _sse_app(server: Server[Any], routes: Sequence[Route], stop: anyio.Event) -> Starlette:
    transport = SseServerTransport(
        "/messages/", security_settings=_CHECKED_BEFORE, max_request_body_size=MAX_BODY_BYTES
    )
    return Starlette(
        routes=[
            Route("/sse", _SseEndpoint(server, transport, stop), methods=["GET"]),
            Mount("/messages/", app=transport.handle_post_message),
            _HEALTHZ,
            *routes,
        ]
    )


class _SseEndpoint:
    """The ASGI application behind GET /sse: one connection, one client."""

    def __init__(self, server: Server[Any], transport: SseServerTransport, stop: anyio.Event) -> None:
        self._server = server
        self._transport = transport
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with (
            self._transport.connect_sse(scope, receive, send) as (read_stream, write_stream),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._end_when_stopped, tasks.cancel_scope)
            await self._server.run(read_stream, write_stream, self._server.create_initialization_options())
            tasks.cancel_scope.cancel()

    async def _end_when_stopped(self, scope: anyio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()
