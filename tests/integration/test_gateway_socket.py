"""A port that systemd holds (LISTEN_FDS): connections that come while the gateway is away wait, and are served."""

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from execgate.wire.update import Kind
from tests.clients import Client
from tests.harness import Process, running
from tests.rig import PATIENT, get
from tests.scripted_publisher import ScriptedPublisher

# What systemd does between fork and exec: the socket becomes descriptor 3, and is for this process alone.
PASS = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def address_of(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def started(
    listener: socket.socket,
    *flags: str,
    feed: str = "ipc:///nowhere",
    listen: str | None = None,
    name: str = "listen",
) -> Iterator[Process]:
    """Run a gateway to which `listener` is passed under a name."""
    where = ("--listen", listen or address_of(listener), "--feed", feed, "--replay", "none")
    with running(
        *("gateway", *where, *PATIENT, *flags),
        environment={"LISTEN_FDS": "1", "LISTEN_FDNAMES": name},
        prefix=(sys.executable, "-c", PASS, str(listener.fileno())),
        pass_fds=(listener.fileno(),),
    ) as process:
        yield process


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def test_who_connects_while_the_gateway_restarts_is_served_by_the_next(listener: socket.socket) -> None:
    address = address_of(listener)
    with ScriptedPublisher() as feed:
        with started(listener, feed=feed.endpoint) as first:
            feed.wait_for_gateways(1)
            feed.say(Kind.HEARTBEAT)
            assert first.ready()["listen"] == address
            with Client(address) as client:
                feed.updates(3)
                assert client.seqs(3) == [1, 2, 3]
            assert first.stop() == 0
        waiting = [socket.create_connection(("127.0.0.1", listener.getsockname()[1]), 10) for _ in range(20)]
        with started(listener, feed=feed.endpoint) as second:
            second.wait_for("listening address=")
            assert get(address, "/healthz")[0] == 200
            for sock in waiting:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                sock.settimeout(10)
                assert sock.recv(64).startswith(b"HTTP/1.1 200 ")
                sock.close()
            second.send_signal(signal.SIGKILL)
            second.wait()
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1]), 10):
            pass  # nor did kill -9 take the port away


@pytest.mark.parametrize(
    ("flags", "options", "words"),
    [
        ((), {"listen": "127.0.0.1:1"}, "--listen 127.0.0.1:1: systemd listens at 127.0.0.1:"),
        ((), {"name": "http"}, "LISTEN_FDNAMES='http': expected one socket, with FileDescriptorName=listen"),
        (("--workers", "2"), {}, "--workers: systemd passes a socket, which is for one process"),
    ],
)
def test_a_socket_that_will_not_do_is_named(
    listener: socket.socket, flags: tuple[str, ...], options: dict[str, str], words: str
) -> None:
    with started(listener, *flags, **options) as process:
        assert process.wait() == 2
        assert words in process.words()


def test_one_that_does_not_listen_is_named() -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        with started(idle) as process:
            assert process.wait() == 2
            assert "expected one that listens for TCP" in process.words()


def test_what_was_passed_to_the_parent_is_not_taken(listener: socket.socket) -> None:
    """LISTEN_PID is another process: the port is taken then, by whoever holds the socket."""
    environment = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "listen", "LISTEN_PID": "1"}
    with running("gateway", "--listen", address_of(listener), environment=environment) as process:
        assert process.wait() == 2
        assert "already in use" in process.words()
