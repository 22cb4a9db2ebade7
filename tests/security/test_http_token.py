"""Over HTTP, who comes in: nobody without the token, nobody from elsewhere."""

import re
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from tests.server.harness import ERAS, Era, Installation, Process, chat, keyless
from tierwise.server.errors import ConfigurationError
from tierwise.server.settings import ServerSettings
from tierwise.server.transports.authentication import StaticToken, configured_token

pytestmark = pytest.mark.anyio

VARIABLE = "TIERWISE_SERVER_TOKEN"
TOKEN = "Canary-token.of_the~tests+0123456789/abcdef=="  # noqa: S105
OFF_LOOPBACK = ("--host", "0.0.0.0", "--port", "0")  # noqa: S104
LOOPBACK = ("--host", "127.0.0.1", "--port", "0")

Transport = Literal["http", "sse"]
TRANSPORTS: tuple[Transport, Transport] = ("http", "sse")
ROUTES = [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/sse"), ("POST", "/messages/")]
NEAR_OPEN_ONES = [("GET", path) for path in ("/healthz/", "//healthz", "/dashboard/", "//dashboard")]
PATHS = [*ROUTES, *NEAR_OPEN_ONES, ("GET", "/"), ("GET", "/metrics"), ("GET", "/dashboard/data")]
WRONG = {
    "none": {},
    "empty": {"Authorization": ""},
    "no token": {"Authorization": "Bearer ="},
    "another scheme": {"Authorization": f"Basic {TOKEN}"},
    "no scheme": {"Authorization": TOKEN},
    "a wrong one": {"Authorization": "Bearer wrong"},
    "its beginning": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "more than it": {"Authorization": f"Bearer {TOKEN}x"},
    "in another case": {"Authorization": f"Bearer {TOKEN.swapcase()}"},
    "in a header of another name": {"X-Api-Key": TOKEN},
    "no ASCII": {"Authorization": "Bearer \xff\xfe"},
    "as a cookie": {"Cookie": f"token={TOKEN}"},
}


@asynccontextmanager
async def serving(
    installation: Installation, transport: Transport, *where: str
) -> AsyncGenerator[tuple[Process, str]]:
    """The server and its address on loopback, without a path."""
    async with installation.process("serve", "--transport", transport, *where) as server:
        port = re.search(r":(\d+)/", await server.logged("Serving MCP at http://"))
        assert port
        yield server, f"http://127.0.0.1:{port[1]}"


@pytest.fixture(scope="module", params=TRANSPORTS)
async def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Of a server on every address that asks for `TOKEN`."""
    installation = Installation(tmp_path_factory.mktemp("token"), keyless())
    installation.environ[VARIABLE] = f" {TOKEN}\n"
    async with serving(installation, request.param, *OFF_LOOPBACK) as (_, url):
        yield url


async def ask(url: str, method: str, path: str, headers: dict[str, str]) -> httpx2.Response:
    """The answer; of an event stream its head."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    async with (
        httpx2.AsyncClient(timeout=20) as client,
        client.stream(
            method, f"{url}{path}", headers=raw, content=b"{}" if method == "POST" else None
        ) as answer,
    ):
        if "event-stream" not in answer.headers.get("content-type", ""):
            await answer.aread()
        return answer


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_without_the_token_every_path_is_shut(url: str, method: str, path: str):
    answer = await ask(url, method, path, {})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert answer.json()["error"] == "invalid_token"
    assert "server" not in answer.headers


@pytest.mark.parametrize("headers", WRONG.values(), ids=list(WRONG))
async def test_whatever_is_not_the_token_is_refused(url: str, headers: dict[str, str]):
    for method, path in ROUTES:
        answer = await ask(url, method, path, headers)
        assert answer.status_code == 401
        assert TOKEN not in answer.text + str(answer.headers)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_with_the_token_every_route_is_open(url: str, method: str, path: str):
    assert (await ask(url, method, path, {"Authorization": f"Bearer {TOKEN}"})).status_code != 401
    assert (await ask(url, method, path, {"authorization": f"bearer {TOKEN}"})).status_code != 401


async def test_healthz_needs_no_token_and_tells_nothing(url: str):
    answer = await ask(url, "GET", "/healthz", {})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers.keys() == {"date", "content-length", "content-type"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {TOKEN}"}], ids=["no token", "the token"])
@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/healthz"), ("GET", "/nothing")])
async def test_a_foreign_host_or_origin_is_refused_on_every_path(
    url: str, method: str, path: str, headers: dict[str, str]
):
    for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example"):
        assert (await ask(url, method, path, headers | {"Host": host})).status_code == 421
    for origin in ("http://evil.example", "null", "https://127.0.0.1.evil.example", "file://"):
        assert (await ask(url, method, path, headers | {"Origin": origin})).status_code == 403


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_with_the_token_is_served_over_both_transports(url: str, era: Era):
    authorization = {"Authorization": f"Bearer {TOKEN}"}
    is_sse = (await ask(url, "GET", "/mcp", authorization)).status_code == 404
    with anyio.fail_after(30):
        async with httpx2.AsyncClient(headers=authorization, timeout=30) as web:
            sse = sse_client(f"{url}/sse", headers=authorization)
            transport = sse if is_sse else streamable_http_client(f"{url}/mcp", http_client=web)
            async with Client(transport, mode=era) as client:
                assert (await chat(client))["model"] == "demo/small"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_off_loopback_there_is_no_server_without_a_token_and_the_error_makes_one(
    demo: Installation, transport: Transport
):
    ended = await demo.run("serve", "--transport", transport, *OFF_LOOPBACK)
    said = ended.stderr.decode()
    assert ended.returncode == 2
    assert said.startswith("Error: ")
    assert VARIABLE in said
    assert "Authorization: Bearer" in said
    assert "Serving" not in said
    assert not demo.data.exists()
    command = said.partition("Make one with: ")[2]
    made = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)  # noqa: S602, ASYNC221
    demo.environ[VARIABLE] = made.stdout
    async with serving(demo, transport, *OFF_LOOPBACK) as (server, url):
        path = "/mcp" if transport == "http" else "/sse"
        assert (await ask(url, "GET", path, {})).status_code == 401
        authorized = {"Authorization": f"Bearer {made.stdout.strip()}"}
        assert (await ask(url, "GET", path, authorized)).status_code != 401
        assert "without TLS" in await server.logged("plain HTTP")


async def test_on_loopback_a_token_is_asked_for_only_if_there_is_one(demo: Installation):
    async with serving(demo, "http", *LOOPBACK) as (_, url):
        assert (await ask(url, "GET", "/mcp", {})).status_code != 401
    demo.environ[VARIABLE] = TOKEN
    async with serving(demo, "http", *LOOPBACK) as (_, url):
        assert (await ask(url, "GET", "/mcp", {})).status_code == 401


async def test_a_name_for_a_loopback_address_needs_no_token_and_any_other_does(demo: Installation):
    async with serving(demo, "http", "--host", "localhost", "--port", "0"):
        pass
    ended = await demo.run("serve", "--transport", "http", "--host", "a" * 300, "--port", "0")
    assert ended.stderr.startswith(b"Error: Cannot listen on aaa")
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "token",
    ["short", "a" * 15, "has spaces in between it", "hast-umlaute-wie-äöü", "nul\0nulnulnulnulnul", "=" * 20],
)
@pytest.mark.parametrize("loopback", [True, False])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused_and_not_repeated(token: str, loopback: bool):
    with pytest.raises(ConfigurationError) as raised:
        configured_token(ServerSettings(), {VARIABLE: token}, loopback=loopback)
    assert f"The token in {VARIABLE} can be guessed or not be sent" in str(raised.value)
    assert "secrets.token_urlsafe" in str(raised.value)
    assert token not in str(raised.value)


@pytest.mark.parametrize("loopback", [True, False])
@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_a_variable_that_the_settings_name_must_hold_a_token(loopback: bool, value: str | None):
    environ = {} if value is None else {"MY_TOKEN": value}
    with pytest.raises(ConfigurationError, match="MY_TOKEN"):
        configured_token(ServerSettings(token_env="MY_TOKEN"), environ, loopback=loopback)  # noqa: S106
    token = configured_token(ServerSettings(token_env="MY_TOKEN"), {"MY_TOKEN": TOKEN}, loopback=loopback)  # noqa: S106
    assert token == TOKEN


async def test_the_verifier_knows_its_token_and_keeps_it_to_itself(monkeypatch: pytest.MonkeyPatch):
    compared: list[int] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.extend((len(one), len(other)))
        return one == other

    # Time cannot be measured here; what takes the same for any two digests is used.
    monkeypatch.setattr("hmac.compare_digest", compare)
    verifier = StaticToken(TOKEN)
    assert await verifier.verify_token(TOKEN[:1]) is None
    assert compared == [32, 32]
    known = await verifier.verify_token(TOKEN)
    assert known
    assert TOKEN not in repr(known) + repr(vars(verifier))


@settings(deadline=None)
@given(st.text() | st.sampled_from([TOKEN[:n] for n in range(len(TOKEN))]) | st.just(f"{TOKEN} "))
async def test_no_other_text_is_known(text: str):
    assert await StaticToken(TOKEN).verify_token(text) is None
