"""What trusted proxies say of a client: believed as far as they vouch for it, and no further."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.errors import ProxyHeaderError
from gateway.core.proxies import (
    HEAD_BYTES,
    MAX_BODY_BYTES,
    body_length,
    client_of,
    is_in,
    parse_body,
    parse_networks,
)

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
TRUSTED = parse_networks("127.0.0.1, 10.0.0.0/8,fd00::/8")


def header(command: int = 0x21, family: int = 0x11, body: bytes = b"", length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body) if length is None else length) + body


def parsed(data: bytes) -> tuple[str, int] | None:
    head, body = data[:HEAD_BYTES], data[HEAD_BYTES:]
    assert body_length(head) == len(body)
    return parse_body(head, body)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # the left one is what the client wrote
        ("127.0.0.1", ["203.0.113.9, 10.1.2.3"], "203.0.113.9"),  # by two proxies
        ("127.0.0.1", ["203.0.113.9", "10.1.2.3"], "203.0.113.9"),  # in two headers
        ("127.0.0.1", ["10.9.9.9,10.1.2.3"], "10.9.9.9"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["unknown, 10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["203.0.113.9:4711"], "127.0.0.1"),
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),  # not trusted: not read
        ("::ffff:127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_trusted_proxy(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert client_of(peer, forwarded, TRUSTED) == client


@given(
    st.lists(st.ip_addresses(v=4), max_size=5), st.ip_addresses(v=4).filter(lambda a: not is_in(str(a), TRUSTED))
)
def test_nothing_that_a_client_writes_changes_who_it_is(
    forged: list[ipaddress.IPv4Address], client: ipaddress.IPv4Address
) -> None:
    forwarded = ",".join([*map(str, forged), str(client)])
    assert client_of("10.0.0.1", [forwarded], TRUSTED) == str(client)


@pytest.mark.parametrize("text", ["", "all", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1,,", "10.0.0.1 10.0.0.2"])
def test_networks_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 127\.0\.0\.1,10\.0\.0\.0/8"):
        parse_networks(text)


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=50))
def test_a_header_names_the_client_whatever_stands_behind_the_addresses(
    client: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, extras: bytes
) -> None:
    family = 0x11 if client.version == 4 else 0x21
    body = client.packed + bytes(len(client.packed)) + struct.pack("!HH", port, 443) + extras
    expected = getattr(client, "ipv4_mapped", None) or client
    assert parsed(header(family=family, body=body)) == (str(expected), port)


@pytest.mark.parametrize(
    "data",
    [
        header(command=0x20, family=0x11, body=bytes(12)),
        header(0x20, 0x00),
        header(0x21, 0x00),
        header(0x21, 0x31, bytes(216)),
    ],
)
def test_a_header_without_a_client_leaves_the_proxy(data: bytes) -> None:
    assert parsed(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n"[:HEAD_BYTES],
        b"GET /ws HTTP/1.1\r\nHost: x\r\n"[:HEAD_BYTES],
        header(command=0x11),
        header(command=0x22),
        header(length=MAX_BODY_BYTES + 1),
        header(family=0x12, body=bytes(12)),  # UDP
        header(family=0x11, body=bytes(11)),
        header(family=0x21, body=bytes(35)),
    ],
)
def test_a_header_that_is_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parsed(data)


@given(st.binary(min_size=HEAD_BYTES, max_size=80))
def test_bytes_from_outside_are_a_client_or_refused(data: bytes) -> None:
    for candidate in (data, SIGNATURE + data):
        try:
            length = body_length(candidate[:HEAD_BYTES])
            client = parse_body(candidate[:HEAD_BYTES], candidate[HEAD_BYTES:][:length])
        except ProxyHeaderError:
            continue
        assert client is None or ipaddress.ip_address(client[0])
