"""Addresses: which are read, which are refused, and which only this machine can reach."""

import errno
import os
import socket

import pytest

from execgate.service.endpoints import (
    TcpAddress,
    bind_error,
    is_loopback_host,
    parse_tcp_address,
    parse_zmq_endpoint,
    replay_endpoint,
    require_loopback,
    resolve,
)
from execgate.wire.errors import UsageError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8124", "127.0.0.1", 8124),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("localhost:65535", "localhost", 65535),
        ("gateway.example:80", "gateway.example", 80),
        ("[::1]:8124", "::1", 8124),
        ("[::]:1", "::", 1),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_addresses_are_read_and_written_back(text: str, host: str, port: int) -> None:
    address = parse_tcp_address(text)
    assert address == TcpAddress(host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":8124",
        "8124",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1:1.5",
        "127.0.0.1:65536",
        "127.0.0.1:\u0661",
        pytest.param("127.0.0.1:" + "9" * 5000, id="5000-digits"),
        "::1:8124",
        "::1",
        "[::1]",
        "[::1:8124",
        "::1]:8124",
        "[]:8124",
        "[x]:8124",
        "[127.0.0.1]:8124",
        "[x:8124",
        "[:8124",
    ],
)
def test_other_texts_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected .* such as "):
        parse_tcp_address(text)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2", "127.255.255.254", "::1"])
def test_only_this_machine_reaches_the_loopback(host: str) -> None:
    assert is_loopback_host(host)
    assert TcpAddress(host, 1).is_loopback


@pytest.mark.parametrize(
    "host", ["", "*", "0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "127.0.0.1.example", "lo", "fe80::1"]
)
def test_others_reach_everything_else(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize(
    "text",
    ["tcp://127.0.0.1:5550", "tcp://[::1]:5550", "tcp://*:5550", "tcp://host:0", "ipc:///run/x", "ipc://@x"],
)
def test_zmq_endpoints_pass_as_they_are(text: str) -> None:
    assert parse_zmq_endpoint(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp:",
        "tcp://",
        "tcp://x",
        "tcp://*:x",
        "tcp://*:*",
        "ipc://",
        "udp://127.0.0.1:1",
        "inproc://x",
        "127.0.0.1:1",
    ],
)
def test_what_is_no_zmq_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        parse_zmq_endpoint(text)


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:5550", "tcp://127.0.0.2:5550", "tcp://localhost:5550", "tcp://[::1]:5550", "ipc:///run/x"],
)
def test_a_feed_on_the_loopback_is_allowed(endpoint: str) -> None:
    require_loopback("--pub", endpoint, insecure=False, has_curve=False)


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://*:5550",
        "tcp://0.0.0.0:5550",
        "tcp://[::]:5550",
        "tcp://10.0.0.1:5550",
        "tcp://eth0:5550",
        "tcp://127.0.0.1;10.0.0.1:5550",
    ],
)
def test_a_feed_that_others_reach_needs_the_word_insecure(endpoint: str) -> None:
    """An open ZeroMQ port is an unauthenticated denial of service."""
    with pytest.raises(UsageError) as caught:
        require_loopback("--pub", endpoint, insecure=False, has_curve=False)
    assert f"--pub {endpoint}" in str(caught.value)
    assert "--insecure-feed" in str(caught.value)
    require_loopback("--pub", endpoint, insecure=True, has_curve=False)
    require_loopback("--pub", endpoint, insecure=False, has_curve=True)


@pytest.mark.parametrize(
    ("feed", "replay"),
    [
        ("tcp://127.0.0.1:5550", "tcp://127.0.0.1:5551"),
        ("tcp://[::1]:1", "tcp://[::1]:2"),
        ("tcp://*:65534", "tcp://*:65535"),
        ("tcp://localhost:0", "tcp://localhost:0"),
        ("ipc:///run/feed", "ipc:///run/feed.replay"),
        ("ipc://@feed", "ipc://@feed.replay"),
    ],
)
def test_history_is_next_to_the_feed(feed: str, replay: str) -> None:
    assert replay_endpoint(feed) == replay


def test_there_is_no_port_after_the_last() -> None:
    with pytest.raises(UsageError, match="no port after that of tcp://x:65535; say --replay"):
        replay_endpoint("tcp://x:65535")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EADDRINUSE, "already in use"),
        (errno.EACCES, "CAP_NET_BIND_SERVICE"),
        (errno.EADDRNOTAVAIL, "Cannot assign"),
    ],
)
def test_a_bind_error_names_flag_address_and_reason(number: int, words: str) -> None:
    error = bind_error("--listen", TcpAddress("127.0.0.1", 80), OSError(number, os.strerror(number)))
    assert str(error).startswith("--listen 127.0.0.1:80: ")
    assert words in str(error)


def test_hosts_are_resolved_to_numeric_addresses() -> None:
    assert resolve("--listen", TcpAddress("127.0.0.1", 80)) == (socket.AF_INET, ("127.0.0.1", 80))
    assert resolve("--listen", TcpAddress("::1", 80)) == (socket.AF_INET6, ("::1", 80))
    family, (host, port) = resolve("--listen", TcpAddress("localhost", 80))
    assert family in (socket.AF_INET, socket.AF_INET6)
    assert is_loopback_host(host)
    assert port == 80


@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "a..b", pytest.param("x" * 64 + ".example", id="label-of-64"), "a\x00b"]
)
def test_a_host_without_an_address_is_a_usage_error(host: str) -> None:
    with pytest.raises(UsageError, match=r"^--listen "):
        resolve("--listen", TcpAddress(host, 80))
