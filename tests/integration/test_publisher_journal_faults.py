"""Broken disks under a real publisher: full, read-only, failing fsync. Ingest waits, the feed lives, it heals."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from benchmarks.journal import build_shim
from tests.harness import Process, running, wait_until
from tests.integration.publisher_feed import Subscriber

FREE = "tcp://127.0.0.1:0"
_IN_A_NAMESPACE = ("unshare", "-m", "--propagation", "private")


def may_mount() -> bool:
    try:
        command = [*_IN_A_NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        return subprocess.run(command, capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


needs_mount = pytest.mark.skipif(not may_mount(), reason="no mount namespace here: the full disk was NOT tested")
needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler: failing fsync was NOT tested")


def on_tmpfs(directory: Path, options: str, then: str = "") -> tuple[str, ...]:
    """A prefix that runs a command with a tmpfs at `directory` that nobody else sees."""
    mount = f"mount -t tmpfs -o {options} tmpfs '{directory}' && {then or 'true'} && exec \"$@\""
    return (*_IN_A_NAMESPACE, "sh", "-c", mount, "sh")


@pytest.fixture
def push() -> Iterator["zmq.Socket[bytes]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.setsockopt(zmq.SNDHWM, 0)
    yield socket
    context.destroy(linger=0)


def message(number: int) -> bytes:
    return b'{"symbol":"A","number":%d,"text":"%s"}' % (number, b"x" * 2000)


def in_its_namespace(publisher: Process, *command: str) -> "subprocess.CompletedProcess[str]":
    entered = ["nsenter", "-t", str(publisher.pid), "-m", "--", *command]
    return subprocess.run(entered, capture_output=True, text=True, timeout=60, cwd=Path.cwd())


@contextmanager
def failing_disk(
    folder: Path, push: "zmq.Socket[bytes]", what: str, *flags: str
) -> Iterator[tuple[Process, Subscriber, Path]]:
    """A publisher that has published one update and whose `what` fails while the file that is yielded is there."""
    fails = folder / "fails"
    environment = {"LD_PRELOAD": str(build_shim(folder)), what: str(fails)}
    arguments = ("--source", "ingest", "--ingest", FREE, "--pub", FREE, "--heartbeat-ms", "20", *flags)
    with running("publisher", *arguments, environment=environment) as publisher:
        facts = publisher.ready()
        with Subscriber(facts["pub"]) as feed:
            feed.next_beat()  # it is subscribed
            push.connect(facts["ingest"])
            push.send(message(1))
            assert feed.next_data().seq == 1
            fails.touch()
            yield publisher, feed, fails


@needs_mount
def test_a_full_disk_holds_ingest_and_history_and_feed_live_and_it_heals_without_a_restart(
    tmp_path: Path, push: "zmq.Socket[bytes]"
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    arguments = ("--source", "ingest", "--ingest", FREE, "--pub", FREE, "--data-dir", str(data))
    prefix = on_tmpfs(data, "size=1m")
    with running("publisher", *arguments, "--heartbeat-ms", "20", prefix=prefix) as publisher:
        facts = publisher.ready()
        with Subscriber(facts["pub"]) as feed:
            feed.next_beat()
            push.connect(facts["ingest"])
            kept, sent = 100, 1_000  # 2 MB, and the first of it apart: all of it may fail in one commit
            for number in range(1, kept + 1):
                push.send(message(number))
            while feed.next().seq < kept:
                pass
            for number in range(kept + 1, sent + 1):
                push.send(message(number))
            failing = publisher.wait_for(r"journal failing reason=(.*); ingest waits, history is served")
            assert "no space left" in failing.group(1) or "disk I/O" in failing.group(1)
            beats: set[int] = set()
            while len(beats) != 1:  # the feed lives; what was kept goes out, then nothing
                beats = {feed.next_beat().seq for _ in range(30)}
            (before,) = beats
            assert kept <= before < sent
            verify = (sys.executable, "-m", "execgate", "publisher", "verify", str(data))
            checked = in_its_namespace(publisher, *verify)
            assert checked.stdout.startswith(f"{before} updates are whole"), checked
            assert in_its_namespace(publisher, "mount", "-o", "remount,size=64m", str(data)).returncode == 0
            publisher.wait_for("journal heals after_s=")
            while feed.next().seq < sent:  # contiguous: `next` checks it
                pass
            wait_until(lambda: in_its_namespace(publisher, *verify).returncode == 0, "the journal is whole")
            assert in_its_namespace(publisher, *verify).stdout.startswith(f"{sent} updates are whole")
        assert publisher.stop() == 0
        assert sum("journal failing" in line for line in publisher.stderr) == 1  # told once, not in a flood


@pytest.mark.slow
@needs_mount
def test_an_end_on_a_full_disk_is_in_time_and_says_that_something_was_not_published(
    tmp_path: Path, push: "zmq.Socket[bytes]"
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    arguments = ("--source", "ingest", "--ingest", FREE, "--pub", FREE, "--data-dir", str(data))
    with running("publisher", *arguments, prefix=on_tmpfs(data, "size=512k")) as publisher:
        push.connect(publisher.ready()["ingest"])
        for number in range(600):
            push.send(message(number))
        publisher.wait_for("journal failing reason=")
        assert publisher.stop() == 1
        publisher.wait_for("not published: what was stamped could not be kept in 5 s")


@needs_mount
def test_a_read_only_directory_is_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for with_a_journal in (False, True):
        start = (
            f"{sys.executable} -m execgate publisher --pub {FREE} --data-dir '{data}' --rate 1000 --max-updates 1"
        )
        first = f"{start} >/dev/null 2>&1" if with_a_journal else "true"
        prefix = on_tmpfs(data, "size=4m", f"{first} && mount -o remount,ro '{data}'")
        with running("publisher", "--pub", FREE, "--data-dir", str(data), prefix=prefix) as publisher:
            assert publisher.wait() == 2
            assert publisher.stderr == [f"execgate publisher: --data-dir {data}: Read-only file system"]


@needs_compiler
@pytest.mark.parametrize("what", ["FSYNC_FAILS_IF", "WRITE_FAILS_IF"])
def test_a_failing_fsync_or_write_publishes_nothing_and_heals(
    tmp_path: Path, push: "zmq.Socket[bytes]", what: str
) -> None:
    journaled = ("--data-dir", str(tmp_path / "data"), "--durability", "power")
    with failing_disk(tmp_path, push, what, *journaled) as (publisher, feed, fails):
        push.send(message(2))
        push.send(message(3))
        publisher.wait_for("journal failing reason=disk I/O error")
        assert [feed.next_beat().seq for _ in range(30)] == [1] * 30
        wait_until(lambda: fails.stat().st_size >= 3, "it was tried again")  # and the proof that the fault struck
        fails.unlink()
        assert [feed.next_data().seq for _ in range(2)] == [2, 3]
        publisher.wait_for("journal heals after_s=")
        assert publisher.stop() == 0


@needs_compiler
@pytest.mark.parametrize(("what", "has_journal"), [("FSYNC_FAILS_IF", True), ("WRITE_FAILS_IF", False)])
def test_control_who_does_not_wait_for_the_disk_publishes_while_it_fails(
    tmp_path: Path, push: "zmq.Socket[bytes]", what: str, has_journal: bool
) -> None:
    """Without fsync in the way the failing one, without a journal the failing write."""
    journaled = ("--data-dir", str(tmp_path / "data"), "--durability", "process") if has_journal else ()
    with failing_disk(tmp_path, push, what, *journaled) as (_, feed, __):
        push.send(message(2))
        assert feed.next_data().seq == 2


@needs_compiler
def test_killed_while_fsync_fails_it_never_uses_a_seq_for_two_payloads(
    tmp_path: Path, push: "zmq.Socket[bytes]"
) -> None:
    """Nobody knows then whether the group is in the journal; either way what was seen stands, and seqs go on."""
    fails = tmp_path / "fails"
    shim = str(build_shim(tmp_path))
    data, pub = tmp_path / "data", f"ipc://{tmp_path}/feed"
    ingest = f"ipc://{tmp_path}/ingest"
    arguments = ["--source", "ingest", "--ingest", ingest, "--pub", pub, "--data-dir", str(data)]
    arguments += ["--durability", "power", "--heartbeat-ms", "20"]
    push.connect(ingest)
    seen = {}
    for life in range(3):
        environment = {"LD_PRELOAD": shim, "FSYNC_FAILS_IF": str(fails)}
        with running("publisher", *arguments, environment=environment) as publisher:
            publisher.ready()
            with Subscriber(pub) as feed:
                position = feed.next_beat().seq
                push.send(message(life))
                update = feed.next_data()
                assert update.seq == position + 1
                assert update.seq not in seen
                seen[update.seq] = update.payload
                fails.touch()
                push.send(message(100 + life))
                publisher.wait_for("journal failing")
                assert feed.next_beat().seq == update.seq
                os.kill(publisher.pid, 9)
                publisher.wait()
            fails.unlink()
    verify = [sys.executable, "-m", "execgate", "publisher", "verify", str(data)]
    assert subprocess.run(verify, capture_output=True, timeout=60).returncode == 0
