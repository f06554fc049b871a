"""`execgate loadgen` as a process, against a server that is not ours and that lies on purpose."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from execgate.measure.classic import CLIENT_HEADING
from tests.harness import Process, running, wait_until
from tests.integration.reference_server import EPOCH, event, reference_server, update, updates

HEADING_OF_2012 = (
    "clients,connected,cpu time, load avg, total memory (M), used memory(M),count, "
    "average response (ms), average outlier high response (ms), average outlier low response (ms), "
    "average message size, messages received"
)


def classic(what: str, url: str, *more: str) -> tuple[str, ...]:
    return ("loadgen", "classic2012", what, "--url", url, *more)


def run(*arguments: str, expected: int = 0, environment: dict[str, str] | None = None) -> Process:
    """Run to the end; return the process with its words."""
    with running(*arguments, environment=environment) as process:
        assert process.wait() == expected, process.words()
    return process


def run_for_summary(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    path = tmp_path / "summary.json"
    run(*arguments, "--json", str(path))
    return dict(json.loads(path.read_text()))


def columns(line: str) -> list[str]:
    return line.split(",")


def test_the_csv_is_that_of_2012_and_clients_come_in_steps() -> None:
    with reference_server(script=updates([1, 2, 3])) as server:
        steps = ("--step", "2", "--interval", "0.3", "--max-clients", "5", "--for", "1.05")
        process = run(*classic("pubsub", server.url, *steps))
    heading, *lines = process.stdout
    assert heading == HEADING_OF_2012 == CLIENT_HEADING
    assert [columns(line)[:2] for line in lines] == [["2", "2"], ["4", "4"], ["5", "5"], ["5", "5"]]
    assert all(len(columns(line)) == len(columns(heading)) for line in lines)
    assert [columns(line)[11] for line in lines] == ["6", "6", "3", "0"], "messages of each interval alone"
    assert [columns(line)[6] for line in lines] == ["2", "2", "1", "0"], "clients that received anything"


def test_the_names_of_2012_in_the_environment_are_heeded() -> None:
    with reference_server() as server:
        environment = {"INTERVAL_BETWEEN_NEW_CLIENTS_SECS": "0.3", "OUTLIER_SIZE": "1", "MAX_ROWS": "1"}
        steps = ("--step", "1", "--for", "0.95")
        process = run(*classic("orders", server.url, *steps), environment=environment)
    assert [columns(line)[0] for line in process.stdout[1:]] == ["1", "2", "3", "4"][: len(process.stdout) - 1]
    assert len(process.stdout) == 5
    assert {order["rows"] for order in server.requests} == {1}


FAULTS: list[tuple[str, list[Any], dict[str, int]]] = [
    ("whole", updates(range(1, 50)), {}),
    ("gaps", updates([1, 2, 5, 6, 9]), {"gaps": 2, "missing": 4}),
    ("first one lost", updates([3, 4]), {"gaps": 1, "missing": 2}),
    ("duplicates", updates([1, 2, 2, 3, 1]), {"duplicates": 2}),
    ("reorders", updates([1, 3, 2, 5, 4]), {"reorders": 2}),
    ("all at once", updates([1, 4, 2, 2, 6]), {"gaps": 2, "missing": 2, "duplicates": 1, "reorders": 1}),
    ("lost tail", [*updates([1, 2]), event("heartbeat", epoch=EPOCH, seq=4)], {"gaps": 1, "missing": 2}),
    (
        "told",
        [*updates([1]), {"event": "gap", "data": {"from": 2, "to": 3, "count": 2, "topic": None}}, *updates([4])],
        {"told_gaps": 1, "told_missing": 2},
    ),
    ("epoch", [*updates([1, 2]), update(1, "00000000000000bb")], {"epoch_changes": 1}),
    ("not json", [*updates([1]), "{nonsense", *updates([2])], {}),
]


@pytest.mark.parametrize(("script", "faults"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_injected_faults_are_counted_exactly(tmp_path: Path, script: list[Any], faults: dict[str, int]) -> None:
    clients = 3
    with reference_server(script=script) as server:
        arguments = classic("pubsub", server.url, "--step", str(clients), "--max-clients", str(clients))
        summary = run_for_summary(tmp_path, *arguments, "--for", "0.4")
    names = ("gaps", "missing", "told_gaps", "told_missing", "duplicates", "reorders", "epoch_changes")
    assert {name: summary[name] for name in names if summary[name]} == {
        name: count * clients for name, count in faults.items()
    }
    sent = sum(isinstance(item, dict) and item["event"] == "receive-execs" for item in script)
    assert summary["delivered"] == clients * sent
    assert summary["errors"] == ({"bad message": clients} if "{nonsense" in script else {})
    assert bool(summary["broken_streams"]) == bool({"gaps", "duplicates", "reorders"} & set(faults))


def test_a_pubsub_client_offers_nothing_and_answers_pings(tmp_path: Path) -> None:
    with reference_server() as server:
        run(*classic("pubsub", server.url, "--step", "2", "--max-clients", "2", "--for", "0.4"))
    assert server.subprotocols == [None, None]
    assert server.pongs == 2


def test_every_order_ends_exactly_once(tmp_path: Path) -> None:
    with reference_server(order={1: "rejected", 2: "silent", 3: "twice", 4: "close"}) as server:
        arguments = classic("orders", server.url, "--step", "1", "--max-clients", "1", "--seed", "0")
        # This seed's client orders every 261 ms: the silent order's deadline is before the close.
        summary = run_for_summary(tmp_path, *arguments, "--for", "2.5", "--order-timeout-ms", "300")
    assert set(server.subprotocols) == {"execgate.1"}
    ends = {end: summary[f"orders_{end}"] for end in ("rejected", "timed_out", "disconnected", "unexpected")}
    assert ends == {"rejected": 1, "timed_out": 1, "disconnected": 1, "unexpected": 1}
    assert summary["orders_sent"] == len(server.requests) == summary["orders_answered"] + 3
    assert summary["orders_answered"] >= 2, "one before the connection was closed, and more after it came back"
    assert (summary["connects"], summary["disconnects"], summary["errors"]) == (2, 1, {"closed 1012": 1})
    assert summary["service_us"]["count"] == summary["orders_answered"] + 1
    assert summary["orders_outstanding"] == 0


def test_an_answer_after_the_deadline_is_late(tmp_path: Path) -> None:
    with reference_server(answer_delay_s=0.3) as server:
        arguments = classic("orders", server.url, "--step", "2", "--max-clients", "2", "--order-timeout-ms", "50")
        summary = run_for_summary(tmp_path, *arguments, "--for", "1.2")
    assert summary["orders_sent"] == summary["orders_timed_out"] > 0
    assert summary["orders_late"] > 0
    assert summary["orders_answered"] == summary["service_us"]["count"] == 0


def test_answers_on_their_way_are_waited_for(tmp_path: Path) -> None:
    with reference_server(answer_delay_s=0.4) as server:
        arguments = classic("orders", server.url, "--step", "3", "--max-clients", "3")
        summary = run_for_summary(tmp_path, *arguments, "--for", "0.8")
    assert summary["orders_sent"] == summary["orders_answered"] > 0
    assert summary["service_us"]["p50"] >= 400_000


def test_a_refused_client_comes_back_with_growing_delays(tmp_path: Path) -> None:
    with reference_server(refuse=2, script=updates([1])) as server:
        arguments = classic("pubsub", server.url, "--step", "1", "--max-clients", "1")
        with running(*arguments, "--json", str(tmp_path / "j")) as process:
            wait_until(lambda: server.sent, "a client that was refused twice is back")
            assert process.stop(signal.SIGTERM) == 0
    first, second, third = server.handshakes
    assert 0.25 <= second - first <= 0.85
    assert 0.5 <= third - second <= 1.6
    summary = json.loads((tmp_path / "j").read_text())
    assert summary["errors"] == {"connect handshake": 2}
    assert summary["delivered"] == 1


def test_a_subscriber_that_lost_its_connection_asks_for_what_follows_its_position(tmp_path: Path) -> None:
    script, resumed = updates([1, 2, 3]), updates([4, 4, 6])
    with reference_server(script=script, close_after_script=1012, resumed=resumed) as server:
        arguments = classic("pubsub", server.url, "--step", "1", "--max-clients", "1")
        with running(*arguments, "--json", str(tmp_path / "j")) as process:
            wait_until(lambda: server.sent == 7, "it was sent what it asked for")
            assert process.stop(signal.SIGTERM) == 0
    assert server.subprotocols == [None, "execgate.1"]
    assert server.asked == [{"epoch": EPOCH, "seq": 3}]
    summary = json.loads((tmp_path / "j").read_text())
    counts = {
        name: summary[name] for name in ("connects", "resumes", "recovered", "duplicates", "gaps", "missing")
    }
    assert counts == {"connects": 2, "resumes": 1, "recovered": 1, "duplicates": 1, "gaps": 1, "missing": 1}


def test_a_late_accept_is_a_connect_timeout() -> None:
    with reference_server(accept_delay_s=0.6) as server:
        steps = ("--step", "2", "--max-clients", "2", "--connect-timeout-ms", "100", "--for", "0.3")
        process = run(*classic("pubsub", server.url, *steps), expected=1)
    why = "no connection and handshake within 100 ms (2 times)"
    assert f"no client ever connected to {server.url}: {why}" in process.stderr[-1]


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/ws"
        process = run(*classic("orders", url, "--step", "1", "--for", "0.2"), expected=1)
    assert f"execgate loadgen: no client ever connected to {url}: " in process.stderr[-1]
    assert "refused" in process.stderr[-1].lower()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_last_line_and_the_summary(signum: int) -> None:
    with (
        reference_server(script=updates([1, 2])) as server,
        running(*classic("pubsub", server.url, "--step", "2", "--max-clients", "2")) as process,
    ):
        wait_until(lambda: server.sent == 4, "both clients are served")
        assert process.stop(signum) == 0
    assert columns(process.stdout[1])[11] == "4"
    assert "streams: contiguous, 4 updates" in "\n".join(process.stderr)


def test_a_reader_that_goes_ends_the_run_in_order() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with reference_server() as server:
            arguments = classic("pubsub", server.url, "--step", "1", "--interval", "0.1")
            command = [sys.executable, "-m", "execgate", *arguments]
            ended = subprocess.run(
                command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=20, check=False
            )
    finally:
        os.close(writing)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    assert "ran 0." in ended.stderr


def test_raw_records_are_kept_and_add_up(tmp_path: Path) -> None:
    log = tmp_path / "intervals.jsonl"
    with reference_server(script=updates([1, 2, 4])) as server:
        arguments = classic("pubsub", server.url, "--step", "2", "--max-clients", "2", "--for", "1.3")
        summary = run_for_summary(tmp_path, *arguments, "--intervals", str(log))
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(records) == 2
    assert sum(record["delivered"] for record in records) == summary["delivered"] == 6
    assert [record["gaps"] for record in records] == [2, 0]
    assert sum(sum(record["delivery_us"].values()) for record in records) == 6
    assert [record["connected_low"] for record in records] == [0, 2]


@pytest.mark.parametrize("flag", ["--json", "--intervals", "--records"])
def test_a_file_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path, flag: str) -> None:
    path = str(tmp_path / "missing" / "file")
    process = run(*classic("pubsub", "ws://127.0.0.1:1/ws", flag, path), expected=2)
    assert process.stderr == [f"execgate loadgen: {flag} {path}: No such file or directory"]
    assert process.stdout == []
