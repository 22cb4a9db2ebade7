"""A server with more to do than it can: what is cheap answers all the same, and nothing is lost."""

import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import stdio_client

from tests.fake_provider import FakeProvider, cut_mid_stream
from tests.server.harness import (
    Hanging,
    Installation,
    Json,
    call,
    chat,
    refusal,
    structured,
)

pytestmark = pytest.mark.anyio

CROWD = 200
PATIENCE = 60
"""Seconds within which anything that a test waits for must happen."""


@pytest.fixture
def slow(installation: Installation, fake: FakeProvider) -> Hanging:
    """Every call waits for this; four may wait for it at once."""
    installation.configure({"reliability": {"max_concurrent_calls": 4}, "server": {"answer_within": 3000}})
    slow = Hanging()
    fake.always("small", slow)
    return slow


@asynccontextmanager
async def over_stdio(installation: Installation) -> AsyncGenerator[list[Client]]:
    with (installation.folder / "stderr").open("w") as log:
        async with Client(stdio_client(installation.stdio(), log)) as client:
            yield [client]


@asynccontextmanager
async def over_http(installation: Installation) -> AsyncGenerator[list[Client]]:
    """Several clients, because each keeps to a hundred connections."""
    async with (
        installation.process("serve", "--transport", "http", "--port", "0") as server,
        AsyncExitStack() as stack,
    ):
        line = await server.logged("Serving MCP at http://")
        url = line[line.index("http://") :]
        yield [await stack.enter_async_context(Client(url)) for _ in range(5)]


Connect = Callable[[Installation], AbstractAsyncContextManager[list[Client]]]


@pytest.mark.parametrize("connect", [over_stdio, over_http])
async def test_cheap_tools_answer_while_two_hundred_chats_wait(
    installation: Installation, fake: FakeProvider, slow: Hanging, connect: Connect
):
    receipts: list[Json] = []

    async def ask(client: Client, number: int) -> None:
        receipts.append(await chat(client, f"Question number {number}", tier="simple"))

    with anyio.fail_after(2 * PATIENCE):
        async with connect(installation) as clients, anyio.create_task_group() as tasks:
            first, *others = clients
            for number in range(CROWD):
                tasks.start_soon(ask, (others or clients)[number % len(others or clients)], number)
            await slow.arrived.wait()
            assert structured(await first.call_tool("today_usage"))["calls"] == 0
            assert structured(await first.call_tool("list_models"))["models"]
            assert structured(await first.call_tool("analyze_complexity", {"prompt": "Hello"}))
            assert receipts == []
            assert fake.open_requests <= 4
            slow.released.set()
    assert len({receipt["call_id"] for receipt in receipts}) == CROWD
    assert len(fake.requests) == CROWD
    spent = await installation.ledger()
    assert (spent["calls"], spent["failed_calls"]) == (CROWD, 0)


async def test_a_call_too_many_is_told_when_to_come_back(installation: Installation, slow: Hanging):
    installation.configure({"reliability": {"max_concurrent_calls": 1, "max_queued_calls": 0}})
    async with installation.client() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(chat, client, "Hello")
        await slow.arrived.wait()
        said = refusal(await client.call_tool("chat", {"prompt": "Hello there"}))
        assert said.startswith("busy: 1 requests are under way and 0 calls wait already; retry in ")
        slow.released.set()
    spent = await installation.ledger()
    assert (spent["calls"], spent["failed_calls"]) == (2, 1)


@pytest.mark.parametrize("how", ["end of file", "SIGTERM"])
async def test_calls_that_wait_when_the_server_ends_are_all_on_record(
    installation: Installation, fake: FakeProvider, slow: Hanging, how: str
):
    installation.configure({"budgets": [{"name": "all", "period": "day", "limit_usd": 1000}]})
    async with installation.process() as server:
        await server.handshake()
        for number in range(1, 41):
            await server.send(call(number, "chat", prompt=f"Question number {number}", tier="simple"))
        with anyio.fail_after(PATIENCE):
            await slow.arrived.wait()
        await server.send(call(99, "today_usage"))
        await server.answer_to(99)
        if how == "end of file":
            await server.close_stdin()
        else:
            server.child.send_signal(signal.SIGTERM)
        assert await server.ended(within=PATIENCE) == 0
        with anyio.fail_after(PATIENCE):
            await slow.left.wait()
        assert "Traceback" not in server.stderr
    installation.configure({"server": {"toolset": "full"}})
    async with installation.client() as client:
        spent = structured(await client.call_tool("today_usage"))
        [budget] = structured(await client.call_tool("budget_status"))["budgets"]
    assert (spent["calls"], spent["cancelled_calls"]) == (40, 40)
    assert budget["reserved_usd"] == 0
    assert budget["spent_usd"] == pytest.approx(spent["cost"])


async def test_one_who_watches_sees_that_a_broken_answer_starts_over(
    installation: Installation, fake: FakeProvider
):
    told: list[str | None] = []
    second = Hanging("A whole ")
    fake.always("small", cut_mid_stream(3))
    fake.always("standard", second)

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)
        if message and "A whole" in message:
            second.released.set()

    async with installation.client() as client:
        with anyio.fail_after(PATIENCE):
            answer = await client.call_tool(
                "chat", {"prompt": "Hello", "tier": "simple"}, progress_callback=on_progress
            )
    assert told[-1] == "(fake/small broke off; fake/standard starts over.)\nA whole "
    receipt = structured(answer)
    assert receipt["content"] == "A whole the end"
    assert [tried["outcome"] for tried in receipt["attempts"]] == ["connection_failed", "ok"]
