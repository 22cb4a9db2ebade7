"""The address that the server listens on over HTTP, and what a request must have to come in."""

import logging
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from mcp.server.auth.provider import TokenVerifier
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tierwise.server.errors import CannotListen
from tierwise.server.settings import ServerSettings
from tierwise.server.transports.authentication import StaticToken, authenticated, configured_token

_log = logging.getLogger(__name__)

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Door:
    """Where the server can be reached, and what it takes to come in."""

    listener: socket.socket
    settings: ServerSettings
    verifier: TokenVerifier | None
    """Knows who may come in; None lets everybody in."""
    loopback: bool

    def guarding(self, app: ASGIApp) -> ASGIApp:
        """`app`, for those requests alone that may come in."""
        known = authenticated(app, self.verifier) if self.verifier else app
        return _HostsAndOrigins(known, self.settings)

    @property
    def url(self) -> str:
        """The address without a path."""
        host, port = self.listener.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def announce(self, path: str) -> None:
        _log.warning("Serving MCP at %s%s", self.url, path)
        if not self.loopback:
            _log.warning("This is plain HTTP: without TLS before it, others can read the token and prompts.")


@contextmanager
def open_door(settings: ServerSettings, environ: Mapping[str, str]) -> Generator[Door]:
    """Listen where the settings say.

    Raises:
        ConfigurationError: others than this machine could come in, and there is no token to stop them; or
            it is a bad one.
        CannotListen: the address is taken or not this machine's.
    """
    family, address = _resolve(settings.host, settings.port)
    loopback = ip_address(address[0].partition("%")[0]).is_loopback
    token = configured_token(settings, environ, loopback=loopback)
    with _listen(family, address, settings.host) as listener:
        yield Door(listener, settings, StaticToken(token) if token else None, loopback)


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, ValueError) as error:  # ValueError: no host could be called that
        raise _cannot_listen(host, port, error) from None
    return family, address


def _listen(family: socket.AddressFamily, address: tuple[Any, ...], host: str) -> socket.socket:
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        raise _cannot_listen(host, address[1], error) from None


def _cannot_listen(host: str, port: int, error: OSError | ValueError) -> CannotListen:
    reason = getattr(error, "strerror", None) or "that is no address"
    return CannotListen(
        f"Cannot listen on {host}, port {port}: {reason}. Choose another with --host and --port."
    )


class _HostsAndOrigins:
    """Answers only requests to a known host name, and from its own pages, so that no web page can reach
    the server by rebinding a name of its own. It stands before every route."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        own = f"[{settings.host}]" if ":" in settings.host else settings.host
        names = dict.fromkeys((*_LOOPBACK, own, *settings.allowed_hosts))
        hosts = [address for name in names for address in (name, f"{name}:*")]
        origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
        self._app = app
        self._security = TransportSecurityMiddleware(
            TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = await self._security.validate_request(Request(scope))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
