"""Fetching what the URL of somebody else leads to, from the public internet and within limits."""

import re
import ssl
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2

from tierwise.routing.addresses import Address, Allowed, is_public, resolve
from tierwise.routing.errors import InvalidRequest

_MOST_REDIRECTS = 3
_LONGEST_URL = 4096
_PORT = 443
_HOST = re.compile(r"[A-Za-z0-9_.:-]+")


@dataclass(frozen=True, slots=True)
class Fetched:
    content: bytes
    content_type: str
    """What the server says that it is, in lower case and without parameters; the content may be otherwise."""


async def fetch(
    url: str,
    *,
    max_bytes: int,
    seconds: float,
    allowed: Allowed = is_public,
    tls: ssl.SSLContext | None = None,
) -> Fetched:
    """The content at an https URL, of `max_bytes` at most, within `seconds` for all of it.

    It connects to the very addresses that were found to be `allowed`, asks no proxy, follows a redirect
    only after the same checks, and sends no cookie, key or referrer. `tls` replaces the system's trust.

    Raises:
        InvalidRequest: the URL is none of the public internet, or what is there is too large, too slow, or
            missing. The message names the host and not the rest of the URL, which may hold a signature.
    """
    here = _parsed(url)
    try:
        with anyio.fail_after(seconds):
            for _ in range(_MOST_REDIRECTS + 1):
                found = await _get(here, max_bytes, allowed, tls)
                if isinstance(found, Fetched):
                    return found
                here = found
    except TimeoutError:
        raise InvalidRequest(
            f"{_named(here)} took longer than {seconds:g} s; hand over the content."
        ) from None
    raise InvalidRequest(
        f"{_named(here)} redirects more than {_MOST_REDIRECTS} times; give the last address."
    )


def _parsed(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url[: _LONGEST_URL + 1])
        host = parsed.raw_host.decode("ascii")
    except (httpx2.InvalidURL, UnicodeError):
        raise InvalidRequest("That is no URL; give one that begins with https://.") from None
    if len(url) > _LONGEST_URL:
        raise InvalidRequest(
            f"The URL has more than {_LONGEST_URL} characters; hand over the content itself."
        )
    port = _PORT if parsed.port is None else parsed.port
    if parsed.scheme != "https" or not _HOST.fullmatch(host) or not 0 < port < 65_536:
        raise InvalidRequest("Only https:// with a host is fetched; hand over the content itself.")
    if parsed.userinfo:
        raise InvalidRequest("The URL holds a user name; take it out, for it would be sent along.")
    return parsed


async def _get(
    url: httpx2.URL, max_bytes: int, allowed: Allowed, tls: ssl.SSLContext | None
) -> "Fetched | httpx2.URL":
    """What is at `url`, or where it redirects to."""
    host = url.raw_host.decode("ascii").strip("[]")
    addresses = await resolve(host, url.port or _PORT, allowed)
    verify: Any = tls or True
    async with httpx2.AsyncClient(
        verify=verify, trust_env=False, follow_redirects=False, timeout=None
    ) as client:
        for address in addresses:
            try:
                return await _ask(client, url, address, host, max_bytes)
            except httpx2.ConnectError:
                continue  # the next one may be up
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                kind = type(error).__name__
                raise InvalidRequest(f"{_named(url)} could not be read ({kind}); check it.") from None
    raise InvalidRequest(
        f"{_named(url)} does not answer, or not with a certificate of its own; hand over the content."
    )


async def _ask(
    client: httpx2.AsyncClient, url: httpx2.URL, address: Address, host: str, max_bytes: int
) -> "Fetched | httpx2.URL":
    headers = {
        "Host": url.netloc.decode("ascii"),
        "User-Agent": "tierwise",
        "Accept-Encoding": "identity",  # what is packed can grow a thousandfold
    }
    pinned = url.copy_with(host=str(address))
    # The certificate must be that of the name, though the connection is to the address.
    extensions = {"sni_hostname": host}
    async with client.stream("GET", pinned, headers=headers, extensions=extensions) as response:
        if response.has_redirect_location:
            return _parsed(str(url.join(response.headers["location"])))
        if response.status_code != 200:
            raise InvalidRequest(f"{_named(url)} answered {response.status_code}; check the address.")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise InvalidRequest(f"{_named(url)} sends packed content; hand over the content itself.")
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > max_bytes:
                raise InvalidRequest(f"What is at {_named(url)} has more than {max_bytes:,} bytes.")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Fetched(bytes(content), kind)


def _named(url: httpx2.URL) -> str:
    return f"https://{url.host[:100]}/…"
