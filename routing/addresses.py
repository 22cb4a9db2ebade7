"""Which addresses a URL of somebody else's may lead to: those of the public internet, and no other."""

import re
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import anyio

from tierwise.routing.errors import InvalidRequest

Address = IPv4Address | IPv6Address
Allowed = Callable[[Address], bool]

# IANA's registries of special-purpose addresses, and multicast. 168.63.129.16 is public by its number, but
# on Azure it is the host's own service.
_NOT_PUBLIC_V4 = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "168.63.129.16/32"),
        ),
    )
)
_PUBLIC_V6 = ip_network("2000::/3")
"""All of the public internet. Outside are loopback, link-local, private and multicast addresses, and those
that hold an IPv4 address: mapped, compatible and NAT64."""
# Teredo and other protocols, 6to4, documentation.
_NOT_PUBLIC_V6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))

_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)


def is_public(address: Address) -> bool:
    """Is it an address of the public internet, whichever way it is written?"""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


async def resolve(host: str, port: int, allowed: Allowed = is_public) -> list[Address]:
    """The addresses of `host` (ASCII, without brackets), to connect to in this order and to no other: asked
    once more, the name could lead elsewhere.

    Raises:
        InvalidRequest: one of them is not `allowed`, or there is none. The message is the same for both, so
            that nobody can ask about names inside the network.
    """
    if not _is_odd_number(host):
        try:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):  # ValueError: no host could be called that
            found = []
        addresses = [ip_address(sockaddr[0].partition("%")[0]) for *_, sockaddr in found]
        if addresses and all(map(allowed, addresses)):
            return list(dict.fromkeys(addresses))
    raise InvalidRequest(
        f"The host {host[:100]!r} cannot be reached on the public internet: check the address, or hand over"
        " the content itself."
    )


def _is_odd_number(host: str) -> bool:
    """Such as 2130706433, 0x7f.1 or 0177.0.0.1, which systems read as addresses, each in its own way.

    The rule is that of the URL Standard, "ends in a number": then it must be four decimal numbers.
    """
    last = host.removesuffix(".").rpartition(".")[2]
    if not _NUMBER.fullmatch(last):
        return False
    try:
        IPv4Address(host)
    except ValueError:
        return True
    return False
