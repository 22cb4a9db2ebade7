"""How long a connection to a provider may take to come about, whichever way litellm makes it.

litellm takes one time limit for a whole request. This sets the part of it that is for connecting, in the
transport that all of its asynchronous clients are made with.

Imports httpx, which costs start-up time, so only what has loaded litellm may import this.
"""

from collections.abc import Callable

import httpx


def impatient(
    transport: type[httpx.AsyncBaseTransport], connect_timeout: Callable[[], float | None]
) -> type[httpx.AsyncBaseTransport]:
    """The class `transport`, made to raise `httpx.ConnectTimeout` where looking the host up, connecting to
    it and agreeing on TLS take longer than `connect_timeout()` seconds."""

    class ImpatientTransport(transport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            limit = connect_timeout()
            if limit is not None:
                limits: dict[str, float | None] = request.extensions.get("timeout", {})
                # aiohttp counts the look-up as part of what it calls waiting for the pool.
                request.extensions["timeout"] = limits | {"connect": limit, "pool": limit}
            return await super().handle_async_request(request)

    return ImpatientTransport
