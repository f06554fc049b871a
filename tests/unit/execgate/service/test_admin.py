"""The admin socket: whose file it is, and that what a peer sends is bounded and answered in words."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from execgate.service import admin
from execgate.service.admin import MAX_PEERS, MAX_REQUEST_BYTES, AdminServer
from execgate.wire.errors import UsageError


def server() -> AdminServer:
    def double(request: dict[str, Any]) -> dict[str, Any]:
        return {"twice": 2 * request["n"]}

    return AdminServer({"double": double}, lambda: {"seq": 7}, lambda: "rate = 20\n")


def asked(path: str, sent: bytes) -> list[dict[str, Any]]:
    """Send all of it, and return the answers until the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(20)
        peer.connect(path)
        try:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was too much
        text = b""
        try:
            while piece := peer.recv(65536):
                text += piece
        except ConnectionResetError:
            pass
    return [json.loads(line) for line in text.splitlines()]


def play(path: Path, check: Callable[[], Any]) -> Any:
    """Run `check` in a thread while a server listens at `path`."""

    async def run() -> Any:
        listening = server()
        await listening.bind(str(path))
        try:
            return await asyncio.to_thread(check)
        finally:
            listening.close()

    return asyncio.run(run())


def test_the_socket_has_mode_0660_from_its_first_moment_and_is_gone_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "admin"
    before = os.umask(0)
    try:
        with admin.bind(str(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert os.umask(0) == 0, "the umask is as it was"
        path.unlink()
        assert play(path, lambda: stat.S_IMODE(path.stat().st_mode)) == 0o660
        assert not path.exists()
    finally:
        os.umask(before)


def test_what_a_dead_daemon_left_is_replaced_and_what_a_live_one_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "admin"
    admin.bind(str(path)).close()  # it stays in the file system, and nobody listens
    with admin.bind(str(path)), pytest.raises(UsageError, match=r"admin: already in use, by a daemon that lives"):
        admin.bind(str(path))
    assert path.exists()


@pytest.mark.parametrize(
    ("name", "reason"), [("file", "is no socket"), ("no/such/folder", "No such file"), ("x" * 120, "")]
)
def test_a_path_that_cannot_be_had_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=f"^--admin {tmp_path / name}: .*{reason}"):
        admin.bind(str(tmp_path / name))
    assert (tmp_path / "file").read_text() == "mine"


def test_the_file_of_another_daemon_that_came_after_us_stays(tmp_path: Path) -> None:
    path = tmp_path / "admin"

    def replace() -> None:
        path.unlink()
        admin.bind(str(path)).close()

    play(path, replace)
    assert path.exists()


def test_requests_are_answered_in_order_and_errors_say_what_was_expected(tmp_path: Path) -> None:
    path = tmp_path / "admin"
    lines = (
        b'{"do":"double","n":21}\n',
        b"nonsense\n",
        b"[1]\n",
        b'{"do":"fly"}\n',
        b'{"do":"log-level","level":"loud"}\n',
        b'{"do":"double","n":1}\n',
    )
    answers = play(path, lambda: asked(str(path), b"".join(lines)))
    assert (answers[0], answers[5]) == ({"twice": 42}, {"twice": 2})
    assert "expected an object" in answers[2]["error"]
    assert answers[3]["error"] == "do 'fly': expected one of double, dump, log-level"
    assert answers[4]["error"] == "level 'loud': expected one of debug, info, warning, error"
    assert "error" in answers[1]


def test_a_request_that_is_too_long_is_refused_and_ends_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "admin"
    long = b'{"do":"' + b"x" * MAX_REQUEST_BYTES + b'"}\n{"do":"double","n":1}\n'
    assert play(path, lambda: asked(str(path), long)) == [{"error": f"a request over {MAX_REQUEST_BYTES} bytes"}]


def test_more_peers_than_the_bound_are_hung_up_on(tmp_path: Path) -> None:
    path = tmp_path / "admin"

    def crowd() -> bytes:
        peers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(MAX_PEERS + 1)]
        for peer in peers:
            peer.settimeout(20)
            peer.connect(str(path))
            if peer is not peers[-1]:
                peer.sendall(b'{"do":"double","n":1}\n')
                assert peer.recv(100) == b'{"twice":2}\n'
        said = peers[-1].recv(100)
        for peer in peers:
            peer.close()
        return said

    assert play(path, crowd) == b""


def test_a_dump_has_figures_settings_and_where_every_thread_is(tmp_path: Path) -> None:
    path = tmp_path / "admin"
    (answer,) = play(path, lambda: asked(str(path), b'{"do":"dump"}\n'))
    assert (answer["pid"], answer["figures"], answer["settings"]) == (os.getpid(), {"seq": 7}, "rate = 20\n")
    assert "test_admin.py" in answer["stacks"], "the thread that asks"
