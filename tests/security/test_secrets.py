"""Keys, tokens and secrets go to whom they are for, and are in nothing else that leaves the process."""

import base64
import html
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx2
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fake_provider
from tests.fake_provider import Behaviour, Exchange, FakeProvider
from tests.security.canaries import files, secret, traces
from tests.security.test_http_token import LOOPBACK, TOKEN, VARIABLE, ask, serving
from tests.server.harness import KEY_VARIABLE, MARKS, Installation, Json, call, request
from tests.server.test_alerts import HALVED, Webhook
from tierwise.routing.keys import MASK, Redactor, secrets_in
from tierwise.server.configuration import load_settings
from tierwise.server.errors import ConfigurationError

pytestmark = MARKS

PROVIDERS = {
    "fake": KEY_VARIABLE,
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "odd": "ODD_ONE",
}
"""Each with the variable of its key; the last is named in the environment, for it does not look like one."""
BYSTANDERS = ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "MY_PASSWORD", "HOOK_SECRET")
CANARIES = {name: secret(name) for name in (*PROVIDERS.values(), *BYSTANDERS)} | {VARIABLE: TOKEN}
PROMPT = "Hello"


@pytest.fixture
def planted(installation: Installation, fake: FakeProvider) -> Installation:
    """With a canary in every variable, and folders of its own for whatever libraries may write."""
    temporary = installation.folder / "tmp"
    temporary.mkdir()
    installation.environ |= {
        **CANARIES,
        "TIERWISE_LITELLM__PROVIDERS__ODD__API_KEY_ENV": "ODD_ONE",
        "TMPDIR": str(temporary),
        "LITELLM_LOG": "DEBUG",
    }
    bases = {"anthropic": fake.anthropic_url, "gemini": fake.gemini_url, "odd": fake.url}
    installation.configure(
        {
            "litellm": {"providers": {name: {"api_base": base} for name, base in bases.items()}},
            "server": {"log_level": "debug", "toolset": "full"},
        }
    )
    return installation


def leaks(*outputs: bytes) -> dict[str, set[str]]:
    """The canaries that are in any of the outputs, with their forms."""
    found = {name: traces(canary, b"\n".join(outputs)) for name, canary in CANARIES.items()}
    return {name: forms for name, forms in found.items() if forms}


def echoes(key: str) -> Iterator[str]:
    """How providers repeat a key in what they say of an error."""
    middle = "*" * 20
    yield f"Incorrect API key provided: {key}. You can find yours at https://example.com/keys."
    yield f"Incorrect API key provided: {key[:8]}{middle}{key[-4:]}."
    yield f"Incorrect API key provided: sk-abc***xyz, {key[:9]}…{key[-9:]}"
    yield f"Your key {key[:16]}... is wrong"
    yield f"The key that ends in {key[-12:]} has expired"
    yield f"Authorization: Bearer {key}"
    yield f"Authorization: Basic {base64.b64encode(f'user:{key}'.encode()).decode()}"
    yield base64.urlsafe_b64encode(key.encode()).decode()
    yield f"GET /v1?key={quote(key, safe='')} failed"
    yield json.dumps({"headers": {"x-api-key": key}})
    yield f"<p>{html.escape(key)}</p> {key}"
    yield f"key 0x{key.encode().hex()}"
    yield "x" * 110 + key
    yield "x" * 1990 + key
    yield f"{PROMPT} was sent with {key}"


def failures(key: str) -> Iterator[Behaviour]:
    """Every way to fail that can carry the key."""
    for text in echoes(key):
        for code in (400, 401, 403, 404, 429, 500):
            yield fake_provider.refusal(code, text)
        yield fake_provider.status(401, f"<html>{text}</html>")
        yield fake_provider.status(200, text)
        yield fake_provider.fails_mid_stream(1, message=text)
    yield fake_provider.status(401, {"detail": {"token": key}}, {"WWW-Authenticate": f'Bearer realm="{key}"'})
    yield fake_provider.status(429, {"error": key}, {"retry-after": key, "x-request-id": key})
    yield fake_provider.status(200, {"choices": [{"message": {"content": None}, "finish_reason": key}]})
    yield fake_provider.ok(content="", finish_reason=key)
    yield _broken_event(key)


def _broken_event(key: str) -> Behaviour:
    async def answer(exchange: Exchange) -> web.StreamResponse:
        if not exchange.streams:
            return web.Response(text=f'{{"choices": "{key}', content_type="application/json")
        await exchange.event(f'{{"choices": [{{"delta": {{"content": "{key}')
        return exchange.events

    return answer


@pytest.mark.parametrize("streamed", [False, True])
async def test_no_failure_of_a_provider_that_repeats_the_key_lets_it_out(
    planted: Installation, fake: FakeProvider, streamed: bool
):
    meta = {"_meta": {"progressToken": "p"}} if streamed else {}
    async with planted.process() as server:
        await server.handshake()
        number = 0
        for provider, variable in PROVIDERS.items():
            for failure in failures(CANARIES[variable]):
                number += 1
                fake.next("small", failure)
                arguments = {"prompt": f"{PROMPT} {number}", "model": f"{provider}/small"}
                await server.send(request(number, "tools/call", name="chat", arguments=arguments, **meta))
                await server.answer_to(number)
        for tool in ("list_models", "usage_summary", "budget_status"):
            await server.send(call(0, tool))
            await server.answer_to(0)
        await server.close_stdin()
        assert await server.ended(within=20) == 0
    assert leaks(server.stdout, server.stderr.encode(), files(planted.folder)) == {}
    assert MASK in server.stdout.decode()
    assert_each_key_went_to_its_provider_alone(fake)


def assert_each_key_went_to_its_provider_alone(fake: FakeProvider) -> None:
    seen: set[str] = set()
    for sent in fake.requests:
        headers = json.dumps(sent.headers)
        carried = {name for name, canary in CANARIES.items() if json.dumps(canary)[1:-1] in headers}
        assert len(carried) == 1
        seen |= carried
        assert leaks(json.dumps([sent.path, sent.query, sent.json]).encode()) == {}
    assert seen == set(PROVIDERS.values())


async def test_no_key_is_in_what_a_call_that_works_leaves_behind(planted: Installation, fake: FakeProvider):
    async with Webhook().listening() as webhook:
        told = planted.folder / "told"
        script = "import os, sys; open(sys.argv[1], 'w').write(sys.stdin.read() + repr(os.environ))"
        alerts = {"webhook": webhook.url, "webhook_secret_env": "HOOK_SECRET"}
        planted.configure({"alerts": {**alerts, "command": [sys.executable, "-c", script, str(told)]}})
        planted.configure({"budgets": [HALVED | {"limit_usd": 1e-6}]})
        async with planted.process() as server:
            await server.handshake()
            for number, (tool, arguments) in enumerate(everything(), start=1):
                await server.send(request(number, "tools/call", name=tool, arguments=arguments))
                await server.answer_to(number)
            for number, uri in enumerate(resources(), start=100):
                await server.send(request(number, "resources/read", uri=uri))
                await server.answer_to(number)
            await webhook.heard()
            await server.close_stdin()
            assert await server.ended(within=20) == 0
    handed_over = told.read_text()
    assert '"event": "budget_threshold"' in handed_over
    assert "AWS_SECRET_ACCESS_KEY" in handed_over  # which is the user's own, as any program inherits it
    told.unlink()
    keys = {
        name: canary
        for name, canary in CANARIES.items()
        if name in (*PROVIDERS.values(), VARIABLE, "HOOK_SECRET")
    }
    assert [name for name, canary in keys.items() if traces(canary, handed_over.encode())] == []
    assert leaks(server.stdout, server.stderr.encode(), files(planted.folder), *webhook.bodies) == {}
    assert leaks(str(webhook.signatures).encode()) == {}
    assert_each_key_went_to_its_provider_alone(fake)


def everything() -> Sequence[tuple[str, Json]]:
    """Calls of every tool that get an answer."""
    chats = [{"prompt": PROMPT, "model": f"{provider}/small", "max_tokens": 50} for provider in PROVIDERS]
    return [
        *(("chat", arguments) for arguments in chats),
        ("analyze_complexity", {"prompt": PROMPT}),
        ("usage_summary", {"group_by": "provider"}),
        ("today_usage", {}),
        ("list_models", {}),
        ("budget_status", {}),
        ("set_budget", {"name": "other", "period": "day", "limit_usd": 1}),
        ("estimate_cost", {"prompt": PROMPT}),
        ("compare_models", {"prompt": PROMPT, "models": ["fake/small", "odd/small"], "max_tokens": 50}),
        ("chat_result", {"call_id": "none"}),
        ("no_such_tool", {}),
    ]


def resources() -> Sequence[str]:
    return [
        *("usage://today", "usage://summary/7", "usage://timeseries/daily/7", "usage://savings/7"),
        *(
            "usage://export/csv/7",
            "usage://export/jsonl/7",
            "usage://budget/all",
            "models://list",
            "health://providers",
        ),
        *("routing://rules", "nothing://there"),
    ]


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_no_key_is_in_what_goes_over_http(planted: Installation, fake: FakeProvider, transport: Any):
    fake.always("large", fake_provider.refusal(401, f"Incorrect API key provided: {CANARIES[KEY_VARIABLE]}"))
    sent: list[bytes] = []
    async with serving(planted, transport, *LOOPBACK) as (server, url):
        for method, path in (("POST", "/mcp"), ("GET", "/sse"), ("POST", "/messages/"), ("GET", "/healthz")):
            for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}x"}):
                for more in ({}, {"Host": "evil.example"}, {"Origin": "http://evil.example"}):
                    answer = await ask(url, method, path, headers | more)
                    sent.append(
                        repr(answer.headers.raw).encode()
                        + (answer.content if answer.is_stream_consumed else b"")
                    )
        if transport == "http":
            sent += [await chat_over_http(url, tier) for tier in ("simple", "complex")]
            assert MASK.encode() in sent[-1]
        stderr = server.stderr.encode()
    assert leaks(*sent, stderr, files(planted.folder)) == {}
    assert traces(TOKEN, repr(fake.requests).encode()) == set()


async def chat_over_http(url: str, tier: str) -> bytes:
    """Head and body of the answer."""
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "chat",
    }
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    arguments = {"prompt": PROMPT, "tier": tier}
    body = request(1, "tools/call", name="chat", arguments=arguments, _meta=meta)
    async with httpx2.AsyncClient(timeout=30) as client:
        answer = await client.post(f"{url}/mcp", json=body, headers=headers)
    assert answer.status_code == 200
    return repr(answer.headers.raw).encode() + answer.content


COMMANDS = [
    ("chat", PROMPT),
    ("chat", PROMPT, "--tier", "complex"),
    ("chat", PROMPT, "--model", CANARIES[KEY_VARIABLE]),
    ("models",),
    ("models", "--json"),
    ("usage",),
    ("export",),
    ("outcomes", "export"),
    ("budget", "list"),
    ("check",),
    ("doctor",),
    ("doctor", "--json"),
    ("analyze", PROMPT, "--json"),
    ("serve", "--transport", "http", "--host", "no.such.host.invalid"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:4])[:40])
async def test_no_command_prints_a_key(planted: Installation, fake: FakeProvider, arguments: tuple[str, ...]):
    fake.always("large", fake_provider.refusal(401, f"Incorrect API key provided: {CANARIES[KEY_VARIABLE]}"))
    ended = await planted.run(*arguments)
    assert leaks(ended.stdout, ended.stderr, files(planted.folder)) == {}


# Errors that nobody foresaw

SABOTAGE = """
import asyncio, os, runpy, sys, threading, warnings
import tierwise.routing.engine as engine, tierwise.server.resources as resources

def boom(*arguments, **named):
    raise RuntimeError(os.environ["FAKE_API_KEY"] + repr(arguments) + repr(named))

async def task():
    boom("a task")

def plan(*arguments, **named):
    warnings.warn("warning " + os.environ["FAKE_API_KEY"])
    Unraisable()
    thread = threading.Thread(target=boom)
    thread.start()
    thread.join()
    asyncio.get_running_loop().create_task(task())
    asyncio.get_running_loop().call_soon(boom, "a callback")
    boom(*arguments, **named)

class Unraisable:
    __del__ = boom

engine.plan = plan
resources.usage.today_usage = boom
sys.argv = ["tierwise", *sys.argv[1:]]
runpy.run_module("tierwise.server.cli", run_name="__main__")
"""
"""Whatever happens in the process, it goes wrong with the key in the text of the error."""


@pytest.mark.parametrize("level", ["warning", "debug"])
async def test_an_error_that_nobody_foresaw_tells_where_and_shows_no_key(planted: Installation, level: str):
    planted.configure({"server": {"log_level": level}})
    async with sabotaged(planted, "serve") as server:
        await server.handshake()
        await server.send(call(1, "chat", prompt="canary in the prompt"))
        said = (await server.answer_to(1))["result"]
        await server.send(request(2, "resources/read", uri="usage://today"))
        also = (await server.answer_to(2))["error"]
        await server.close_stdin()
        assert await server.ended(within=20) == 0
    assert "tierwise itself failed" in said["content"][0]["text"]
    assert "tierwise itself failed" in also["message"]
    stderr = server.stderr
    assert (
        stderr.count("builtins.RuntimeError") >= 5
    )  # the tool, the resource, the thread, the task, the callback
    assert ", in boom" in stderr
    assert leaks(server.stdout, stderr.encode(), files(planted.folder)) == {}
    assert ("canary in the prompt" in stderr) == (level == "debug")
    assert MASK in stderr or level == "warning"


@pytest.mark.parametrize("level", ["warning", "debug"])
async def test_a_command_that_dies_of_an_unforeseen_error_shows_no_key(planted: Installation, level: str):
    planted.configure({"server": {"log_level": level}})
    with anyio.fail_after(60):
        ended = await anyio.run_process(
            [sys.executable, "-c", SABOTAGE, "chat", "canary in the prompt"],
            env=planted.variables,
            cwd=planted.folder,
            check=False,
        )
    assert ended.returncode == 1
    assert b"CRITICAL tierwise.server.logs: tierwise itself failed; please report it." in ended.stderr
    assert b"builtins.RuntimeError" in ended.stderr
    assert leaks(ended.stdout, ended.stderr) == {}
    assert (b"canary in the prompt" in ended.stderr) == (level == "debug")


def sabotaged(installation: Installation, *arguments: str) -> Any:
    return installation.process(*arguments, command=(sys.executable, "-c", SABOTAGE))


# Settings that are wrong


def places(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of the example that other tools' users bring along."""
    for key, value in tree.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


EXAMPLE: Json = json.loads(Path(__file__).parents[1].joinpath("server", "api.json").read_text("utf-8"))
PASTED = ["sk-proj-Abc123Def456Ghi789", "AIzaSyA1234567890abcdefghijklmnop", CANARIES[KEY_VARIABLE]]


@pytest.mark.parametrize("key", PASTED)
@pytest.mark.parametrize("place", list(places(EXAMPLE)), ids=".".join)
def test_a_key_that_was_pasted_anywhere_into_the_settings_is_in_no_complaint(
    tmp_path: Path, place: tuple[str, ...], key: str
):
    *above, last = place
    for tampered in ({last: key}, {key: key}, {last: {key: key}}, {last: [key]}):
        tree = json.loads(json.dumps(EXAMPLE))
        table = tree
        for part in above:
            table = table[part]
        table.update(tampered)
        path = tmp_path / "api.json"
        path.write_text(json.dumps(tree))
        assert traces(key, complaint(path).encode()) == set()


def complaint(path: Path) -> str:
    """What a user is told of the settings; nothing if they load."""
    environ = {KEY_VARIABLE: CANARIES[KEY_VARIABLE]}
    try:
        load_settings(config=path, environ=environ)
    except ConfigurationError as error:
        return Redactor(secrets_in(environ))(str(error))
    return ""


@pytest.mark.parametrize(
    "broken", ['[server]\nhost = "{key}', '"{key}" = 1', "{key}", '[litellm]\n"{key}".a = 1']
)
async def test_settings_that_cannot_be_read_are_told_without_the_key_in_them(demo: Installation, broken: str):
    key = PASTED[0]
    demo.config.write_text(broken.replace("{key}", key))
    for code, *arguments in (
        (2, "models"),
        (2, "--config", str(demo.config), "chat", "Hello"),
        (1, "doctor"),
    ):
        ended = await demo.run(*map(str, arguments))
        assert ended.returncode == code
        assert traces(key, ended.stdout + ended.stderr) == set()
    async with demo.process() as server:
        await server.handshake()
        await server.send(call(1, "chat", prompt="Hello"))
        said = json.dumps(await server.answer_to(1))
        assert "tierwise could not start" in said
        assert traces(key, (said + server.stderr).encode()) == set()


# The means


@settings(deadline=None)
@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=80),
    before=st.text(max_size=30),
    after=st.text(max_size=30),
)
def test_a_known_key_is_taken_out_of_any_text(key: str, before: str, after: str):
    redact = Redactor([key])
    data = key.encode()
    for form in (key, quote(key, safe=""), json.dumps(key)[1:-1], data.hex()):
        assert form not in redact(f"{before} {form} {after}")
    for ahead in (b"", b"a", b"ab"):
        encoded = base64.b64encode(ahead + data + ahead).decode()
        shown = redact(f"{before} {encoded} {after}")
        assert encoded not in shown


@pytest.mark.parametrize(
    "text",
    [
        "The model openai/gpt-6.1-sol is rate limited or out of quota; wait, or let another model serve.",
        "litellm.providers.openai.api_key_env: set OPENAI_API_KEY",
        "Basic authentication required",
        "a risk-based, desk-bound task-list for sk-learn",
        "https://router.huggingface.co/hf-inference/v1",
        "The bearer token is missing",
        "call 01a1fffb1a7c2c9a67a693d4 is not in the ledger",
    ],
)
def test_text_that_holds_no_key_is_left_alone(text: str):
    assert Redactor(CANARIES.values())(text) == text


@pytest.mark.parametrize(
    "piece", ["a", "key-", "*", "a*", "sk-", "bearer ", "eyJ", secret(KEY_VARIABLE)[:8], "/+"]
)
def test_a_long_text_takes_no_longer_than_its_length_is_worth(piece: str):
    """With a pattern that backtracks, each of these would take hours."""
    assert Redactor(CANARIES.values())(piece * (1_000_000 // len(piece)))
