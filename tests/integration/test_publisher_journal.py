"""A real publisher with a journal: killed under ingest, started again, looked at while it runs."""

import json
import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zmq

from execgate.wire.update import Kind, Update, decode
from publisher.core.rows import check
from publisher.journal.reader import Reader
from tests.harness import Process, running, wait_until

KILLS = 10
"""For each durability."""


class Listener:
    """A SUB that stays while publishers come and go on one endpoint."""

    def __init__(self, endpoint: str) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 10)
        self.socket.subscribe(b"")
        self.socket.connect(endpoint)
        self.updates: list[Update] = []
        self.positions: list[tuple[int, int]] = []

    def listen(self, seconds: float, until: int | None = None) -> int:
        """Take what comes for so long, or until so many updates came; return how many came."""
        before, ends = len(self.updates), time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and (until is None or len(self.updates) - before < until):
            if not self.socket.poll(max(1, round(left * 1000))):
                break
            update = decode(self.socket.recv_multipart())
            if update.kind == Kind.DATA:
                self.updates.append(update)
            self.positions.append((update.epoch, update.seq))
        return len(self.updates) - before

    def assert_one_stream(self) -> None:
        """One epoch, in which no seq was used twice and no position went back."""
        assert len({update.epoch for update in self.updates}) == 1, "an epoch ended"
        seen = [update.seq for update in self.updates]
        assert all(later > before for before, later in pairwise(seen)), "a seq was used twice"
        assert all(later >= before for before, later in pairwise(self.positions))

    def close(self) -> None:
        self.context.destroy(linger=0)


def journaled(directory: Path) -> list[Update]:
    """All updates of the one epoch of a journal that nobody writes."""
    found = inspect(directory)
    (epoch,) = found["epochs"]
    reader = Reader(directory, int(epoch["epoch"], 16), 0)
    updates: list[Update] = []
    while more := reader.read(len(updates) + 1, 1 << 40, 1 << 30):
        updates += more
    reader.close()
    assert len(updates) == epoch["last"]
    return updates


def inspect(directory: Path) -> dict[str, Any]:
    said = tool("inspect", str(directory), "--json")
    assert said.returncode == 0, said.stderr
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def tool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "execgate", "publisher", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_killed_again_and_again_under_ingest_it_goes_on_in_the_same_epoch_without_a_seq_lost_or_used_twice(
    tmp_path: Path, durability: str
) -> None:
    """What any subscriber has seen is in the journal, byte for byte; the journal is contiguous."""
    pub, data = f"ipc://{tmp_path}/feed", tmp_path / "data"
    arguments = ["publisher", "--pub", pub, "--data-dir", str(data), "--durability", durability]
    arguments += ["--rate", "5000", "--symbols", "50", "--heartbeat-ms", "20"]
    chosen = random.Random(durability)
    listener = Listener(pub)
    lives, goes_on = 0, 0
    try:
        for _ in range(KILLS):
            publisher = Process(*arguments)
            try:
                publisher.ready()
                lives += listener.listen(5, until=1) > 0
                listener.listen(chosen.uniform(0, 0.1))
                publisher.popen.kill()
                publisher.wait()
                goes_on += any(" goes on seq=" in line for line in publisher.stderr)
            finally:
                publisher.close()
            listener.listen(0.02)
    finally:
        listener.close()
    assert (lives, goes_on) == (KILLS, KILLS - 1)  # the fault struck, in mid-stream each time
    kept = journaled(data)
    assert [update.seq for update in kept] == list(range(1, len(kept) + 1))
    tseqs: dict[bytes, int] = {}
    for update in kept:
        assert update.tseq == tseqs.get(update.topic, 0) + 1
        tseqs[update.topic] = update.tseq
    listener.assert_one_stream()
    assert all(update == kept[update.seq - 1] for update in listener.updates)
    assert len(listener.updates) > KILLS
    assert tool("verify", str(data)).returncode == 0


def test_control_killed_without_a_journal_it_begins_anew(tmp_path: Path) -> None:
    pub = f"ipc://{tmp_path}/feed"
    listener = Listener(pub)
    try:
        for life in range(1, 3):
            with running("publisher", "--pub", pub, "--rate", "5000", "--heartbeat-ms", "20") as publisher:
                publisher.ready()
                while len({update.epoch for update in listener.updates}) < life:
                    assert listener.listen(5, until=100), publisher.words()
                publisher.popen.kill()
                publisher.wait()
    finally:
        listener.close()
    with pytest.raises(AssertionError, match="an epoch ended"):
        listener.assert_one_stream()


def test_a_clean_end_and_a_start_go_on_where_the_last_one_ended(tmp_path: Path) -> None:
    arguments = ["publisher", "--pub", "tcp://127.0.0.1:0", "--data-dir", str(tmp_path / "new" / "data")]
    arguments += ["--rate", "10000", "--max-updates", "500"]
    for start in range(3):
        with running(*arguments) as publisher:
            assert publisher.wait() == 0
            publisher.wait_for("ended reason=max-updates updates=500 ")
            publisher.wait_for("begins: the journal is new" if not start else f"goes on seq={start * 500} floor=1")
    assert len(journaled(tmp_path / "new" / "data")) == 1500
    assert (tmp_path / "new" / "data").stat().st_mode & 0o077 == 0


def test_retention_holds_while_it_runs(tmp_path: Path) -> None:
    arguments = ("publisher", "--pub", "tcp://127.0.0.1:0", "--data-dir", str(tmp_path))
    with running(*arguments, "--rate", "5000", "--retain-updates", "1000", "--symbols", "3") as publisher:
        publisher.ready()
        wait_until(lambda: inspect(tmp_path)["epochs"][0]["first"] > 2000, "updates are let go")
        (epoch,) = inspect(tmp_path)["epochs"]
        assert epoch["updates"] < 5000  # a group of 2,048 may just have come
        assert tool("verify", str(tmp_path)).returncode == 0
        assert publisher.stop() == 0
    with running(*arguments, "--rate", "5000", "--max-updates", "1", "--symbols", "3") as publisher:
        assert publisher.wait() == 0
        publisher.wait_for(r"goes on seq=\d+ floor=([2-9]\d{3}|\d{5,})")


def test_the_tools_work_while_it_runs_and_an_export_is_read_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    arguments = ("publisher", "--pub", "tcp://127.0.0.1:0", "--data-dir", str(data), "--rate", "2000")
    with running(*arguments) as publisher:
        publisher.ready()
        wait_until(lambda: inspect(data)["epochs"][0]["last"] > 200, "updates are kept")
        assert tool("verify", str(data)).returncode == 0
        exported = tool("export", str(data), "--from", "11", "--to", "60")
        assert publisher.stop() == 0
    lines = exported.stdout.splitlines()
    assert (exported.returncode, len(lines)) == (0, 50)
    assert [len(check(line.encode())) for line in lines] == [2] * 50
    (tmp_path / "execs.jsonl").write_text(exported.stdout)
    again = ("--data-dir", str(tmp_path / "again"), "--source", f"file:{tmp_path}/execs.jsonl")
    with running("publisher", "--pub", "tcp://127.0.0.1:0", *again) as publisher:
        assert publisher.wait() == 0
        publisher.wait_for("ended reason=end-of-input updates=50 rows=100 refused=0")
    assert tool("export", str(tmp_path / "again")).stdout == exported.stdout


def test_a_second_publisher_on_the_same_directory_is_one_line_and_does_no_harm(tmp_path: Path) -> None:
    arguments = ("publisher", "--pub", "tcp://127.0.0.1:0", "--data-dir", str(tmp_path), "--rate", "100")
    with running(*arguments) as first:
        first.ready()
        with running(*arguments) as second:
            assert second.wait() == 2
            assert second.stderr == [
                f"execgate publisher: --data-dir {tmp_path}: is in use by another publisher (pid {first.pid})"
            ]
        assert first.stop() == 0
    with running(*arguments, "--max-updates", "1") as third:
        assert third.wait() == 0
