"""Whom a call is for: said by the call, or by the settings."""

import pytest

from tests.server.harness import Installation, Json, chat
from tierwise.storage.records import Dimension
from tierwise.storage.sqlite import open_store

pytestmark = pytest.mark.anyio


async def spenders(installation: Installation) -> dict[tuple[str, ...], int]:
    """Calls by tenant and agent, as the ledger has them."""
    async with open_store(installation.data / "tierwise.db", max_cache_bytes=1_000_000) as store:
        rows = await store.usage(start=0, end=2**52, group_by=(Dimension.TENANT, Dimension.AGENT))
        return {row.key: row.calls for row in rows}


SAID: list[tuple[Json, tuple[str, str]]] = [
    ({}, ("", "")),
    ({"tenant": "acme"}, ("acme", "")),
    ({"tenant": " acme ", "agent": "reviewer"}, ("acme", "reviewer")),
]


@pytest.mark.parametrize(("arguments", "expected"), SAID)
async def test_the_ledger_keeps_the_tenant_and_agent_of_a_call(
    demo: Installation, arguments: Json, expected: tuple[str, str]
):
    async with demo.client() as client:
        await chat(client, "Hello", **arguments)
    assert await spenders(demo) == {expected: 1}


async def test_the_settings_say_whom_calls_are_for_that_do_not(demo: Installation):
    demo.configure({"usage_tracking": {"tenant": "home", "agent": "desktop"}})
    async with demo.client() as client:
        await chat(client, "Hello")
        await chat(client, "Hello", agent="reviewer")
    assert await spenders(demo) == {("home", "desktop"): 1, ("home", "reviewer"): 1}


async def test_the_command_line_can_say_it_too(demo: Installation):
    assert (await demo.run("chat", "Hello", "--tenant", "acme", "--agent", "shell")).returncode == 0
    assert await spenders(demo) == {("acme", "shell"): 1}
