"""The server as a process behind HTTP: streamable HTTP at /mcp, and the older HTTP+SSE at /sse."""

import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.sse import sse_client

from tests.fake_provider import FakeProvider
from tests.server.harness import (
    CLIENT,
    ERAS,
    VERSIONS,
    Era,
    Hanging,
    Installation,
    Json,
    Process,
    chat,
    keyless,
    request,
    structured,
)

pytestmark = pytest.mark.anyio

JSON_AND_EVENTS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


async def address(server: Process) -> str:
    """What the server says that it listens on."""
    line = await server.logged("Serving MCP at http://")
    return line[line.index("http://") :]


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Of one streamable-HTTP server for all tests that leave it as it is."""
    installation = Installation(tmp_path_factory.mktemp("http"), keyless())
    async with installation.process("serve", "--transport", "http", "--port", "0") as server:
        yield await address(server)


async def post(url: str, message: Json | bytes, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=20) as client:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await client.post(url, content=body, headers=JSON_AND_EVENTS | headers)


MODERN = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "chat"}


def modern_call(parameters: bytes) -> bytes:
    """A `tools/call` of 2026-07-28, which needs no session."""
    meta = {"protocolVersion": "2026-07-28", "clientInfo": CLIENT, "clientCapabilities": {}}
    prefixed = json.dumps({f"io.modelcontextprotocol/{key}": value for key, value in meta.items()})
    shape = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"_meta": %s, %s}}'
    return shape % (prefixed.encode(), parameters)


def opening() -> Json:
    return request(0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=CLIENT)


@pytest.mark.parametrize("era", ERAS)
async def test_both_eras_are_served_over_http_with_progress(url: str, era: Era):
    told: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    with anyio.fail_after(30):
        async with Client(url, mode=era) as client:
            assert client.protocol_version == VERSIONS[era]
            assert len((await client.list_tools()).tools) == 7
            answer = await client.call_tool("chat", {"prompt": "Hello"}, progress_callback=on_progress)
    assert structured(answer)["model"] == "demo/small"


async def test_a_foreign_host_or_origin_is_refused(url: str):
    assert (await post(url, opening())).status_code == 200
    assert (await post(url, opening(), Host="evil.example")).status_code == 421
    assert (await post(url, opening(), Origin="http://evil.example")).status_code == 403


async def test_healthz_says_that_the_server_is_up(url: str):
    async with httpx2.AsyncClient() as client:
        response = await client.get(url.replace("/mcp", "/healthz"))
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "body",
    [
        b"this is no JSON",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        rb'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "\ud800"}}',
    ],
    ids=["text", "no UTF-8", "an empty batch", "deep", "half of a surrogate pair"],
)
async def test_garbage_is_refused_and_survived(url: str, body: bytes):
    refused = await post(url, body)
    assert 400 <= refused.status_code < 500
    assert "Traceback" not in refused.text
    assert (await post(url, opening())).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (rb'{"prompt": "half \ud800 of a pair"}', "`prompt` holds half of a surrogate pair"),
        (rb'{"prompt": "hi", "\udfff": 1}', "the name of each argument must be text."),
    ],
    ids=["in the prompt", "in the name of an argument"],
)
async def test_half_of_a_surrogate_pair_is_answered_with_an_error(url: str, arguments: bytes, sentence: str):
    answer = await post(url, modern_call(b'"name": "chat", "arguments": ' + arguments), **MODERN)
    result = answer.json()["result"]
    assert result["isError"]
    assert result["content"][0]["text"].startswith(sentence)


async def test_both_eras_are_served_over_sse_and_sigint_ends_it(demo: Installation):
    async with demo.process("serve", "--transport", "sse", "--port", "0") as server:
        url = await address(server)
        assert url.endswith("/sse")
        for era in ERAS:
            with anyio.fail_after(30):
                async with Client(sse_client(url), mode=era) as client:
                    assert client.protocol_version == VERSIONS[era]
                    assert (await chat(client))["model"] == "demo/small"
        server.child.send_signal(signal.SIGINT)
        assert await server.ended(within=8) == 0


async def test_sigterm_ends_the_http_server_and_records_what_was_in_flight(
    installation: Installation, fake: FakeProvider
):
    slow = Hanging()
    fake.always("small", slow)
    async with installation.process("serve", "--transport", "http", "--port", "0") as server:
        url = await address(server)

        async def ask() -> None:
            with suppress(httpx2.HTTPError):  # the server cuts it short
                await post(url, modern_call(b'"name": "chat", "arguments": {"prompt": "Hello"}'), **MODERN)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            with anyio.fail_after(30):
                await slow.arrived.wait()
            server.child.send_signal(signal.SIGTERM)
            assert await server.ended(within=8) == 0
    spent = await installation.ledger()
    assert (spent["calls"], spent["cancelled_calls"]) == (1, 1)


async def test_a_port_that_is_taken_ends_the_server_with_an_error(demo: Installation):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await demo.run("serve", "--transport", "http", "--port", port)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: Cannot listen on 127.0.0.1, port {port}: ".encode())
    assert b"--port" in ended.stderr
    assert b"Traceback" not in ended.stderr
