"""The life of a real publisher: ready, heartbeats, subscriptions, its end, and every clear error before it."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from execgate.wire.update import Kind
from tests.harness import Process, running
from tests.integration.publisher_feed import Subscriber, data_of

FREE = "tcp://127.0.0.1:0"
QUIET = ("publisher", "--source", "ingest", "--ingest", FREE)
"""A publisher of which nothing comes but heartbeats."""


def test_ready_names_what_was_bound() -> None:
    with running(*QUIET, "--pub", FREE) as publisher:
        facts = publisher.ready()
        assert set(facts) == {"pid", "pub", "replay", "ingest", "epoch"}
        assert int(facts["pid"]) == publisher.pid
        for endpoint in (facts["pub"], facts["replay"], facts["ingest"]):
            host, port = endpoint.removeprefix("tcp://").split(":")
            assert host == "127.0.0.1"
            socket.create_connection((host, int(port)), timeout=5).close()
        publisher.wait_for(f"epoch={facts['epoch']} begins: held in memory, another start is another epoch")


def test_each_start_is_another_epoch() -> None:
    epochs = set()
    for _ in range(2):
        with running(*QUIET, "--pub", FREE) as publisher:
            epochs.add(publisher.ready()["epoch"])
    assert len(epochs) == 2
    assert all(len(epoch) == 16 and int(epoch, 16) for epoch in epochs)


def test_systemd_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(path)
        channel.settimeout(20)
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}
        with running(*QUIET, "--pub", FREE, environment=environment) as publisher:
            assert channel.recv(1000) == b"READY=1"
            for _ in range(3):  # from the running loop, as often as its watchdog needs it
                beat = channel.recv(1000).decode()
                assert re.fullmatch(
                    r"WATCHDOG=1\nSTATUS=epoch=[0-9a-f]{16} seq=0 updates=0 refused=0 subscriptions=0", beat
                )
            assert publisher.stop() == 0
            while (last := channel.recv(1000)).startswith(b"WATCHDOG=1"):
                pass
            assert last == b"STOPPING=1"


def test_a_subscriber_is_told_the_position_and_then_regularly() -> None:
    with running("publisher", "--pub", FREE, "--heartbeat-ms", "200", "--rate", "100") as publisher:
        facts = publisher.ready()
        for _ in range(3):  # also one that is not the first
            with Subscriber(facts["pub"]) as feed:
                beat = feed.next_beat()
                assert f"{beat.epoch:016x}" == facts["epoch"]
                assert len(feed.beats) == 1
                assert feed.next_beat().seq > beat.seq


def test_a_new_subscriber_does_not_wait_for_the_next_beat() -> None:
    """Ten joins are told at once; with a beat a second alone they would take ten seconds."""
    with running(*QUIET, "--pub", FREE, "--heartbeat-ms", "1000") as publisher:
        endpoint = publisher.ready()["pub"]
        times = []
        for _ in range(10):
            with Subscriber(endpoint) as feed:
                times.append(feed.next_beat().ts_us)
        assert times[-1] - times[0] < 5_000_000


def test_heartbeats_go_on_while_the_feed_is_busy() -> None:
    """A source that never waits lets the loop run; and each beat carries the seq of the update before it."""
    arguments = ("--pub", FREE, "--heartbeat-ms", "20", "--rate", "1000000", "--await-gateways", "1")
    with (
        running("publisher", *arguments, "--max-updates", "20000") as publisher,
        Subscriber(publisher.ready()["pub"]) as feed,
    ):
        assert len(feed.until_bye()) == 20_000
        assert len([beat for beat in feed.beats if 0 < beat.seq < 20_000]) >= 3


def test_gateways_are_awaited() -> None:
    arguments = ("--pub", FREE, "--await-gateways", "2", "--rate", "2000", "--max-updates", "10")
    with running("publisher", *arguments, "--heartbeat-ms", "20") as publisher:
        endpoint = publisher.ready()["pub"]
        with Subscriber(endpoint) as first:
            assert {first.next().seq for _ in range(5)} == {0}
            with Subscriber(endpoint) as second:
                assert [update.seq for update in second.until_bye()] == list(range(1, 11))
                assert [update.seq for update in first.until_bye()] == list(range(1, 11))
        assert publisher.wait() == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_a_bye(signum: int) -> None:
    with running("publisher", "--pub", FREE, "--rate", "1000", "--await-gateways", "1") as publisher:
        with Subscriber(publisher.ready()["pub"]) as feed:
            feed.next_data()
            publisher.send_signal(signum)
            updates = feed.until_bye()
            assert feed.last.seq == (updates[-1].seq if updates else 1)
        assert publisher.wait() == 0
        publisher.wait_for(rf"ended reason=signal updates={feed.last.seq} ")


def test_a_signal_ends_a_publisher_that_waits_for_input_or_gateways() -> None:
    for arguments in (("--source", "-"), ("--await-gateways", "1")):
        publisher = Process("publisher", "--pub", FREE, *arguments, stdin=subprocess.PIPE)
        try:
            publisher.ready()
            assert publisher.stop() == 0
            publisher.wait_for("ended reason=signal updates=0")
        finally:
            publisher.close()


def test_a_stuck_gateway_does_not_hold_the_end() -> None:
    """It has more queued than the kernel takes and reads nothing: the linger is bounded."""
    arguments = (
        "--pub",
        FREE,
        "--await-gateways",
        "1",
        "--rows",
        "1000",
        "--rate",
        "2000",
        "--max-updates",
        "150",
    )
    with running("publisher", *arguments) as publisher:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stuck = context.socket(zmq.SUB)
        stuck.setsockopt(zmq.RCVHWM, 1)
        stuck.subscribe(b"")
        stuck.connect(publisher.ready()["pub"])
        try:
            publisher.wait_for("ended reason=max-updates updates=150")
            assert publisher.wait() == 0
        finally:
            context.destroy(linger=0)


def test_ipc_endpoints(tmp_path: Path) -> None:
    pub, ingest = f"ipc://{tmp_path}/feed", f"ipc://{tmp_path}/ingest"
    arguments = ("--source", "ingest", "--ingest", ingest, "--max-updates", "1", "--await-gateways", "1")
    with running("publisher", "--pub", pub, *arguments) as publisher:
        facts = publisher.ready()
        assert (facts["pub"], facts["ingest"]) == (pub, ingest)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            with Subscriber(pub) as feed:
                push = context.socket(zmq.PUSH)
                push.connect(ingest)
                push.send(b'{"symbol":"A"}')
                assert [data["topic"] for data in data_of(feed.until_bye())] == ["ex.A."]
        finally:
            context.destroy(linger=0)
        assert publisher.wait() == 0


def error_of(*arguments: str) -> str:
    """Run a publisher that must not get ready; return its one line of error."""
    with running("publisher", *arguments) as publisher:
        assert publisher.wait() == 2
        assert publisher.stdout == []
        lines = [line for line in publisher.stderr if " INFO " not in line]
        assert len(lines) == 1, publisher.words()
        return lines[0]


def test_a_taken_port_is_one_line_that_names_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        assert error_of("--pub", endpoint).startswith(f"execgate publisher: --pub {endpoint}: already in use")
        ingest = ("--pub", FREE, "--source", "ingest", "--ingest", endpoint)
        assert error_of(*ingest).startswith(f"execgate publisher: --ingest {endpoint}: already in use")


def test_a_path_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    pub = f"ipc://{tmp_path}/precious"
    assert error_of("--pub", pub).startswith(f"execgate publisher: --pub {pub}: is no socket; remove the file")
    assert (tmp_path / "precious").read_text() == "x"


def test_a_live_ipc_path_is_not_taken_away_and_a_dead_one_is_used(tmp_path: Path) -> None:
    pub = f"ipc://{tmp_path}/feed"
    with running(*QUIET, "--pub", pub) as first:
        first.ready()
        assert error_of("--pub", pub).startswith(f"execgate publisher: --pub {pub}: already in use")
        with Subscriber(pub) as feed:
            feed.next_beat()
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert (tmp_path / "feed").exists()
    with running(*QUIET, "--pub", pub) as second:
        second.ready()
        with Subscriber(pub) as feed:
            feed.next_beat()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--pub", "tcp://0.0.0.0:0"), "--pub tcp://0.0.0.0:0: not on the loopback"),
        (("--source", "ingest", "--ingest", "tcp://*:0"), "--ingest tcp://*:0: not on the loopback"),
        (("--source", "file:/nowhere/x"), "--source file:/nowhere/x: No such file or directory"),
        (("--source", "file:/"), "--source file:/: is a directory, expected a file"),
        (("--pub", "ipc:///nowhere/x"), "--pub ipc:///nowhere/x: No such file or directory"),
        (("--pub", "tcp://no-such-host.invalid:1", "--insecure-feed"), "--pub no-such-host.invalid:1: "),
        (("--rate", "fast"), "--rate 'fast': expected a number over 0"),
        (("--rate", "1", "--interval-ms", "1:2"), "--rate and --interval-ms: expected one of them"),
        (("--topic", "ex"), "--topic 'ex': expected at least one {field}"),
        (("--sauce", "x"), "unrecognized arguments: --sauce x"),
        (("--rate",), "argument --rate: expected one argument"),
    ],
)
def test_clear_errors(arguments: tuple[str, ...], line: str) -> None:
    pub = () if "--pub" in arguments else ("--pub", FREE)
    assert error_of(*pub, *arguments).startswith(f"execgate publisher: {line}")


def test_standard_input_that_is_closed_is_one_line() -> None:
    """Its descriptor used to become a socket of ours, which was then read, and closed, as standard input."""
    command = f"exec {sys.executable} -m execgate publisher --pub {FREE} --source - <&-"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "execgate publisher: --source -: standard input is closed, expected something to read\n"


def test_the_loopback_may_be_named_and_off_it_is_allowed_by_a_flag() -> None:
    for arguments in (("--pub", "tcp://localhost:0"), ("--pub", "tcp://*:0", "--insecure-feed")):
        with running(*QUIET, *arguments) as publisher:
            port = publisher.ready()["pub"].rpartition(":")[2]
            with Subscriber(f"tcp://127.0.0.1:{port}") as feed:
                assert feed.next().kind == Kind.HEARTBEAT


def test_help_has_examples() -> None:
    with running("publisher", "--help") as publisher:
        assert publisher.wait() == 0
        assert "examples:" in publisher.stdout
