"""Who may speak to the server over HTTP: whoever has the token. What is open tells nothing.

The SDK's `TokenVerifier` is the seam: whatever maps a token to an `AccessToken`, or to nobody, lets in.
"""

import hashlib
import hmac
import re
import shlex
import sys
from collections.abc import Mapping

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken, TokenVerifier
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from tierwise.server.errors import ConfigurationError
from tierwise.server.settings import ServerSettings

OPEN_PATHS = frozenset({"/healthz", "/dashboard"})
"""Answered without a token; the page of the dashboard holds no data, and asks for the token that gets it."""

_FEWEST_CHARACTERS = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750, 2.1: what a bearer token may be made of."""


def configured_token(settings: ServerSettings, environ: Mapping[str, str], *, loopback: bool) -> str | None:
    """The token that clients must send; None where none is set, which is for `loopback` only.

    Raises:
        ConfigurationError: there is none but must be one, or it is too weak, or no header can hold it.
    """
    variable = settings.token_env
    token = environ.get(variable, "").strip()
    if not token:
        if loopback and "token_env" not in settings.model_fields_set:
            return None
        if loopback:
            raise ConfigurationError(
                f"server.token_env names {variable}, which is not set; put a token into it. {_make_one()}"
            )
        raise ConfigurationError(
            f"Whoever reached {settings.host} could spend your money: off loopback tierwise needs a token in"
            f" the environment variable {variable}, which clients send as `Authorization: Bearer …`."
            f" {_make_one()}"
        )
    if len(token) < _FEWEST_CHARACTERS or not _TOKEN.fullmatch(token):
        raise ConfigurationError(
            f"The token in {variable} can be guessed or not be sent: it takes {_FEWEST_CHARACTERS} or more"
            f" letters, digits and -._~+/. {_make_one()}"
        )
    return token


def _make_one() -> str:
    python = shlex.quote(sys.executable or "python3")
    return f'Make one with: {python} -c "import secrets; print(secrets.token_urlsafe(32))"'


def authenticated(app: ASGIApp, verifier: TokenVerifier) -> ASGIApp:
    """`app`, for requests alone whose bearer token `verifier` knows: others get a 401. In the app,
    `get_access_token()` of the SDK tells who asks."""
    return AuthenticationMiddleware(AuthContextMiddleware(_TokenRequired(app)), BearerAuthBackend(verifier))


class StaticToken(TokenVerifier):
    """Knows one token; keeps its digest alone, and takes the same time whatever it is compared with."""

    def __init__(self, token: str) -> None:
        self._digest = _digest(token)

    async def verify_token(self, token: str) -> AccessToken | None:
        if hmac.compare_digest(_digest(token), self._digest):
            return AccessToken(token="", client_id="token", scopes=[])
        return None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class _TokenRequired:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._guarded = RequireAuthMiddleware(app, required_scopes=[])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_open = scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS
        await (self._app if is_open else self._guarded)(scope, receive, send)
