"""sd_notify to a real datagram socket, and to none, a gone one, a full one."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from execgate.service import systemd


@pytest.fixture(params=["path", "abstract"])
def watcher(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@execgate-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name[1:] if name.startswith("@") else name)
        channel.settimeout(5)
        yield channel


def test_one_datagram_reaches_the_socket_that_systemd_names(watcher: socket.socket) -> None:
    assert systemd.notify("READY=1\nSTATUS=né")
    assert watcher.recv(100) == "READY=1\nSTATUS=né".encode()


def test_a_socket_that_is_gone_is_no_error(watcher: socket.socket) -> None:
    watcher.close()
    assert not systemd.notify("READY=1")


def test_a_watcher_that_does_not_read_holds_us_for_a_moment_only(
    watcher: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "_TIMEOUT_S", 0.05)
    started = time.monotonic()
    for _ in range(1000):
        if not systemd.notify("WATCHDOG=1"):
            break
    else:
        raise AssertionError("the socket never filled")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", [None, "", "relative", "vsock:2:1", "/no/such/socket", "/" + "x" * 200])
def test_there_may_be_nobody_to_tell(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    assert not systemd.notify("READY=1")
