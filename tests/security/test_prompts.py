"""What people ask is on no disk and in no log; what models answer is in the cache alone, if it is on."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import anyio
import httpx2
import pytest

from tests import fake_provider
from tests.fake_provider import Behaviour, FakeProvider, ToolCall
from tests.security.canaries import files, secret, traces
from tests.security.test_http_token import LOOPBACK, serving
from tests.server.harness import MARKS, Hanging, Installation, Json, Process, call, request
from tests.storage.samples import NOON, answer
from tierwise.storage.sqlite.store import open_store

pytestmark = MARKS

KINDS = ("prompt", "history", "system", "schema", "tool", "arguments", "result", "answer")
TEXTS = {kind: f"Tell me of {secret(kind)} and nothing else." for kind in KINDS}
ASKED = tuple(kind for kind in KINDS if kind != "answer")


@pytest.fixture
def contained(installation: Installation) -> Installation:
    """An installation whose files are all in its folder."""
    temporary = installation.folder / "tmp"
    temporary.mkdir()
    installation.environ["TMPDIR"] = str(temporary)
    installation.configure({"server": {"toolset": "full", "answer_within": 30}})
    return installation


def found(*outputs: bytes) -> dict[str, set[str]]:
    """The texts that are in any of the outputs, with their forms."""
    joined = b"\n".join(outputs)
    return {kind: forms for kind in KINDS if (forms := traces(secret(kind), joined))}


def chats() -> Iterator[Json]:
    """Everything that a chat can carry."""
    prompt = TEXTS["prompt"]
    yield {"prompt": prompt}
    yield {"prompt": prompt}
    yield {"prompt": prompt, "tier": "complex", "system_prompt": TEXTS["system"], "use_cache": False}
    yield {"prompt": prompt, "history": [{"role": "user", "content": TEXTS["history"]}, *_answered()]}
    yield {"prompt": prompt, "strategy": "cascade", "conversation_id": "c"}
    yield {"prompt": prompt, "conversation_id": "c", "max_tokens": 7}
    yield {"prompt": prompt, "response_schema": {"type": "object", "description": TEXTS["schema"]}}
    tool = {"name": "look", "description": TEXTS["tool"], "parameters": {"type": "object"}}
    called = {"role": "assistant", "tool_calls": [{"id": "1", "name": "look", "arguments": _arguments()}]}
    result = {"role": "tool", "tool_call_id": "1", "content": TEXTS["result"]}
    yield {"prompt": prompt, "tools": [tool]}
    yield {"prompt": prompt, "tools": [tool], "history": [called, result]}


def _answered() -> list[Json]:
    return [{"role": "assistant", "content": TEXTS["answer"]}]


def _arguments() -> str:
    return json.dumps({"what": TEXTS["arguments"]})


def behaviours() -> Iterator[Behaviour]:
    """What a provider makes of a prompt: an answer, or an error that quotes it."""
    yield fake_provider.ok(content=TEXTS["answer"])
    yield fake_provider.ok(content=TEXTS["answer"], finish_reason="length")
    yield fake_provider.ok(content=TEXTS["answer"], finish_reason=TEXTS["answer"])
    yield fake_provider.ok(content="", finish_reason=TEXTS["prompt"])
    yield fake_provider.ok(tool_calls=[ToolCall(id=TEXTS["arguments"], name="look", arguments=_arguments())])
    yield fake_provider.fails_mid_stream(2, message=f"near {TEXTS['prompt']}")
    yield fake_provider.cut_mid_stream(3)
    quoted = " / ".join(f"in the middle of it: {text[5:]}" for text in TEXTS.values())
    for code in (400, 404, 413, 500):
        yield fake_provider.refusal(code, quoted)
    yield fake_provider.status(200, f"<html>{quoted}</html>")


async def converse(server: Process, fake: FakeProvider, **more: Any) -> None:
    """Every chat with every outcome, and what may follow a chat."""
    number = 0
    for behaviour in behaviours():
        for arguments in chats():
            number += 1
            for model in ("small", "standard", "large"):
                fake.always(model, behaviour)
            await server.send(request(number, "tools/call", name="chat", arguments=arguments, **more))
            told = await server.answer_to(number)
            if call_id := told["result"].get("structuredContent", {}).get("call_id"):
                await server.send(call(0, "rate_answer", call_id=call_id, verdict="too_weak"))
                await server.answer_to(0)
    asked = {"prompt": TEXTS["prompt"]}
    for tool, arguments in (
        ("analyze_complexity", asked | {"history": [{"role": "user", "content": TEXTS["history"]}]}),
        ("estimate_cost", asked),
        ("compare_models", asked | {"models": ["fake/small", "fake/large"], "max_tokens": 9}),
        ("chat", asked | {"max_cost_usd": 0}),
        ("chat", asked | {"no_such_argument": TEXTS["prompt"]}),
        ("chat", {"prompt": [TEXTS["prompt"]]}),
        (TEXTS["prompt"], {}),
    ):
        await server.send(call(0, tool, **arguments))
        await server.answer_to(0)
    await server.send(
        TEXTS["prompt"].encode(),
        json.dumps(asked).encode(),
        b'{"jsonrpc": "2.0", "id": "' + asked["prompt"].encode(),
    )
    for uri in (TEXTS["prompt"], "usage://export/jsonl/7", "usage://export/csv/7"):
        await server.send(request(0, "resources/read", uri=uri))
        await server.answer_to(0)


@pytest.mark.parametrize(
    ("caching", "streamed"),
    [
        ({}, True),
        ({"enabled": False}, False),
        ({"enabled": False}, True),
        ({"semantic": {"enabled": True}}, False),
    ],
)
async def test_prompts_are_on_no_disk_and_in_no_log_and_answers_in_the_cache_alone(
    contained: Installation, fake: FakeProvider, caching: Json, streamed: bool
):
    if "semantic" in caching and not find_spec("wordllama"):
        pytest.skip("the extra `semantic` is not installed")
    contained.configure({"caching": caching})
    judge = {"judge_model": "fake/large", "min_mean_logprob": None}
    contained.configure({"model_routing": {"cascade": judge}, "litellm": {"max_retries": 1}})
    contained.configure({"budgets": [{"name": "b", "period": "day", "limit_usd": 1e-4, "at_limit": "warn"}]})
    async with contained.process() as server:
        await server.handshake()
        await converse(server, fake, **({"_meta": {"progressToken": "p"}} if streamed else {}))
        while_running = files(contained.folder)
        await server.close_stdin()
        assert await server.ended(within=20) == 0
    cached = caching.get("enabled", True)
    kept = found(while_running, files(contained.folder))
    assert not {*kept}.intersection(ASKED) - ({"arguments"} if cached else set()), kept
    assert ("answer" in kept) == cached  # which also shows that texts are found where they are
    assert found(server.stderr.encode()) == {}
    assert set(ASKED) <= set(found(repr(fake.requests).encode()))


async def test_a_call_that_waits_in_the_spool_is_without_its_prompt_and_answer(
    contained: Installation, fake: FakeProvider
):
    fake.always("small", fake_provider.ok(content=TEXTS["answer"]))
    async with contained.process() as server:
        await server.handshake()
        await server.send(call(1, "today_usage"))
        await server.answer_to(1)
        with sqlite3.connect(contained.data / "tierwise.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            await server.send(call(2, "chat", prompt=TEXTS["prompt"]))
            told = await server.answer_to(2)
            assert "will be written down later" in told["result"]["structuredContent"]["warning"]
            assert list((contained.data / "tierwise.spool").glob("*.json"))
            everything = files(contained.folder)
        other.close()
    assert found(everything, server.stderr.encode()) == {}


async def test_a_server_that_is_killed_in_the_middle_of_an_answer_leaves_nothing_of_it(
    contained: Installation, fake: FakeProvider
):
    slow = Hanging(TEXTS["answer"], TEXTS["answer"])
    fake.always("large", slow)
    async with contained.process() as server:
        await server.handshake()
        await server.send(call(1, "chat", prompt=TEXTS["prompt"], tier="complex"))
        with anyio.fail_after(30):
            await slow.arrived.wait()
        server.child.send_signal(signal.SIGKILL)
        await server.ended(within=10)
    assert found(files(contained.folder), server.stderr.encode()) == {}


async def test_commands_leave_nothing_of_what_they_are_given(contained: Installation, fake: FakeProvider):
    for model in ("small", "standard", "large"):
        fake.always(model, fake_provider.refusal(400, f"not like this: {TEXTS['prompt'][6:]}"))
    labelled = json.dumps({"prompt": TEXTS["prompt"], "tier": "complex"}).encode() + b"\n"
    outputs: list[bytes] = []
    for arguments in (
        ("chat", TEXTS["prompt"], "--system", TEXTS["system"]),
        ("chat", "-"),
        ("analyze", TEXTS["prompt"]),
        ("analyze", "--jsonl"),
        ("tune", "/dev/stdin"),
        ("eval", "/dev/stdin"),
        ("eval", "--from-outcomes"),
        ("outcomes", "export"),
        ("export",),
    ):
        ended = await contained.run(*arguments, stdin=labelled * 20)
        outputs.append(ended.stdout if arguments[0] in ("export", "outcomes") else b"")
    assert found(files(contained.folder), *outputs) == {}


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_request_that_cannot_be_understood_is_not_quoted_in_the_log(
    demo: Installation, transport: Any
):
    async with serving(demo, transport, *LOOPBACK) as (server, url), httpx2.AsyncClient() as client:
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        if transport == "sse":
            async with client.stream("GET", f"{url}/sse") as stream:
                lines = stream.aiter_lines()
                while not (line := await anext(lines)).startswith("data: "):
                    pass
                await garble(client, url + line.removeprefix("data: "), headers)
        else:
            await garble(client, f"{url}/mcp", headers)
        stderr = server.stderr.encode()
    assert found(stderr, files(demo.folder)) == {}


async def garble(client: httpx2.AsyncClient, url: str, headers: dict[str, str]) -> None:
    prompt = TEXTS["prompt"]
    for body in (
        prompt.encode(),
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": prompt, "params": {"prompt": prompt}}).encode(),
        json.dumps({"jsonrpc": prompt, "id": {"prompt": prompt}, "method": 1}).encode(),
        json.dumps(request(1, "tools/call", name="chat", arguments=prompt)).encode(),
        json.dumps(request(1, "initialize", protocolVersion=prompt, capabilities=prompt)).encode(),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": prompt}).encode(),
        b"\xff" + prompt.encode(),
    ):
        for more in (
            {},
            {"Mcp-Session-Id": prompt},
            {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": prompt},
        ):
            assert (await client.post(url, content=body, headers=headers | more)).status_code < 500


@pytest.mark.parametrize("how", ["expired", "replaced", "crowded out"])
async def test_an_answer_that_is_gone_from_the_cache_is_gone_from_the_file(
    installation: Installation, how: str
):
    path = installation.data / "tierwise.db"
    kept = answer("one", content=TEXTS["answer"] * 100)
    async with open_store(path, max_cache_bytes=20_000) as store:
        await store.keep_answer(kept)
        if how == "expired":
            assert await store.purge_answers(now=NOON * 2) == 1
        elif how == "replaced":
            await store.keep_answer(answer("one", content="short"))
        else:
            await store.keep_answer(answer("two", content="x" * 19_000))
    assert found(path.read_bytes()) == {}
