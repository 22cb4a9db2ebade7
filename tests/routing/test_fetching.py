"""Fetching from a real server over TLS on loopback, which these tests alone allow."""

import datetime as dt
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tierwise.routing.addresses import Address
from tierwise.routing.errors import InvalidRequest
from tierwise.routing.fetching import Fetched, fetch

pytestmark = pytest.mark.anyio

HOST = "pictures.example"
CONTENT = b"\x89PNG and so on"


def certificate(folder: Path) -> Path:
    """A file with a key and a certificate for `HOST`, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path = folder / "certificate.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.public_bytes(pem))
    return path


Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def responding(**response: Any) -> Answer:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(**response)

    return answer


@dataclass
class Site:
    """A server for `HOST`; the system's resolver says that it is where `addresses` say."""

    trust: ssl.SSLContext
    port: int = 0
    addresses: list[list[str]] = field(default_factory=list[list[str]])
    """What the resolver answers, each time; the last answer stays."""
    lookups: int = 0
    requests: list[web.BaseRequest] = field(default_factory=list[web.BaseRequest])
    answer: Answer = field(default_factory=lambda: responding(body=CONTENT))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        return await self.answer(request)

    def url(self, path: str = "/a.png?signature=hidden") -> str:
        return f"https://{HOST}:{self.port}{path}"

    def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        self.lookups += 1
        answer = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]

    async def fetch(self, url: str | None = None, **limits: Any) -> Fetched:
        settings: dict[str, Any] = {
            "max_bytes": 1000,
            "seconds": 20,
            "allowed": on_loopback,
            "tls": self.trust,
        }
        return await fetch(self.url() if url is None else url, **settings | limits)

    async def refusal(self, url: str | None = None, **limits: Any) -> str:
        with pytest.raises(InvalidRequest) as raised:
            await self.fetch(url, **limits)
        assert "hidden" not in str(raised.value)
        return str(raised.value)


def on_loopback(address: Address) -> bool:
    return str(address) in ("127.0.0.1", "127.0.0.2")


def nowhere(address: Address) -> bool:
    return False


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    path = certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(path))
    site = Site(trust, addresses=[["127.0.0.1"]])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(path)
    runner = web.ServerRunner(web.Server(site.handle, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    site.port = runner.addresses[0][1]
    monkeypatch.setattr(socket, "getaddrinfo", site.getaddrinfo)
    yield site
    await runner.cleanup()


async def test_the_content_comes_with_its_type_and_nothing_is_told_of_who_asks(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    headers = {"Content-Type": "Image/PNG; charset=binary", "Set-Cookie": "a=b"}
    site.answer = responding(body=CONTENT, headers=headers)
    assert await site.fetch() == Fetched(CONTENT, "image/png")
    [request] = site.requests
    assert (request.method, request.path_qs) == ("GET", "/a.png?signature=hidden")
    sent = {name.lower(): value for name, value in request.headers.items()}
    assert sent.pop("host") == f"{HOST}:{site.port}"
    assert sent.pop("user-agent") == "tierwise"
    assert sent.pop("accept-encoding") == "identity"
    assert sent.keys() <= {"accept", "connection"}


async def test_it_connects_to_the_address_that_was_checked_whatever_the_name_means_next(site: Site):
    site.addresses = [["127.0.0.1"], ["10.0.0.1"]]
    assert (await site.fetch()).content == CONTENT
    assert site.lookups == 1


async def test_an_address_that_is_not_allowed_is_not_connected_to(site: Site):
    assert "cannot be reached on the public internet" in await site.refusal(allowed=nowhere)
    site.addresses = [["127.0.0.1", "10.0.0.1"]]
    assert "cannot be reached on the public internet" in await site.refusal()
    assert site.requests == []


async def test_by_default_only_the_public_internet_is_allowed(site: Site):
    with pytest.raises(InvalidRequest, match="cannot be reached on the public internet"):
        await fetch(site.url(), max_bytes=1000, seconds=20, tls=site.trust)
    assert site.requests == []


async def test_the_next_address_is_tried_where_one_does_not_answer(site: Site):
    site.addresses = [["127.0.0.2", "127.0.0.1"]]
    assert (await site.fetch()).content == CONTENT
    site.addresses = [["127.0.0.2"]]
    assert "does not answer" in await site.refusal()


async def test_the_certificate_must_be_that_of_the_name(site: Site):
    for url in (site.url().replace(HOST, "other.example"), site.url().replace(HOST, "127.0.0.1")):
        assert "does not answer" in await site.refusal(url)
    assert "does not answer" in await site.refusal(tls=ssl.create_default_context())
    assert site.requests == []


def to(place: str) -> Answer:
    return responding(status=302, headers={"Location": place})


async def test_a_redirect_is_checked_like_the_address_itself(site: Site):
    async def once(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/there":
            return web.Response(body=CONTENT)
        return web.Response(status=307, headers={"Location": "/there"})

    site.answer = once
    assert (await site.fetch()).content == CONTENT
    assert [request.path for request in site.requests] == ["/a.png", "/there"]
    site.addresses = [["127.0.0.1"], ["10.0.0.1"]]
    assert "cannot be reached on the public internet" in await site.refusal()


@pytest.mark.parametrize(
    "place",
    [
        "http://pictures.example/",
        "https://10.0.0.1/",
        "https://localhost/",
        "https://user:hidden@pictures.example/",
        "file:///etc/passwd",
        "https://[::1",
        "//",
        "https://0x7f.1/hidden",
        "x" * 10_000,
        "gopher://pictures.example/",
        "data:text/plain,hidden",
    ],
)
async def test_a_redirect_to_anywhere_else_is_refused(site: Site, place: str):
    site.answer = to(place)
    site.addresses = [["127.0.0.1"], ["10.0.0.1"]]
    await site.refusal()
    assert len(site.requests) == 1


async def test_redirects_end(site: Site):
    site.answer = to("/again")
    assert "redirects more than 3 times" in await site.refusal()
    assert len(site.requests) == 4


@pytest.mark.parametrize("code", [204, 304, 401, 404, 500])
async def test_anything_but_success_is_told_with_its_status(site: Site, code: int):
    site.answer = responding(status=code)
    assert f"answered {code}" in await site.refusal()


async def test_what_is_too_large_is_left_in_the_middle(site: Site):
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 500)

    site.answer = endless
    assert "more than 1,000 bytes" in await site.refusal()
    site.answer = responding(body=b"x" * 1001)
    assert "more than 1,000 bytes" in await site.refusal()
    site.answer = responding(body=b"x" * 1000)
    assert len((await site.fetch()).content) == 1000


async def test_what_is_packed_is_not_unpacked(site: Site):
    bomb = gzip.compress(b"\0" * 10**6)
    site.answer = responding(body=bomb, headers={"Content-Encoding": "gzip"})
    assert "packed" in await site.refusal(max_bytes=10**4)


async def test_a_server_that_never_ends_costs_no_more_than_its_time(site: Site):
    async def hang(_: web.BaseRequest) -> web.StreamResponse:
        await anyio.sleep_forever()
        raise AssertionError

    async def drip(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await anyio.sleep(0.01)

    for behaviour in (hang, drip):
        site.answer = behaviour
        assert "took longer than 0.5 s" in await site.refusal(seconds=0.5)


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "//x", "http://pictures.example/", "ftp://pictures.example/", "file:///etc/passwd"),
        *(
            "https://",
            "https:///x",
            "https://user:hidden@pictures.example/",
            "https://hidden@pictures.example/",
        ),
        *("https://pictures.example:0/", "https://pictures.example:99999/", "https://pictures.example:x/"),
        *(
            "https://a b/",
            "https://a\0b/",
            "https://a\nb/",
            "https://\ud800/",
            "https://[::1",
            "https://[x]/",
        ),
        *(
            "https://pictures.example\\@localhost/",
            "https://pictures.example/" + "x" * 5000,
            "\u202ehttps://x/",
        ),
    ],
    ids=lambda url: ascii(url)[:40],
)
async def test_what_is_no_address_of_that_kind_is_refused_before_anybody_is_asked(site: Site, url: str):
    await site.refusal(url)
    assert (site.lookups, site.requests) == (0, [])
