"""Finding servers on this machine, against real ones on loopback."""

import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.catalog.local import by_size, find_local_servers, ladder
from tierwise.routing.request import Tier
from tierwise.routing.settings import LocalSettings

pytestmark = pytest.mark.anyio

Handler = Callable[[SocketStream, bytes], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[str]:
    """A server on loopback that hands each connection and its request to `handler`."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive()
            await handler(stream, request)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - anyio's, not Django's
        yield f"http://127.0.0.1:{port}/v1"
        tasks.cancel_scope.cancel()


def answering(body: bytes, status: str = "200 OK", headers: str = "") -> Handler:
    async def answer(stream: SocketStream, request: bytes) -> None:
        await stream.send(f"HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n".encode())
        try:
            await stream.send(body)
        except anyio.BrokenResourceError:
            assert len(body) > 1_000_000  # the client may hang up on nothing shorter

    return answer


def models(*ids: str) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": id, "object": "model"} for id in ids]}).encode()


async def test_a_server_is_found_with_its_chat_models_smallest_first() -> None:
    body = models("llama3.3:70b", "nomic-embed-text", "qwen3:8b", "bge-m3", "smollm2:135m")
    async with serving(answering(body)) as url:
        (server,) = await find_local_servers([url])
    assert (server.name, server.base_url) == ("local", url)
    assert server.models == ("smollm2:135m", "qwen3:8b", "llama3.3:70b")


async def test_nothing_is_sent_but_one_get_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    requests: list[bytes] = []

    async def record(stream: SocketStream, request: bytes) -> None:
        requests.append(request)
        await answering(models("m"))(stream, request)

    async with serving(record) as url:
        host = url.removeprefix("http://").removesuffix("/v1")
        await find_local_servers([f"http://user:password@{host}/v1/"])
    assert requests == [
        f"GET /v1/models HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n".encode()
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b'{"data": null}',
        b'{"data": {"id": "m"}}',
        b'{"data": [null, 7, "m", {}, {"id": 7}, {"id": ""}, {"id": "bad\\u0000name"}]}',
        b"[" * 900_000,
        models("text-embedding-nomic", "mxbai-embed-large"),
    ],
)
async def test_a_server_that_answers_no_chat_model_is_left_out(body: bytes) -> None:
    async with serving(answering(body)) as url:
        assert await find_local_servers([url]) == ()


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "500 Oops"])
async def test_an_error_answer_is_no_server(status: str) -> None:
    async with serving(answering(models("m"), status)) as url:
        assert await find_local_servers([url]) == ()


async def test_a_redirect_is_not_followed() -> None:
    async with serving(answering(models("m"))) as elsewhere:
        redirect = answering(b"", "302 Found", f"Location: {elsewhere}/models\r\n")
        async with serving(redirect) as url:
            assert await find_local_servers([url]) == ()


async def test_an_endless_answer_is_given_up() -> None:
    body = models("m") + b" " * 8_000_000
    async with serving(answering(body)) as url:
        assert await find_local_servers([url]) == ()


async def test_a_hanging_and_a_refusing_server_hold_up_no_other() -> None:
    async def hang(stream: SocketStream, request: bytes) -> None:
        await anyio.sleep_forever()

    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    with anyio.fail_after(10):
        async with serving(hang) as hanging, serving(answering(models("m"))) as url:
            found = await find_local_servers([hanging, refusing, url])
    assert [server.base_url for server in found] == [url]


@pytest.mark.parametrize(
    "url",
    ["", "file:///etc/passwd", "127.0.0.1:11434", "ftp://127.0.0.1/", "http://", "http://[::1", "http://h:x"],
)
async def test_what_is_no_http_url_is_left_out(url: str) -> None:
    assert await find_local_servers([url]) == ()


async def test_a_server_on_a_well_known_port_is_named_after_its_product() -> None:
    ollama = LocalSettings().servers[0]
    try:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=11434)
    except OSError:
        pytest.skip("port 11434 is taken; stop Ollama to run this test")

    async def serve(stream: SocketStream) -> None:
        async with stream:
            await answering(models("m"))(stream, await stream.receive())

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        (found,) = await find_local_servers([ollama])
        assert found.name == "ollama"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("ids", "ordered"),
    [
        (["llama3:70b", "llama3:8b"], ["llama3:8b", "llama3:70b"]),
        (["qwen3-30b-a3b", "mixtral:8x7b", "phi4:14b"], ["phi4:14b", "qwen3-30b-a3b", "mixtral:8x7b"]),
        (["a-70b", "mystery", "b-1.5b"], ["b-1.5b", "mystery", "a-70b"]),
        (
            ["qwen2.5-7b-instruct-1m", "smollm2:360m-Q4_K_M"],
            ["smollm2:360m-Q4_K_M", "qwen2.5-7b-instruct-1m"],
        ),
        (["b", "a"], ["b", "a"]),
        ([], []),
    ],
)
def test_models_are_ordered_by_the_size_in_their_names(ids: list[str], ordered: list[str]) -> None:
    assert list(by_size(ids)) == ordered


@given(st.lists(st.text() | st.from_regex(r"[a-z]{1,5}[-:]\d{1,4}[bm]")))
def test_ordering_loses_and_invents_no_model(ids: list[str]) -> None:
    assert sorted(by_size(ids)) == sorted(ids)


@pytest.mark.parametrize(
    ("ids", "simple", "standard", "complex_"),
    [(["a"], "a", "a", "a"), (["a", "b"], "a", "b", "b"), (["a", "b", "c"], "a", "b", "c")],
)
def test_the_smallest_serves_simple_and_the_largest_complex(
    ids: list[str], simple: str, standard: str, complex_: str
) -> None:
    expected = {Tier.SIMPLE: (simple,), Tier.STANDARD: (standard,), Tier.COMPLEX: (complex_,)}
    assert ladder(ids) == expected
