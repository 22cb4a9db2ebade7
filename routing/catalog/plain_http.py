"""One GET over HTTP/1.0, for the questions that are asked of servers beside the calls themselves.

Nothing is sent but what is given here: proxies are not used, and redirects not followed.
"""

import functools
import re
import ssl
from urllib.parse import SplitResult, urlsplit

import anyio
from anyio.abc import ByteReceiveStream

_MAX_RESPONSE_BYTES = 1_000_000

FAILURES = (OSError, ValueError, anyio.BrokenResourceError, anyio.EndOfStream)
"""What `get` raises where there is no server, or not such a one."""


async def get(
    url: str, *, bearer: str | None = None, most_bytes: int = _MAX_RESPONSE_BYTES
) -> tuple[int, bytes]:
    """The status and the body that a GET of `url` is answered with; `bearer` goes into its `Authorization`.

    Raises:
        OSError, ValueError, BrokenResourceError, EndOfStream: see `FAILURES`; ValueError also for an
            answer of more than `most_bytes`.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http(s) URL")
    stream = await anyio.connect_tcp(
        parts.hostname,
        port(parts),
        tls=parts.scheme == "https",
        ssl_context=_trusted() if parts.scheme == "https" else None,
        tls_standard_compatible=False,
    )
    async with stream:
        await stream.send(_request(parts, bearer))
        head, _, body = (await _read(stream, most_bytes)).partition(b"\r\n\r\n")
    return _status(head), body


def port(parts: SplitResult) -> int:
    """The port of a URL, that of its scheme where it names none."""
    return parts.port or (443 if parts.scheme == "https" else 80)


@functools.cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads some 150 certificates


def _request(parts: SplitResult, bearer: str | None) -> bytes:
    # HTTP/1.0: the answer is never chunked and ends where the connection does.
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"GET {target} HTTP/1.0", f"Host: {parts.netloc.rpartition('@')[2]}", "Accept: application/json"]
    lines += [f"Authorization: Bearer {bearer}"] if bearer else []
    return "\r\n".join([*lines, "", ""]).encode()


async def _read(stream: ByteReceiveStream, most_bytes: int) -> bytes:
    received = bytearray()
    async for chunk in stream:
        received += chunk
        if len(received) > most_bytes:
            raise ValueError("too long an answer")
    return bytes(received)


def _status(head: bytes) -> int:
    found = re.match(rb"HTTP/\d\S* (\d{3})\b", head)
    if not found:
        raise ValueError("not an answer")
    return int(found[1])
