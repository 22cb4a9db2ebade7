"""The server as a process on a pipe, which is how hosts run it."""

import json
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp_types import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR

from tests import fake_provider
from tests.fake_provider import FakeProvider
from tests.server.harness import (
    CLIENT,
    COMMAND,
    ERAS,
    KEY,
    PATHS,
    VERSIONS,
    Era,
    Hanging,
    Installation,
    Json,
    Process,
    call,
    chat,
    refusal,
    request,
    structured,
)

pytestmark = pytest.mark.anyio

NOISE = """
import atexit, importlib.abc, os, sys

class Noisy(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("mcp", "litellm"):
            print("noise of a print at the import of", name)
            os.write(1, b"noise of a write\\n")
            os.system("echo noise of a child")

sys.meta_path.insert(0, Noisy())
atexit.register(print, "noise at the end")
"""
"""As `sitecustomize`, it does what libraries do at their worst."""


@asynccontextmanager
async def client_of(installation: Installation, era: Era = "auto") -> AsyncGenerator[Client]:
    with anyio.fail_after(30), (installation.folder / "stderr").open("w") as log:
        async with Client(stdio_client(installation.stdio(), log), mode=era) as client:
            yield client


@pytest.mark.parametrize("era", ERAS)
async def test_both_eras_are_served_over_stdio(demo: Installation, era: Era):
    async with client_of(demo, era) as client:
        assert client.protocol_version == VERSIONS[era]
        assert client.server_info
        assert client.server_info.name == "tierwise"
        assert (await chat(client))["model"] == "demo/small"
        assert structured(await client.call_tool("today_usage"))["calls"] == 1


def assert_nothing_but_messages(stdout: bytes) -> list[Json]:
    messages = [json.loads(line) for line in stdout.splitlines()]
    assert all(message["jsonrpc"] == "2.0" for message in messages)
    return messages


async def test_nothing_but_messages_reaches_stdout_and_nowhere_does_the_key(
    installation: Installation, fake: FakeProvider, tmp_path: Path
):
    (tmp_path / "sitecustomize.py").write_text(NOISE)
    installation.environ |= {"PYTHONPATH": f"{tmp_path}:{PATHS}", "LITELLM_LOG": "DEBUG"}
    installation.configure({"server": {"log_level": "debug"}})
    for model in ("standard", "large"):
        fake.always(model, fake_provider.refusal(401, f"Incorrect API key provided: {KEY}"))
    async with installation.process() as server:
        await server.handshake()
        await server.send(call(1, "chat", prompt="Hello"))
        assert not (await server.answer_to(1))["result"]["isError"]
        await server.send(call(2, "chat", prompt="Hello", tier="standard"))
        assert (await server.answer_to(2))["result"]["isError"]
        await server.send(call(3, "list_models"))
        await server.answer_to(3)
        await server.close_stdin()
        assert await server.ended(within=10) == 0
        assert [message["id"] for message in assert_nothing_but_messages(server.stdout)] == [0, 1, 2, 3]
    for noise in ("of a print at the import of litellm", "of a write", "of a child", "at the end"):
        assert f"noise {noise}\n" in server.stderr
    everything = server.stdout + server.stderr.encode() + installation.stored()
    assert b"fake/small" in everything
    assert KEY.encode() not in everything


async def test_garbage_on_stdin_is_survived(demo: Installation):
    async with demo.process() as server:
        await server.handshake()
        await server.send(
            b"this is no JSON",
            b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId',
            b"\xff\xfe\x00",
            b"",
            b"[]",
            b"null",
            b'{"jsonrpc": "2.0"}',
            b"[" * 100_000,
            b"[" * 100_000 + rb'"\ud800"',
            b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}',
            b'{"jsonrpc": "2.0", "id": 9, "error": {}}',
            b'{"jsonrpc": "2.0", "method": "ping", "id": 12',
            rb'{"' + rb"\"" * 500_000,
        )
        await server.send(request(1, "no/such/method"))
        answer = await server.receive()
        assert (answer["id"], answer["error"]["code"]) == (1, METHOD_NOT_FOUND)
        await server.send(request(2, "tools/call"))
        assert (await server.answer_to(2))["error"]["code"] == INVALID_PARAMS
        await server.send(call(3, "chat", prompt="Hello"))
        assert not (await server.answer_to(3))["result"]["isError"]
        assert_nothing_but_messages(server.stdout)


HALVES = (
    rb'{"name": "chat", "arguments": {"prompt": "half \ud800 of a pair"}}',
    rb'{"name": "chat", "arguments": {"prompt": "hi", "\udfff": 1}}',
    rb'{"name": "\ud800", "arguments": {}}',
)


async def test_half_of_a_surrogate_pair_is_refused_in_a_sentence_and_sigint_ends_the_server(
    demo: Installation,
):
    async with demo.process() as server:
        await server.handshake()
        for number, parameters in enumerate(HALVES, start=1):
            await server.send(
                b'{"jsonrpc": "2.0", "id": %d, "method": "tools/call", "params": %s}' % (number, parameters)
            )
        await server.send(
            rb'{"jsonrpc": "2.0", "id": 9, "method": "resources/read", "params": {"uri": "\ud800"}}'
        )
        for number in (*range(1, len(HALVES) + 1), 9):
            assert "half of a surrogate pair" in (await server.answer_to(number))["error"]["message"]
        await server.send(call(10, "chat", prompt="whole: \N{GRINNING FACE}"))
        assert not (await server.answer_to(10))["result"]["isError"]
        assert_nothing_but_messages(server.stdout)
        await end(server, "SIGINT")
        assert await server.ended(within=5) == 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"jsonrpc": "2.0", "id": 1}', INVALID_REQUEST),
        (b'{"id": 1, "method": "ping"}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [{"id": 2}]}', INVALID_REQUEST),
        (b'{"method": "ping", "params": {"id": 2, "n": ' + b"9" * 5000 + b'}, "id": 1}', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": ' + b"[" * 5000, PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "par', PARSE_ERROR),
    ],
)
async def test_a_request_that_cannot_be_taken_is_answered_under_its_id(
    demo: Installation, line: bytes, code: int
):
    async with demo.process() as server:
        await server.handshake()
        await server.send(rb'{"id": "\u2603"}')
        assert (await server.receive())["id"] == "\N{SNOWMAN}"
        await server.send(line, request(3, "ping"))
        refused = await server.receive()
        assert (refused["id"], refused["error"]["code"]) == (1, code)
        assert await server.receive() == {"jsonrpc": "2.0", "id": 3, "result": {}}


async def test_a_host_that_no_longer_reads_ends_the_server(demo: Installation):
    ours, theirs = os.pipe()
    with (demo.folder / "stderr").open("w+") as log, anyio.fail_after(30):
        async with await anyio.open_process(
            [*COMMAND], stdout=theirs, stderr=log, env=demo.variables
        ) as child:
            os.close(theirs)
            os.close(ours)
            assert child.stdin
            hello = request(0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=CLIENT)
            await child.stdin.send(json.dumps(hello).encode() + b"\n")
            assert await child.wait() == 0
        log.seek(0)
        assert "Traceback" not in log.read()


async def end(server: Process, how: str) -> None:
    if how == "end of file":
        await server.close_stdin()
    else:
        server.child.send_signal(getattr(signal, how))


@pytest.mark.parametrize("how", ["end of file", "SIGTERM"])
async def test_the_server_ends_at_once_and_what_was_in_flight_is_recorded(
    installation: Installation, fake: FakeProvider, how: str
):
    slow = Hanging("Once ", "upon ")
    fake.always("large", slow)
    async with installation.process() as server:
        await server.handshake()
        await server.send(call(1, "chat", prompt="Hello", tier="complex"))
        with anyio.fail_after(30):
            await slow.arrived.wait()
        await end(server, how)
        code = await server.ended(within=5)
        with anyio.fail_after(5):
            await slow.left.wait()
        assert "Traceback" not in server.stderr
    spent = await installation.ledger()
    assert code == 0
    assert (spent["calls"], spent["cancelled_calls"]) == (1, 1)
    assert spent["cost"] > 0


async def test_a_settings_file_that_is_broken_is_told_in_every_answer(demo: Installation):
    demo.configure({"server": {"anwser_within": 5}})
    async with client_of(demo) as client:
        assert len((await client.list_tools()).tools) == 7
        for tool in ("chat", "today_usage"):
            said = refusal(await client.call_tool(tool, {"prompt": "Hello"}))
            assert f"{demo.config}, line " in said
            assert "the nearest is server.answer_within" in said


async def test_a_data_folder_that_cannot_be_used_is_told_in_every_answer(demo: Installation):
    demo.data.write_text("this is a file, not a folder")
    async with client_of(demo, "legacy") as client:
        said = refusal(await client.call_tool("chat", {"prompt": "Hello"}))
    assert "TIERWISE_DATA_DIR" in said
    assert str(demo.data) in said


async def test_files_in_place_of_pipes_are_served_too(demo: Installation):
    lines = [
        request(0, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=CLIENT),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        call(1, "analyze_complexity", prompt="Hello"),
    ]
    said, out = demo.folder / "in", demo.folder / "out"
    said.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with anyio.fail_after(30), said.open("rb") as stdin, out.open("wb") as stdout:
        await anyio.run_process([*COMMAND], stdin=stdin, stdout=stdout, env=demo.variables)
    assert [message["id"] for message in assert_nothing_but_messages(out.read_bytes())] == [0, 1]
