"""sd_notify to a real datagram socket, and to none, a gone one, a full one."""

import asyncio
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


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_sign_of_life_is_due_where_systemd_asks_this_process_for_it(
    environment: dict[str, str], expected: float | None
) -> None:
    assert systemd.watchdog_s(environment) == expected


def received(watcher: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in watcher.recv(1000).decode().splitlines())


def nothing_waits(watcher: socket.socket) -> bool:
    watcher.setblocking(False)
    try:
        watcher.recv(1000)
    except BlockingIOError:
        return True
    finally:
        watcher.settimeout(5)
    return False


def test_a_loop_that_turns_tells_so_and_how_it_is_and_one_that_hangs_falls_silent(
    watcher: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000")

    async def play() -> None:
        pulse = systemd.Pulse(lambda: "seq=1\nREADY=1", is_serving=lambda: True)
        pulse.start()
        for _ in range(3):  # one in the first half of the watchdog's time, and so on
            beat = await asyncio.to_thread(received, watcher)
            assert beat == {"WATCHDOG": "1", "STATUS": "seq=1 READY=1"}  # a status can't say anything else
        while not nothing_waits(watcher):
            pass
        time.sleep(0.2)  # the loop hangs: five times what the watchdog allows
        assert nothing_waits(watcher)
        assert await asyncio.to_thread(received, watcher)
        pulse.stop()
        while not nothing_waits(watcher):
            pass
        await asyncio.sleep(0.1)
        assert nothing_waits(watcher)

    asyncio.run(play())


def test_a_start_or_an_end_that_takes_long_asks_for_time_while_its_loop_turns(
    watcher: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    is_serving = False

    async def play() -> None:
        nonlocal is_serving
        pulse = systemd.Pulse(lambda: "joining", lambda: is_serving)
        pulse.start()
        assert (await asyncio.to_thread(received, watcher))["EXTEND_TIMEOUT_USEC"] == "30000000"
        is_serving = True
        while "EXTEND_TIMEOUT_USEC" in await asyncio.to_thread(received, watcher):
            pass
        pulse.stop()

    asyncio.run(asyncio.wait_for(play(), 10))


def test_a_watcher_that_does_not_read_does_not_hold_the_loop(
    watcher: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    while systemd.notify("x", wait_s=0):
        pass
    monkeypatch.setattr(systemd, "_TIMEOUT_S", 60.0)

    async def play() -> None:
        pulse = systemd.Pulse(lambda: "", lambda: True)
        pulse.start()
        pulse.stop()

    asyncio.run(asyncio.wait_for(play(), 10))


def test_without_systemd_nothing_is_told_nor_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    asked: list[None] = []

    async def play() -> None:
        systemd.Pulse(lambda: asked.append(None) or "", lambda: True).start()  # type: ignore[func-returns-value]
        await asyncio.sleep(0)

    asyncio.run(play())
    assert asked == []
