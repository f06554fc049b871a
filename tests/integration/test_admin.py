"""`execgate admin` against daemons that run: who is connected, sent away, and how much is logged."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.harness import Process, running
from tests.rig import scripted


def admin(path: Path, *words: str) -> tuple[int, str]:
    """Run the command; return its exit status and what it says."""
    command = [sys.executable, "-m", "execgate", "admin", str(path), *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def as_json(path: Path, *words: str) -> dict[str, Any]:
    return dict(json.loads(admin(path, *words, "--json")[1]))


def test_a_gateway_tells_who_is_there_and_an_operator_can_close_one(tmp_path: Path) -> None:
    path = tmp_path / "gateway.admin"
    with scripted("--admin", str(path)) as (gateway, feed), gateway.client() as first, gateway.client() as second:
        first.subscribe(topics=["ex.A.", "ex.B*"], mode="volatile")
        second.subscribe()
        feed.updates(2)
        second.seqs(2)
        sessions = as_json(path, "sessions")["sessions"]
        assert [(each["mode"], each["topics"], each["sent"]) for each in sessions] == [
            ("volatile", ["ex.A.", "ex.B*"], 0),
            ("all", ["*"], 2),
        ]
        assert all(each["age_s"] >= 0 and each["address"].startswith("127.0.0.1:") for each in sessions)
        status, table = admin(path, "sessions")
        assert (status, len(table.splitlines())) == (0, 3)
        assert table.split()[:4] == ["id", "address", "mode", "topics"]
        assert as_json(path, "kick", str(sessions[0]["id"]))["session"] == sessions[0]["session"]
        assert first.close_code() == 1008
        feed.update()
        assert second.seqs(1) == [3]
        assert admin(path, "kick", "999") == (1, "error: id 999: no such session; it may have left\n")
        assert gateway.get("/sessions")[0] == 404, "nothing of it on the public port"
        dump = as_json(path, "dump")
        assert dump["figures"]["connections"] == 1
        assert f'admin = "{path}"' in dump["settings"]
        assert as_json(path, "log-level", "debug") == {"level": "debug"}
        gateway.process.wait_for("log level changed to=debug")
        second.connection.close_socket()
        assert gateway.process.stop() == 0
    assert not path.exists()
    status, words = admin(path, "sessions")
    assert (status, "No such file or directory" in words) == (2, True)


def test_a_publisher_has_one_and_what_the_killed_one_left_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "publisher.admin"
    flags = ("publisher", "--pub", "tcp://127.0.0.1:0", "--rate", "20", "--admin", str(path))
    with running(*flags) as killed:
        killed.ready()
        other = Process(*flags)
        assert other.wait() == 2
        assert f"--admin {path}: already in use, by a daemon that lives" in other.words()
        other.close()
        killed.popen.kill()
        killed.wait()
    assert path.exists()
    with running(*flags) as publisher:
        publisher.ready()
        assert oct(path.stat().st_mode & 0o777) == "0o660"
        assert "seq=" in as_json(path, "dump")["figures"]["status"]
        assert admin(path, "log-level", "debug") == (0, "level: debug\n")
        assert admin(path, "sessions") == (1, "error: do 'sessions': expected one of dump, log-level\n")
        assert publisher.stop() == 0


def test_top_shows_for_whom_the_most_waits_and_a_socket_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "gateway.admin"
    flags = ("--admin", str(path), "--metrics", "127.0.0.1:0", "--outbound-kib", "16384")
    with scripted(*flags) as (gateway, feed), gateway.raw() as stuck, gateway.client() as quick:
        quick.subscribe()
        stuck.send("subscribe-execs", {"mode": "all"})
        stuck.receive_event("subscribed")
        feed.updates(40, padding=200_000)
        quick.seqs(40)
        words = ("--once", "--interval", "0.1", "--url", gateway.facts["metrics"], "--admin", str(path))
        with running("top", *words, "--json") as top:
            assert top.wait() == 0
        (slow,) = json.loads(top.stdout[-1])["slowest"]
        assert slow["queued_bytes"] > 100_000
        assert as_json(path, "slowest")["sessions"][0]["session"] == slow["session"]
        with running("top", *words, "--admin", str(tmp_path / "none")) as top:
            assert top.wait() == 1
        assert any(line.startswith(slow["session"]) for line in top.stdout)
        assert top.stdout[-1] == f"{tmp_path / 'none'}: No such file or directory"
