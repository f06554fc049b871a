"""What a trusted proxy says of the client behind it: a PROXY protocol v2 header, or `X-Forwarded-For`.

A word of anybody else is not looked at. Format: haproxy's proxy-protocol.txt, section 2.2.
"""

import ipaddress
from collections.abc import Sequence

from execgate.wire.errors import ProxyHeaderError

HEAD_BYTES = 16
"""Of a PROXY header, before what depends on the kind of address."""
MAX_BODY_BYTES = 4096
"""Addresses and the extras behind them, which we skip; the format would allow 64 KiB."""
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21  # version 2, and its command
_TCP = {0x11: 4, 0x21: 16}  # family and protocol: bytes of an address
_NO_ADDRESS = frozenset({0x00, 0x31, 0x32})  # unspecified, UNIX sockets

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read `NETWORK,NETWORK`: addresses, or networks in CIDR notation.

    Raises:
        ValueError: says what was expected.
    """
    try:
        return tuple(ipaddress.ip_network(word.strip()) for word in text.split(","))
    except ValueError:
        expected = "expected addresses or networks separated by commas, such as 127.0.0.1,10.0.0.0/8"
        raise ValueError(expected) from None


def show_networks(networks: Sequence[Network]) -> str:
    """Return networks as `parse_networks` reads them."""
    return ",".join(map(str, networks))


def is_in(host: str, networks: Sequence[Network]) -> bool:
    """Whether `host` is an address of one of `networks`."""
    address = _address(host)
    return address is not None and any(address in network for network in networks)


def client_of(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address of the client that `peer` connects for: as far back as trusted proxies vouch for it.

    Args:
        peer: who is connected.
        forwarded: the values of `X-Forwarded-For`, in their order; each proxy adds whom it serves at the end.
        trusted: the proxies' networks.
    """
    client = peer
    for word in reversed(",".join(forwarded).split(",")):
        if not is_in(client, trusted):
            break  # what stands further left is what this one says, who is nobody
        address = _address(word.strip())
        if address is None:
            break
        client = str(address)
    return client


def body_length(head: bytes) -> int:
    """Return how many bytes follow the first `HEAD_BYTES` of a PROXY header.

    Raises:
        ProxyHeaderError: it is no header of version 2, or too long.
    """
    if not head.startswith(_SIGNATURE):
        raise ProxyHeaderError("no PROXY protocol v2 header")
    if head[12] not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"version and command {head[12]:#04x}: expected 0x20 or 0x21")
    length = int.from_bytes(head[14:16])
    if length > MAX_BODY_BYTES:
        raise ProxyHeaderError(f"{length} bytes: expected at most {MAX_BODY_BYTES}")
    return length


def parse_body(head: bytes, body: bytes) -> tuple[str, int] | None:
    """Return the client's host and port; None where the proxy speaks for itself, or names no address.

    Raises:
        ProxyHeaderError: it names something that is no TCP client.
    """
    if head[12] == _LOCAL or head[13] in _NO_ADDRESS:
        return None
    size = _TCP.get(head[13])
    if size is None:
        raise ProxyHeaderError(f"family and protocol {head[13]:#04x}: expected TCP")
    if len(body) < 2 * size + 4:
        raise ProxyHeaderError(f"{len(body)} bytes of addresses: expected {2 * size + 4}")
    host = _address(str(ipaddress.ip_address(body[:size])))
    return str(host), int.from_bytes(body[2 * size : 2 * size + 2])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address; one of IPv4 in IPv6's clothes is that of IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
