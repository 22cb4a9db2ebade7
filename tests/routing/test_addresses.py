"""Only the public internet may be reached through a URL of somebody else's."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.routing.addresses import is_public, resolve
from tierwise.routing.errors import InvalidRequest

pytestmark = pytest.mark.anyio

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"),
    *("198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1", "2a00:1450::1", "2001:200::1"),
]
NOT_PUBLIC = {
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],  # noqa: S104
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd00:ec2::254"],
    "link-local": ["169.254.169.254", "fe80::1", "fec0::1"],
    "carrier's": ["100.64.0.1", "100.100.100.200", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.192", "198.18.0.1", "192.88.99.1", "100::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"],
    "compatible": ["::127.0.0.1", "::7f00:1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1"],
    "6to4 and Teredo": ["2002:7f00:1::", "2002:808:808::1", "2001:0:7f00:1::"],
    "a cloud's own": ["168.63.129.16"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_on_the_public_internet_is_public(address: str):
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", [it for listed in NOT_PUBLIC.values() for it in listed], ids=lambda address: address or "none"
)
def test_what_is_not_on_the_public_internet_is_not_public(address: str):
    assert not is_public(ip_address(address))


@settings(deadline=None)
@given(st.ip_addresses(v=4).filter(lambda it: not it.is_global) | st.ip_addresses(v=6))
def test_whatever_the_standard_library_calls_private_is_not_public(address: IPv4Address | IPv6Address):
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        assert not is_public(address)


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:", "::", "64:ff9b::", "64:ff9b:1::"]))
def test_no_ipv4_address_is_public_inside_an_ipv6_address(inner: IPv4Address, prefix: str):
    assert not is_public(IPv6Address(f"{prefix}{inner}"))


async def refused(host: str) -> str:
    with pytest.raises(InvalidRequest) as raised:
        await resolve(host, 443)
    return str(raised.value).replace(repr(host[:100]), "it")


SPELLINGS = [
    *(
        "localhost",
        "LOCALHOST",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "0",
        "2130706433",
    ),
    *("017700000001", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1", "127.0.0.0x1", "0127.0.0.1"),
    *("010.8.8.8", "134744072", "0x8.0x8.0x8.0x8", "8.8.2056", "256.256.256.256", "1.2.3.4.5", "::1", "1e1"),
    *("::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:0:0:1", "fe80::1%lo", "fe80::1%25lo", ".", "..", "a/b"),
    *("*", "%00", "-", "0x", "host.0x7f", "no.such.host.invalid"),
]
ODD = ["", "a b", "a\0b", "\u0661\u0662\u0667.0.0.1", "x" * 64, "x" * 10_000]


@pytest.mark.parametrize("host", [*SPELLINGS, *ODD], ids=lambda host: ascii(host)[:30])
async def test_no_spelling_leads_inside_and_all_are_refused_in_the_same_words(host: str):
    assert await refused(host) == await refused("no.such.host.invalid")


def answering(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let the system's resolver give these answers, one after another; returns who is asked for."""
    asked: list[str] = []
    left = list(answers)

    def getaddrinfo(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        asked.append(host.decode() if isinstance(host, bytes) else host)
        kind = socket.SOCK_STREAM
        return [
            (socket.AF_INET6, kind, 6, "", (it, port, 0, 0))
            if ":" in it
            else (socket.AF_INET, kind, 6, "", (it, port))
            for it in left.pop(0)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


async def test_a_name_is_asked_for_once_and_its_addresses_are_handed_out(monkeypatch: pytest.MonkeyPatch):
    asked = answering(monkeypatch, ["93.184.215.14", "2606:2800:21f::1", "93.184.215.14"], ["127.0.0.1"])
    found = await resolve("example.com", 443)
    assert found == [ip_address("93.184.215.14"), ip_address("2606:2800:21f::1")]
    assert asked == ["example.com"]


@pytest.mark.parametrize("inside", [it for listed in NOT_PUBLIC.values() for it in listed])
async def test_a_name_with_one_address_inside_is_refused_whatever_else_it_has(
    monkeypatch: pytest.MonkeyPatch, inside: str
):
    answering(monkeypatch, ["93.184.215.14", inside])
    await refused("example.com")


async def test_a_policy_of_ones_own_decides():
    assert await resolve("127.0.0.1", 443, lambda address: address.is_loopback) == [ip_address("127.0.0.1")]
    with pytest.raises(InvalidRequest):
        await resolve("127.0.0.1", 443, lambda address: False)
