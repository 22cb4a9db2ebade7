"""Tells whoever subscribed to usage or health that a call was recorded, in both protocol eras."""

import logging
from collections import Counter
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated

from tierwise.storage.records import CallRecord

_log = logging.getLogger(__name__)

RequestContext = ServerRequestContext[Any, Any]


class Subscriptions:
    """Knows which of these resources are watched, and notifies once for each burst of calls.

    Clients of 2025-11-25 and earlier use `resources/subscribe`; those of 2026-07-28 hold a
    `subscriptions/listen` stream open.
    """

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._listened: Counter[str] = Counter()
        self._subscribed: dict[tuple[int, str], ServerSession] = {}
        self._recorded = anyio.Event()

    def on_recorded(self, record: CallRecord) -> None:
        """Take note that the ledger has changed; the notifications go out on their own time."""
        self._recorded.set()

    async def listen(
        self, ctx: RequestContext, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve one `subscriptions/listen` stream."""
        uris = params.notifications.resource_subscriptions or []
        self._listened.update(uris)
        try:
            return await self._listen(ctx, params)
        finally:
            self._listened.subtract(uris)

    async def subscribe(self, ctx: RequestContext, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Serve `resources/subscribe`; the subscription ends with the connection. One to a resource that
        there is not is taken, as in `subscriptions/listen`, and never fires."""
        connection = ctx.session._connection  # pyright: ignore[reportPrivateUsage]  the SDK has no public way to it
        key = (id(connection), params.uri)
        if key not in self._subscribed:
            self._subscribed[key] = ctx.session
            connection.exit_stack.callback(self._subscribed.pop, key, None)
        return types.EmptyResult()

    async def unsubscribe(
        self, ctx: RequestContext, params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        """Serve `resources/unsubscribe`."""
        connection = ctx.session._connection  # pyright: ignore[reportPrivateUsage]
        self._subscribed.pop((id(connection), params.uri), None)
        return types.EmptyResult()

    async def notify_forever(self) -> None:
        """Send notifications whenever calls were recorded, until cancelled."""
        while True:
            await self._recorded.wait()
            self._recorded = anyio.Event()
            for uri in [uri for uri, watchers in self._listened.items() if watchers and _changes(uri)]:
                await self._bus.publish(ResourceUpdated(uri=uri))
            for (_, uri), session in list(self._subscribed.items()):
                if _changes(uri):
                    await self._send(session, uri)

    async def _send(self, session: ServerSession, uri: str) -> None:
        try:
            await session.send_resource_updated(uri)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            _log.debug("A subscriber to %s has gone", uri)


def _changes(uri: str) -> bool:
    """Does a recorded call change this resource?"""
    return uri.startswith(("usage://", "health://"))
