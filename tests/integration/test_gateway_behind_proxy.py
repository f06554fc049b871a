"""A gateway behind proxies: clients are limited by their own address, which only a trusted proxy can tell."""

import ipaddress
import json
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.clients import exchange, handshake_request, open_socket
from tests.harness import wait_until
from tests.rig import Gateway, scripted

BURST = ("--connections-per-s", "1", "--connection-burst", "2")
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
HEALTH_CHECK = SIGNATURE + b"\x20\x00\x00\x00"


def proxy_header(client: str) -> bytes:
    address = ipaddress.ip_address(client)
    body = address.packed + bytes(len(address.packed)) + struct.pack("!HH", 4711, 443)
    return SIGNATURE + bytes([0x21, 0x11 if address.version == 4 else 0x21]) + struct.pack("!H", len(body)) + body


@pytest.fixture(scope="module")
def forwarded() -> Iterator[Gateway]:
    with scripted("--trusted-proxies", "127.0.0.1,10.0.0.0/8", *BURST) as (gateway, _):
        yield gateway


@pytest.fixture(scope="module")
def announced() -> Iterator[Gateway]:
    flags = ("--trusted-proxies", "127.0.0.1", "--proxy-protocol", "--header-timeout-s", "1")
    with scripted(*flags, *BURST) as (gateway, _):
        yield gateway


def connect(gateway: Gateway, forwarded_for: str | None) -> int:
    """Return the status of one handshake."""
    headers = {} if forwarded_for is None else {"X_Forwarded_For": forwarded_for}
    return exchange(gateway.address, handshake_request(gateway.address, **headers))[0]


def test_behind_a_trusted_proxy_each_client_has_a_rate_of_its_own(forwarded: Gateway) -> None:
    refused = forwarded.stats()["refused"].get("rate", 0)
    assert [connect(forwarded, "203.0.113.1") for _ in range(4)] == [101, 101, 429, 429]
    assert [connect(forwarded, "2001:db8::1, 10.0.0.1") for _ in range(3)] == [101, 101, 429]
    assert connect(forwarded, "203.0.113.2") == 101
    assert forwarded.stats()["refused"]["rate"] == refused + 3


def test_what_a_client_writes_into_the_header_gives_it_no_other_address(forwarded: Gateway) -> None:
    statuses = [connect(forwarded, f"198.51.100.{number}, 203.0.113.7") for number in range(4)]
    assert statuses == [101, 101, 429, 429]
    assert connect(forwarded, "127.0.0.1, 203.0.113.7") == 429


def test_a_client_is_told_the_address_that_it_is_known_by(forwarded: Gateway) -> None:
    with forwarded.raw(headers={"X-Forwarded-For": "203.0.113.50"}) as client:
        assert client.receive()["data"]["address"].startswith("203.0.113.50:")


def test_a_trusted_proxy_itself_is_not_limited(forwarded: Gateway) -> None:
    assert [connect(forwarded, None) for _ in range(4)] == [101] * 4


def test_nobody_else_is_believed() -> None:
    with scripted("--trusted-proxies", "10.0.0.0/8", *BURST) as (gateway, _):
        assert [connect(gateway, "203.0.113.1") for _ in range(4)] == [101] * 4  # we are the loopback: not limited


def announce(gateway: Gateway, head: bytes) -> bytes:
    """Return what comes back for a handshake behind `head`; empty where it is closed without a word."""
    with open_socket(gateway.address) as sock:
        sock.sendall(head + handshake_request(gateway.address))
        try:
            return sock.recv(4096)
        except ConnectionResetError:
            return b""


def refused(gateway: Gateway, kind: str) -> int:
    """Ask `/stats` as a proxy's health check does."""
    answer = b""
    with open_socket(gateway.address) as sock:
        sock.sendall(HEALTH_CHECK + b"GET /stats HTTP/1.0\r\nHost: x\r\n\r\n")
        while piece := sock.recv(65536):
            answer += piece
    return int(json.loads(answer.partition(b"\r\n\r\n")[2])["refused"].get(kind, 0))


def test_a_proxy_header_names_the_client(announced: Gateway) -> None:
    answers = [announce(announced, proxy_header("203.0.113.1")).startswith(b"HTTP/1.1 101") for _ in range(3)]
    assert answers == [True, True, False]
    assert announce(announced, proxy_header("2001:db8::1")).startswith(b"HTTP/1.1 101")
    assert refused(announced, "rate") == 1


def test_a_proxy_header_may_come_in_pieces(announced: Gateway) -> None:
    data = proxy_header("203.0.113.40") + handshake_request(announced.address)
    with open_socket(announced.address) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(40):
            sock.sendall(data[at : at + 1])
        sock.sendall(data[40:])
        assert sock.recv(4096).startswith(b"HTTP/1.1 101")


def test_a_health_check_of_the_proxy_is_answered(announced: Gateway) -> None:
    with open_socket(announced.address) as sock:
        sock.sendall(HEALTH_CHECK + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")


def test_without_a_header_or_with_a_wrong_one_a_proxy_is_refused(announced: Gateway) -> None:
    before = refused(announced, "proxy")
    assert announce(announced, b"") == b""
    assert announce(announced, b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n") == b""
    with open_socket(announced.address) as silent:
        silent.sendall(SIGNATURE)
        assert silent.recv(1) == b""  # after --header-timeout-s
    wait_until(lambda: refused(announced, "proxy") == before + 3, "three refused")
