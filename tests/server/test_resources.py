"""The resources: what they hold, and who hears that they have changed."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from mcp.client import Client, IncomingMessage
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import (
    INVALID_PARAMS,
    EmptyResult,
    ResourceUpdatedNotification,
    SubscribeRequest,
    SubscribeRequestParams,
    TextResourceContents,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)

from tests.server.harness import ERAS, Era, Installation, Json, chat, connect, structured

pytestmark = pytest.mark.anyio


PARAMETERS: dict[str, Json] = {
    "usage://summary/{days}": {"days": 3},
    "usage://timeseries/{granularity}/{days}": {"granularity": "daily", "days": 3},
    "usage://savings/{days}": {"days": 3},
    "usage://export/{format}/{days}": {"format": "json", "days": 3},
    "usage://budget/{scope}": {"scope": "all"},
}
"""What the parameters of each family of resources can be."""


async def read(client: Client, uri: str) -> Json:
    [contents] = (await client.read_resource(uri, cache_mode="bypass")).contents
    assert isinstance(contents, TextResourceContents)
    assert contents.uri == uri
    assert contents.mime_type == "application/json"
    return json.loads(contents.text)


@pytest.mark.parametrize("era", ERAS)
async def test_each_resource_says_what_the_tool_of_its_kind_says(demo: Installation, era: Era):
    async with demo.client(era) as client:
        await chat(client, "Hello", operation="greeting")
        same: dict[str, tuple[str, Json]] = {
            "usage://today": ("today_usage", {}),
            "usage://summary/7": ("usage_summary", {"days": 7}),
            "models://list": ("list_models", {}),
        }
        for uri, (tool, arguments) in same.items():
            assert await read(client, uri) == structured(await client.call_tool(tool, arguments))
        analysis = structured(await client.call_tool("analyze_complexity", {"prompt": "Hello"}))
        assert await read(client, "routing://rules") == analysis["routing_rules"]
        assert (await read(client, "usage://today"))["calls"] == 1


async def test_every_listed_resource_can_be_read(demo: Installation):
    async with demo.client() as client:
        apps = ["ui://tierwise/usage"]  # read by hosts, see tests/server/dashboard
        listed = [it for it in (await client.list_resources()).resources if it.uri not in apps]
        assert len(listed) == 4
        for resource in listed:
            assert resource.title
            assert resource.description
            assert await read(client, resource.uri)
        families = (await client.list_resource_templates()).resource_templates
        assert {family.uri_template for family in families} == {*PARAMETERS, "media://{call_id}/{n}"}
        for family in families:
            assert family.title
            assert family.description
            if family.uri_template not in PARAMETERS:
                continue  # what was made is no JSON; see test_media
            assert await read(client, family.uri_template.format(**PARAMETERS[family.uri_template])) != {}


@pytest.mark.parametrize("days", ["x", "0", "-1", "1.5", "3661", "", "9" * 5000, "٣", "7/8", "{days}"])
async def test_a_wrong_number_of_days_is_refused_with_a_sentence(demo: Installation, days: str):
    async with demo.client() as client:
        with pytest.raises(MCPError, match="give a whole number from 1 to 3660") as raised:
            await read(client, f"usage://summary/{days}")
    assert raised.value.code == INVALID_PARAMS
    assert len(raised.value.message) < 200


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_resource_is_refused_with_the_known_ones(demo: Installation, era: Era):
    async with demo.client(era) as client:
        with pytest.raises(MCPError, match=r"There is no resource 'usage://tomorrow'\. Known: ") as raised:
            await read(client, "usage://tomorrow")
    assert raised.value.code == INVALID_PARAMS
    assert all(uri in raised.value.message for uri in ("usage://today", "usage://summary/{days}"))


# Subscriptions


class Inbox:
    """What a client of 2025-11-25 is notified of."""

    def __init__(self) -> None:
        self._uris: asyncio.Queue[str] = asyncio.Queue()

    async def __call__(self, message: IncomingMessage) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            self._uris.put_nowait(message.params.uri)

    async def take(self) -> str:
        return await self._uris.get()


@asynccontextmanager
async def subscriber(demo: Installation, *uris: str) -> AsyncGenerator[tuple[Client, Inbox]]:
    inbox = Inbox()
    async with demo.client("legacy", message_handler=inbox) as client:
        for uri in uris:
            await subscribe(client, uri)
        yield client, inbox


async def subscribe(client: Client, uri: str) -> None:
    request = SubscribeRequest(params=SubscribeRequestParams(uri=uri))
    await client.session.send_request(request, EmptyResult)


async def unsubscribe(client: Client, uri: str) -> None:
    request = UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri))
    await client.session.send_request(request, EmptyResult)


async def test_a_subscriber_of_the_older_era_hears_of_a_recorded_call(demo: Installation):
    async with subscriber(demo, "usage://today") as (client, inbox):
        await chat(client, "Hello")
        assert await inbox.take() == "usage://today"
        assert (await read(client, "usage://today"))["calls"] == 1
        await chat(client, "Hello")  # from the cache, and a call all the same
        assert await inbox.take() == "usage://today"


async def test_a_recorded_call_changes_the_health_of_the_providers_too(demo: Installation):
    async with subscriber(demo, "health://providers") as (client, inbox):
        await chat(client, "Hello")
        assert await inbox.take() == "health://providers"
        [small, *_] = (await read(client, "health://providers"))["deployments"]
        assert (small["model"], small["traffic"]["attempts"]) == ("demo/small", 1)


async def test_who_unsubscribes_hears_no_more(demo: Installation):
    async with subscriber(demo, "usage://today", "usage://summary/7") as (client, inbox):
        await unsubscribe(client, "usage://today")
        await unsubscribe(client, "usage://today")
        await chat(client, "Hello")
        assert await inbox.take() == "usage://summary/7"
        await chat(client, "Hello again")
        assert await inbox.take() == "usage://summary/7"


async def test_subscribing_twice_is_heard_once(demo: Installation):
    async with subscriber(demo, "usage://today", "usage://today", "usage://summary/1") as (client, inbox):
        await chat(client, "Hello")
        assert [await inbox.take(), await inbox.take()] == ["usage://today", "usage://summary/1"]


async def test_a_subscription_to_what_no_call_changes_is_silent(demo: Installation):
    async with subscriber(demo, "routing://rules", "usage://today") as (client, inbox):
        await chat(client, "Hello")
        assert await inbox.take() == "usage://today"


async def test_a_listener_of_the_newer_era_hears_of_a_recorded_call(demo: Installation):
    async with demo.client() as client, client.listen(resource_subscriptions=["usage://today"]) as events:
        for _ in range(2):
            await chat(client, "Hello")
            assert await anext(events) == ResourceUpdated("usage://today")


async def test_a_listener_that_leaves_leaves_the_others_listening(demo: Installation):
    async with demo.client() as client, client.listen(resource_subscriptions=["usage://today"]) as events:
        async with client.listen(resource_subscriptions=["usage://today", "usage://summary/30"]):
            pass
        await chat(client, "Hello")
        assert await anext(events) == ResourceUpdated("usage://today")


async def test_a_subscriber_that_has_gone_disturbs_nobody(demo: Installation):
    async with demo.server() as server:
        async with connect(server, "legacy") as leaving:
            await subscribe(leaving, "usage://today")
        inbox = Inbox()
        async with connect(server, "legacy", message_handler=inbox) as staying:
            await subscribe(staying, "usage://today")
            await chat(staying, "Hello")
            assert await inbox.take() == "usage://today"
