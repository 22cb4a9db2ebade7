"""Whatever bytes come over HTTP: the server says what is wrong, or closes, and goes on serving others."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.hostile import EXAMPLES, Json, almost_requests, anything, garbage, requests, texts
from tests.server.harness import Installation, Process, keyless

PATIENCE = 30
_numbers = count(1)

METHODS = ("POST", "POST", "POST", "GET", "DELETE", "PUT", "OPTIONS", "BREW", "post", "")
PATHS = (
    "/mcp",
    "/mcp",
    "/mcp",
    "/mcp/",
    "/",
    "/sse",
    "/healthz",
    "/../mcp",
    "/mcp?x=%00",
    "//",
    "*",
    "/" + "a" * 9000,
)
JSON_AND_EVENTS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Type": (
        "application/json",
        "application/json; charset=utf-16",
        "text/plain",
        "multipart/form-data",
        "",
    ),
    "Accept": ("application/json, text/event-stream", "*/*", "text/html", "application/json", "x" * 5000),
    "Host": ("127.0.0.1", "localhost:1", "evil.example", "", "127.0.0.1@evil.example", "[::1"),
    "Origin": ("http://localhost", "https://evil.example", "null", "file://"),
    "MCP-Protocol-Version": ("2026-07-28", "2025-11-25", "1999-01-01", "é", ""),
    "Mcp-Session-Id": ("0" * 32, "../../x", "é", ""),
    "Mcp-Method": ("tools/call", "ping", "x\ty"),
    "Mcp-Name": ("chat", "=?base64?!!?=", ""),
    "Last-Event-ID": ("1", "x" * 3000),
    "Transfer-Encoding": ("chunked", "gzip", "chunked, chunked"),
    "Content-Encoding": ("gzip", "br"),
    "Expect": ("100-continue", "the unexpected"),
    "Upgrade": ("websocket", "h2c"),
    "Content-Length": ("0", "5", "-1", "99999999999999999999", "x", "10, 20"),
    "X\x00Y": ("z",),
}


MODERN = {"MCP-Protocol-Version": "2026-07-28"}

FRAMING = {"Content-Length", "Transfer-Encoding", "Expect", "Upgrade"}
"""Headers after which a server may wait for what does not come."""


def head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()


@dataclass(frozen=True)
class Peer:
    """Writes bytes to the port of a server."""

    process: Process
    host: str
    port: int
    portal: BlockingPortal

    def exchange(self, sent: bytes, *, leave: bool = False) -> bytes:
        """What comes back until the server closes; `leave` says at once that no more will come."""
        return self.portal.call(self._exchange, sent, leave)

    def post(self, message: Json, headers: dict[str, str]) -> bytes:
        """What comes back for a message that is sent as it should be."""
        body = json.dumps(message).encode()
        own = {"Host": f"{self.host}:{self.port}", "Content-Length": str(len(body)), "Connection": "close"}
        return self.exchange(head("POST", "/mcp", own | JSON_AND_EVENTS | headers) + body)

    async def _exchange(self, sent: bytes, leave: bool) -> bytes:
        received = b""
        with anyio.fail_after(PATIENCE):
            async with await anyio.connect_tcp(self.host, self.port) as stream:
                try:
                    await stream.send(sent)
                    if leave:
                        await stream.send_eof()
                    while True:
                        received += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
                    pass
        return received


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    installation = Installation(tmp_path_factory.mktemp("fuzz"), keyless())
    arguments = ("serve", "--transport", "http", "--port", "0", "--toolset", "full")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(installation.process(*arguments)) as process,
    ):
        said = portal.call(process.logged, "Serving MCP at http://")
        found = re.search(r"http://([\d.]+):(\d+)", said)
        assert found
        yield Peer(process, found[1], int(found[2]), portal)


@st.composite
def headers(draw: st.DrawFn) -> dict[str, str]:
    changed = draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=4, unique=True))
    return JSON_AND_EVENTS | {name: draw(st.sampled_from(HEADERS[name])) for name in changed}


bodies = st.one_of(
    (requests | almost_requests).map(lambda message: json.dumps({"id": 1, **message}).encode()),
    garbage.filter(lambda body: len(body) < 2**19),
    texts.map(str.encode),
)


@settings(max_examples=EXAMPLES * 5, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PATHS),
    headers=headers(),
    body=bodies,
    cut=st.none() | st.none() | st.floats(0, 1),
)
def test_whatever_comes_in_the_server_refuses_it_and_goes_on(
    peer: Peer, method: str, path: str, headers: dict[str, str], body: bytes, cut: float | None
):
    given_ = {
        "Host": f"{peer.host}:{peer.port}",
        "Content-Length": str(len(body)),
        "Connection": "close",
    } | headers
    if "Transfer-Encoding" in headers:
        del given_["Content-Length"]
    sent = head(method, path, given_) + body
    misleading = cut is not None or bool(headers.keys() & FRAMING)
    received = peer.exchange(sent[: int((cut or 1) * len(sent))], leave=misleading)
    status = re.match(rb"HTTP/1\.1 (\d{3}) ", received)
    assert not received or status
    assert not status or int(status[1]) < 500, received
    assert b"Traceback" not in received
    alive = peer.exchange(head("GET", "/healthz", {"Host": peer.host, "Connection": "close"}))
    assert alive.startswith(b"HTTP/1.1 200 ")


META = {
    "protocolVersion": "2026-07-28",
    "clientInfo": {"name": "fuzz", "version": "1"},
    "clientCapabilities": {},
}


@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(
    name=st.sampled_from(["chat", "usage_summary", "estimate_cost", "nothing"]),
    arguments=st.dictionaries(texts, anything, max_size=3) | anything,
    identity=st.integers(0, 2**53) | st.sampled_from(["x", "", "☃"]),
)
def test_a_request_of_the_newer_era_is_answered_once_under_its_id(
    peer: Peer, name: str, arguments: object, identity: int | str
):
    meta = {f"io.modelcontextprotocol/{key}": value for key, value in META.items()}
    params = {"_meta": meta, "name": name, "arguments": arguments}
    message = {"jsonrpc": "2.0", "id": identity, "method": "tools/call", "params": params}
    received = peer.post(message, {"Mcp-Method": "tools/call", "Mcp-Name": name} | MODERN)
    answers = [line for line in received.decode().splitlines() if '"jsonrpc"' in line]
    [answer] = [json.loads(line.removeprefix("data: ")) for line in answers]
    assert answer["id"] == identity
    assert ("result" in answer) != ("error" in answer)
    assert "Error executing" not in received.decode()
