"""Budgets from outside: settings, tools, resources, the command line."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from tests.fake_provider import FakeProvider, ok
from tests.server.harness import ERAS, MARKS, Era, Installation, Json, chat, refusal, structured, text
from tests.server.test_resources import read, subscriber
from tests.storage.samples import attempt, call
from tierwise.routing.clock import start_of
from tierwise.routing.providers.litellm import loading
from tierwise.server.configuration import load_settings
from tierwise.server.errors import ConfigurationError
from tierwise.storage.sqlite import open_store

pytestmark = MARKS

DAILY = {"name": "team", "period": "day", "limit_usd": 1.0}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
COST = (10 * 1 + 5 * 2) / 1e6
"""Of an answer with `USAGE` by the small model, in USD."""


@pytest.fixture
async def full(installation: Installation, fake: FakeProvider) -> AsyncIterator[Client]:
    """A client that is offered all tools."""
    fake.always("small", ok(usage=USAGE))
    installation.configure({"server": {"toolset": "full"}})
    async with installation.client() as client:
        await asyncio.wrap_future(loading())  # not between two tests, where pytest changes the filters
        yield client


async def set_budget(client: Client, **terms: Any) -> Json:
    return structured(await client.call_tool("set_budget", {**DAILY, **terms}))


async def budgets(client: Client, scope: str = "all") -> list[Json]:
    return structured(await client.call_tool("budget_status", {"scope": scope}))["budgets"]


# Tools


@pytest.mark.parametrize("era", ERAS)
async def test_the_full_toolset_adds_described_tools(demo: Installation, era: Era):
    async with demo.client(era) as client:
        usual = {tool.name for tool in (await client.list_tools()).tools}
        with pytest.raises(MCPError, match=r"in the full toolset: set server\.toolset"):
            await client.call_tool("set_budget", DAILY)
    demo.configure({"server": {"toolset": "full"}})
    async with demo.client(era) as client:
        tools = (await client.list_tools()).tools
    assert {tool.name for tool in tools} == usual | {
        "set_budget",
        "budget_status",
        "estimate_cost",
        "compare_models",
        "generate_image",
        "speak",
        "transcribe",
    }
    for tool in tools:
        for name, schema in tool.input_schema.get("properties", {}).items():
            assert schema.get("description"), f"{tool.name}.{name}"


async def test_a_flag_of_serve_offers_the_full_toolset(demo: Installation):
    async with demo.process("serve", "--toolset", "full") as server:
        await server.handshake()
        await server.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        listed = (await server.answer_to(1))["result"]["tools"]
    assert "set_budget" in {tool["name"] for tool in listed}


async def test_a_budget_that_is_set_counts_what_was_spent_before(full: Client):
    receipt = await chat(full, "Hello", max_tokens=50)
    status = await set_budget(full)
    assert status["spent_usd"] == receipt["cost_usd"] == pytest.approx(COST)
    assert status["remaining_usd"] == pytest.approx(1 - COST)
    assert status["forecast"] == {"note": "not enough data: it takes 7 days with a cost"}
    midnight = datetime.now(UTC).date() + timedelta(days=1)
    assert status["resets_at"] == f"{midnight}T00:00:00+00:00"
    assert await budgets(full) == [status]


async def test_a_call_over_the_limit_is_refused_and_the_tool_says_why(full: Client, fake: FakeProvider):
    await set_budget(full, limit_usd=0)
    said = refusal(await full.call_tool("chat", {"prompt": "Hello"}))
    assert said.startswith("The budget 'team' ($0.00 a day) has no room for this call")
    assert fake.requests == []


async def test_a_threshold_is_told_in_the_receipt_once(full: Client):
    await set_budget(full, limit_usd=2 * COST, thresholds=[50], at_limit="warn")
    warned = await chat(full, "one", max_tokens=50)
    assert "has reached 50% of its limit" in warned["warning"]
    assert "has reached" not in (await chat(full, "two", max_tokens=50)).get("warning", "")


SCOPES = {
    "all": ["acme", "everybody", "reviews", "umbrella"],
    "overall": ["everybody"],
    "tenant": ["acme", "umbrella"],
    "tenant:acme": ["acme"],
    "operation:review": ["reviews"],
    "agent": [],
}


async def test_budgets_are_found_by_their_scope(full: Client):
    await set_budget(full, name="everybody")
    for tenant in ("umbrella", "acme"):
        await set_budget(full, name=tenant, scope="tenant", value=tenant)
    await set_budget(full, name="reviews", scope="operation", value="review")
    for scope, names in SCOPES.items():
        listed = await budgets(full, scope)
        assert [budget["name"] for budget in listed] == names
        assert (await read(full, f"usage://budget/{scope}"))["budgets"] == listed
    assert (await read(full, "usage://budget/tenant%3Aacme"))["budgets"][0]["value"] == "acme"


@pytest.mark.parametrize("scope", ["everyone", "tenant:", "", "overall/x", "x" * 250])
async def test_an_unknown_scope_is_refused_with_the_known_ones(full: Client, scope: str):
    sentence = "use all, overall, tenant, agent or operation"
    assert sentence in refusal(await full.call_tool("budget_status", {"scope": scope}))
    with pytest.raises(MCPError, match=sentence) as raised:
        await read(full, f"usage://budget/{scope}")
    assert raised.value.code == INVALID_PARAMS


WRONG: list[tuple[Json, str]] = [
    ({"limit_usd": -1}, "`limit_usd` must be at least 0."),
    ({"limit_usd": 1e12}, "`limit_usd` must be at most 1,000,000,000.0."),
    ({"limit_usd": "NaN"}, "`limit_usd` must be"),
    ({"period": "year"}, "`period` must be 'day', 'week', 'month' or 'total'."),
    ({"scope": "planet"}, "`scope` must be 'overall', 'tenant', 'agent' or 'operation'."),
    ({"scope": "tenant"}, "a budget for one tenant needs a `value`: its name."),
    ({"value": "acme"}, "an overall budget takes no `value`"),
    ({"thresholds": [0]}, "`thresholds[0]` must be at least 1."),
    ({"thresholds": [5000]}, "`thresholds[0]` must be at most 1,000."),
    ({"name": ""}, "`name` is empty."),
    ({"name": "two\nlines"}, "`name` must be one line of plain text."),
    ({"limit_eur": 3}, "`limit_eur` is not an argument of set_budget; did you mean `limit_usd`?"),
]


@pytest.mark.parametrize(("terms", "sentence"), WRONG)
async def test_terms_that_do_not_fit_are_refused_with_a_sentence(full: Client, terms: Json, sentence: str):
    result = await full.call_tool("set_budget", {**DAILY, **terms})
    assert refusal(result).startswith(sentence), text(result)
    assert await budgets(full) == []


# Subscriptions


async def test_who_subscribes_to_a_budget_hears_of_what_is_spent(demo: Installation):
    async with subscriber(demo, "usage://budget/overall") as (client, inbox):
        await chat(client, "Hello")
        assert await inbox.take() == "usage://budget/overall"


# Settings


async def test_the_budgets_of_the_settings_are_in_force(installation: Installation, fake: FakeProvider):
    installation.configure({"budgets": [{**DAILY, "limit_usd": 0, "at_limit": "refuse"}]})
    async with installation.client() as client:
        assert "'team'" in refusal(await client.call_tool("chat", {"prompt": "Hello"}))
        [budget] = (await read(client, "usage://budget/all"))["budgets"]
    assert (budget["name"], budget["thresholds"]) == ("team", [80, 90, 100])
    assert fake.requests == []


SETTINGS: list[tuple[Json, str]] = [
    ({"budgets": [DAILY, DAILY]}, "budgets: two budgets have the same name; give each one of its own."),
    ({"budgets": [{**DAILY, "scope": "agent"}]}, "budgets[0]: a budget for one agent needs a `value`"),
    ({"budgets": [{**DAILY, "limit": 5}]}, "budgets[0].limit is not a known key; the nearest is budgets"),
    ({"budgets": [{**DAILY, "period": "hour"}]}, "budgets[0].period must be one of 'day', 'week'"),
    ({"budgets": [{**DAILY, "limit_usd": -5}]}, "budgets[0].limit_usd must be at least 0."),
    ({"budgets": [DAILY], "usage_tracking": {"enabled": False}}, "budgets: nothing can be charged to them"),
]


@pytest.mark.parametrize(("changes", "sentence"), SETTINGS)
def test_settings_that_do_not_fit_are_named(demo: Installation, changes: Json, sentence: str):
    demo.configure(changes)
    with pytest.raises(ConfigurationError) as raised:
        load_settings(config=None, environ=demo.environ)
    assert sentence in str(raised.value)


async def test_what_was_spent_counts_in_another_time_zone_too(installation: Installation, fake: FakeProvider):
    fake.always("small", ok(usage=USAGE))
    installation.configure(
        {"budgets": [{**DAILY, "limit_usd": 0.01}], "usage_tracking": {"time_zone": "UTC"}}
    )
    async with installation.client() as client:
        receipt = await chat(client, "Hello", max_tokens=50)
    installation.configure({"usage_tracking": {"time_zone": "Asia/Kathmandu"}})
    async with installation.client() as client:
        [budget] = (await read(client, "usage://budget/all"))["budgets"]
        assert budget["spent_usd"] == receipt["cost_usd"] > 0
        second = await chat(client, "Hello again", max_tokens=50)
        [budget] = (await read(client, "usage://budget/all"))["budgets"]
    assert budget["resets_at"].endswith("T00:00:00+05:45")
    assert budget["spent_usd"] == pytest.approx(receipt["cost_usd"] + second["cost_usd"])


# The forecast, from the ledger


async def test_the_forecast_comes_from_the_days_of_the_budgets_scope(demo: Installation):
    today = datetime.now(UTC).date()
    async with open_store(demo.data / "tierwise.db", max_cache_bytes=1_000_000) as store:
        for ago in range(1, 15):
            noon = start_of(today - timedelta(days=ago), UTC) + 43_200_000
            for tenant, cost in (("acme", 10**9), ("other", 5 * 10**9)):
                tried = attempt(cost_nano_usd=cost, started_at=noon)
                await store.record(call(f"{tenant}-{ago}", tried, tenant=tenant, started_at=noon))
    terms = {"name": "acme", "scope": "tenant", "value": "acme", "period": "total", "limit_usd": 24.5}
    demo.configure({"budgets": [terms]})
    async with demo.client() as client:
        [budget] = (await read(client, "usage://budget/tenant:acme"))["budgets"]
    assert budget["spent_usd"] == 14
    assert budget["forecast"] == {"limit_reached_on": (today + timedelta(days=10)).isoformat()}


# The command line


async def test_the_command_line_sets_lists_and_removes_a_budget(demo: Installation):
    assert b"There is no budget" in (await demo.run("budget", "list")).stderr
    terms = ["--limit", "5", "--period", "week", "--scope", "tenant", "--value", "acme", "--threshold", "50"]
    set_ = await demo.run("budget", "set", "team", *terms, "--at-limit", "downgrade", "--json")
    assert set_.returncode == 0, set_.stderr
    status = json.loads(set_.stdout)
    assert (status["limit_usd"], status["period"], status["value"]) == (5, "week", "acme")
    assert (status["at_limit"], status["thresholds"]) == ("downgrade", [50])
    assert b"team" in (await demo.run("budget", "list")).stdout
    assert json.loads((await demo.run("budget", "list", "tenant", "--json")).stdout)["budgets"] == [status]
    assert (await demo.run("budget", "remove", "team")).returncode == 0
    again = await demo.run("budget", "remove", "team")
    assert (again.returncode, again.stderr) == (
        2,
        b"Error: There is no budget 'team'; `tierwise budget list` shows them.\n",
    )


async def test_a_budget_of_the_settings_is_removed_there(demo: Installation):
    demo.configure({"budgets": [DAILY]})
    ended = await demo.run("budget", "remove", "team")
    assert (ended.returncode, b"take it out of them first" in ended.stderr) == (2, True)
