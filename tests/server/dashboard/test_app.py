"""The dashboard inside a host, as an MCP App: the host is a page, its server a real one."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.extension import ClientExtension, advertise
from mcp_types import CallToolResult, TextResourceContents
from playwright.async_api import FrameLocator, Page, expect

from tests.server.books import record
from tests.server.dashboard.conftest import Opened
from tests.server.harness import ERAS, MARKS, Era, Installation, Json, structured
from tests.storage.samples import attempt, call

pytestmark = MARKS

URI = "ui://tierwise/usage"
HTML = "text/html;profile=mcp-app"
DATA = "tierwise/dashboard"
HOST = (Path(__file__).parent / "host.html").as_uri()


def shows(*mime_types: str) -> list[ClientExtension]:
    """What a client says that shows apps of these types."""
    return [advertise("io.modelcontextprotocol/ui", {"mimeTypes": list(mime_types)})]


def dumped(result: CallToolResult) -> Json:
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def page_of(client: Client) -> TextResourceContents:
    [contents] = (await client.read_resource(URI)).contents
    assert isinstance(contents, TextResourceContents)
    return contents


@pytest.fixture
async def busy(demo: Installation) -> Installation:
    """An installation with a call of today for each of two tenants."""
    now = time.time_ns() // 1_000_000
    for name, cents in (("acme", 3), ("<b>globex</b>", 4)):
        tried = attempt(started_at=now, cost_nano_usd=cents * 10**7)
        await record(demo, call(name, tried, tenant=name, started_at=now))
    return demo


# What the server tells


@pytest.mark.parametrize("era", ERAS)
async def test_both_eras_tie_the_page_to_usage_summary(busy: Installation, era: Era):
    async with busy.client(era, extensions=shows(HTML)) as client:
        # In the older era the SDK has no place for what a server says of extensions.
        told: Json | None = None if era == "legacy" else {"io.modelcontextprotocol/ui": {}}
        assert client.server_capabilities.extensions == told
        apps = {tool.name: tool.meta for tool in (await client.list_tools()).tools if tool.meta}
        assert apps == {"usage_summary": {"ui": {"resourceUri": URI}}}
        [listed] = [it for it in (await client.list_resources()).resources if it.uri == URI]
        contents = await page_of(client)
        assert listed.mime_type == contents.mime_type == HTML
        assert contents.meta
        assert contents.meta["ui"]["csp"] == {"connectDomains": [], "resourceDomains": []}
        assert contents.text.startswith("<!doctype html>")
        result = await client.call_tool("usage_summary", {"days": 7})
        assert result.meta
        assert result.meta[DATA]["summary"] == structured(result)


@pytest.mark.parametrize("extensions", [[], shows(), shows("text/html")], ids=["none", "no type", "another"])
async def test_hosts_that_show_no_apps_get_the_figures_alone(
    busy: Installation, extensions: list[ClientExtension]
):
    async with busy.client(extensions=extensions) as client:
        result = await client.call_tool("usage_summary")
        assert not any(tool.meta for tool in (await client.list_tools()).tools)
    assert DATA not in (result.meta or {})
    assert structured(result)["total_calls"] == 2


async def test_a_server_that_could_not_start_ties_no_page_to_its_complaint(busy: Installation):
    busy.config.write_text("{")
    async with busy.process() as server:
        await server.handshake()
        await server.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        tools = (await server.answer_to(1))["result"]["tools"]
    assert tools
    assert not any("_meta" in tool for tool in tools)


# What a host shows


class Host:
    """The page that plays the host, and what it gets from its server."""

    def __init__(self, page: Page, client: Client) -> None:
        self.page = page
        self.client = client
        self.asked: list[Json] = []
        self.keeps_meta = False

    @property
    def app(self) -> FrameLocator:
        return self.page.frame_locator("iframe")

    async def call_tool(self, parameters: Json) -> Json:
        self.asked.append(parameters)
        result = dumped(await self.client.call_tool(parameters["name"], parameters["arguments"]))
        if self.keeps_meta:
            result.pop("_meta")
        return result

    async def notify(self, method: str, parameters: Json) -> None:
        await self.page.evaluate(
            "([method, params]) => notify(method, params)", [f"ui/notifications/{method}", parameters]
        )

    async def saw(self, message: str) -> None:
        await expect(self.page.locator("body")).to_have_attribute("data-seen", re.compile(re.escape(message)))

    async def show(self, **arguments: Any) -> None:
        """Show the page for a call of the tool with these arguments."""
        await self.page.expose_function("callTool", self.call_tool)  # pyright: ignore[reportUnknownMemberType]
        html = (await page_of(self.client)).text
        await self.page.evaluate("(html) => show(html)", html)
        await self.saw("ui/notifications/initialized")
        await self.notify("tool-input", {"arguments": arguments})
        await self.notify(
            "tool-result", await self.call_tool({"name": "usage_summary", "arguments": arguments})
        )


async def test_a_host_shows_what_the_tool_told_and_the_filters_call_it_again(
    busy: Installation, opened: Opened
):
    async with busy.client(extensions=shows(HTML)) as client:
        host = Host(await opened(HOST), client)
        await host.show(days=7)
        await expect(host.app.locator("#tile-spend dd").first).to_have_text("$0.07")
        await expect(host.app.locator("#filter-days")).to_have_value("7")
        await expect(host.app.locator("#calls tbody tr")).to_have_count(2)
        await expect(host.app.locator("html")).to_have_attribute("data-theme", "dark")
        await host.app.locator("#filter-tenant").select_option("=<b>globex</b>")
        await expect(host.app.locator("#tile-spend dd").first).to_have_text("$0.04")
        asked = {"days": 7, "filters": {"tenant": "<b>globex</b>"}}
        assert host.asked[-1] == {"name": "usage_summary", "arguments": asked}
        assert await host.app.locator("main b").count() == 0
        await host.notify("host-context-changed", {"theme": "light"})
        await expect(host.app.locator("html")).to_have_attribute("data-theme", "light")
        frame = host.page.locator("iframe")
        await expect(frame).to_have_css("height", str(await frame.evaluate("it => it.style.height")))


async def test_days_from_one_to_another_stay_those_that_were_asked_for(busy: Installation, opened: Opened):
    async with busy.client(extensions=shows(HTML)) as client:
        host = Host(await opened(HOST), client)
        await host.show(start="2026-01-01", filters={"tenant": "acme"})
        await expect(host.app.locator("#filter-days option:checked")).to_have_text("2026-01-01 – today")  # noqa: RUF001
        await host.app.locator("#refresh").click()
        await expect(host.app.locator("#announcements")).to_have_text("1 call, $0.03.")
        arguments = {"start": "2026-01-01", "filters": {"tenant": "acme"}}
        assert host.asked[-1]["arguments"] == arguments


async def test_a_host_that_hands_no_metadata_on_gets_the_totals(busy: Installation, opened: Opened):
    async with busy.client(extensions=shows(HTML)) as client:
        host = Host(await opened(HOST), client)
        host.keeps_meta = True
        await host.show()
        await expect(host.app.locator("#tile-spend dd").first).to_have_text("$0.07")
        await expect(host.app.locator("#calls")).to_be_hidden()


async def test_what_the_tool_or_the_host_refuses_is_said(busy: Installation, opened: Opened):
    async with busy.client(extensions=shows(HTML)) as client:
        host = Host(await opened(HOST), client)
        await host.show(days=0)
        await expect(host.app.locator("#alert")).to_have_text("`days` must be at least 1.")
        await host.page.evaluate("void (requests['tools/call'] = () => { throw new Error('You said no.'); })")
        await host.app.locator("#refresh").click()
        await expect(host.app.locator("#alert")).to_have_text("You said no.")


async def test_the_page_answers_its_host_and_heeds_nobody_else(busy: Installation, opened: Opened):
    async with busy.client(extensions=shows(HTML)) as client:
        host = Host(await opened(HOST), client)
        await host.show()
        await host.page.evaluate(
            "post({ id: 'last', method: 'ui/resource-teardown', params: { reason: 'done' } })"
        )
        await host.saw("last: {}")
        await expect(host.app.locator("#tile-spend dd").first).to_have_text("$0.07")
        await host.app.locator("body").evaluate(
            """() => window.postMessage({ jsonrpc: "2.0", method: "ui/notifications/tool-result",
                params: { structuredContent: { total_cost_usd: 99 } } }, "*")"""
        )
        await host.app.locator("#refresh").click()
        await expect(host.app.locator("#announcements")).to_have_text("2 calls, $0.07.")
        await expect(host.app.locator("#alert")).to_be_hidden()
