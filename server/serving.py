"""Runs the server until its client leaves or a signal comes."""

import logging
import os
import secrets
import signal
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, cast

import anyio
import anyio.abc
from anyio import to_thread
from mcp.server.lowlevel import Server

from tierwise.routing.engine import Engine
from tierwise.server.logs import log_to_stderr, redactor
from tierwise.server.mcp_server import broken_server, open_server
from tierwise.server.runtime import open_runtime, run
from tierwise.server.settings import Settings
from tierwise.server.tools.base import ToolContext
from tierwise.server.transports.stdio import Wire, serve_stdio
from tierwise.storage.errors import TierwiseError

_log = logging.getLogger(__name__)

Loaded = tuple[Settings, Mapping[str, str]]


def run_stdio(wire: Wire, load: Callable[[], Loaded]) -> None:
    """Serve the client on `wire`. Where the settings or the database are broken, the server comes up
    all the same and every call says what is wrong: a host shows that, and hides a dead server's log."""
    log_to_stderr("WARNING", redactor(os.environ))
    run(_serve_stdio, wire, load)


def run_http(transport: str, settings: Settings, environ: Mapping[str, str]) -> None:
    """Serve over HTTP until a signal comes.

    Raises:
        TierwiseError: the database cannot be used, the address cannot be listened on, or a token is
            missing that keeps others out.
    """
    run(_serve_http, cast("Literal['http', 'sse']", transport), settings, environ)


def run_dashboard(
    settings: Settings, environ: Mapping[str, str], port: int, show: Callable[[str], None]
) -> None:
    """Serve the dashboard alone, to this machine and whoever has a token that is made for this run, until a
    signal comes. `show` gets the address with the token and is called in a thread; port 0 takes any.

    Raises:
        TierwiseError: the database cannot be used, or the port cannot be listened on.
    """
    run(_serve_dashboard, settings, environ, port, show)


async def _serve_stdio(wire: Wire, load: Callable[[], Loaded]) -> None:
    async with anyio.create_task_group() as tasks:
        await tasks.start(_on_signal, tasks.cancel_scope.cancel)
        async with _working_or_broken(load) as server:
            await serve_stdio(server, wire)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _working_or_broken(load: Callable[[], Loaded]) -> AsyncGenerator[Server[Any]]:
    async with AsyncExitStack() as stack:
        try:
            settings, environ = load()
            engine = await stack.enter_async_context(open_runtime(settings, environ))
        except TierwiseError as error:
            _log.error("%s", error)
            yield broken_server(redactor(os.environ)(str(error)))
        else:
            yield await stack.enter_async_context(open_server(engine, settings))


async def _serve_http(
    transport: Literal["http", "sse"], settings: Settings, environ: Mapping[str, str]
) -> None:
    from tierwise.server.dashboard.routes import dashboard_routes
    from tierwise.server.transports.door import open_door
    from tierwise.server.transports.http import mcp_app, serve_http

    stop = anyio.Event()
    with open_door(settings.server, environ) as door:
        async with anyio.create_task_group() as tasks:
            await tasks.start(_on_signal, stop.set)
            async with open_runtime(settings, environ) as engine, open_server(engine, settings) as server:
                tasks.start_soon(engine.load_ahead)
                tasks.start_soon(_give_up_when, stop, engine)
                door.announce("/mcp" if transport == "http" else "/sse")
                routes = dashboard_routes(ToolContext(engine, settings))
                await serve_http(mcp_app(server, transport, routes, stop), door, stop)
            tasks.cancel_scope.cancel()


async def _serve_dashboard(
    settings: Settings, environ: Mapping[str, str], port: int, show: Callable[[str], None]
) -> None:
    from starlette.applications import Starlette

    from tierwise.server.dashboard.routes import PATH, dashboard_routes
    from tierwise.server.transports.door import open_door
    from tierwise.server.transports.http import serve_http

    stop = anyio.Event()
    token = secrets.token_urlsafe(32)
    own = settings.server.model_copy(update={"host": "127.0.0.1", "port": port})
    with open_door(own, {**environ, own.token_env: token}) as door:
        async with anyio.create_task_group() as tasks:
            await tasks.start(_on_signal, stop.set)
            async with open_runtime(settings, environ) as engine:
                app = Starlette(routes=dashboard_routes(ToolContext(engine, settings)))
                tasks.start_soon(_shown, show, f"{door.url}{PATH}#token={token}")
                await serve_http(app, door, stop)
            tasks.cancel_scope.cancel()


async def _shown(show: Callable[[str], None], url: str) -> None:
    await to_thread.run_sync(show, url, abandon_on_cancel=True)  # a browser may stay in the foreground


async def _give_up_when(stop: anyio.Event, engine: Engine) -> None:
    """End the calls under way at once, or the connections that wait for them would outlast the server."""
    await stop.wait()
    engine.give_up()


async def _on_signal(react: Callable[[], None], *, task_status: anyio.abc.TaskStatus[None]) -> None:
    """Call `react` at the first SIGINT or SIGTERM."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            react()
            return
