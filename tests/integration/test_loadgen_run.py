"""`execgate loadgen run` as a process: what it measures, keeps, shows and comes to.

A busy machine may make any run INVALID, as it should: no test here expects a run to be VALID.
"""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loadgen.core.figures import Figures
from loadgen.run_folder import StoredRun
from tests.harness import Process, running, wait_until
from tests.integration.reference_server import reference_server, updates

STATUS = {"held": 0, "incomplete": 97, "invalid": 98, "broken": 99}
SHORT = ("--connect-rate", "100", "--warm-up", "0.2", "--for", "0.8", "--interval", "0.4", "--name", "a")


def load(url: str, tmp_path: Path, *more: str) -> tuple[str, ...]:
    return ("loadgen", "run", "--url", url, "--run-dir", str(tmp_path), *SHORT, *more)


def run(*arguments: str, environment: dict[str, str] | None = None) -> tuple[Process, int]:
    with running(*arguments, environment=environment) as process:
        return process, process.wait()


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_a_run_is_kept_told_and_ends_with_the_status_of_what_it_came_to(tmp_path: Path) -> None:
    """One run with everything: faults, orders, requirements, each file and both shares of standard output."""
    faults = updates([1, 2, 5, 4, 4, 7])  # 3 and 6 lost, 4 late, 4 twice
    files = ("--json", str(tmp_path / "out.json"), "--junit", str(tmp_path / "out.xml"))
    requirements = ("--require", "lost==0", "--require", "orders_unanswered<9", "--require", "p99<50ms")
    with reference_server(script=faults, order={1: "rejected", 2: "silent", 3: "twice"}) as server:
        load_of = (
            "--subscribers",
            "3",
            "--orders-per-s",
            "50",
            "--order-clients",
            "2",
            "--order-timeout-ms",
            "300",
        )
        process, status = run(
            *load(server.url, tmp_path, *load_of, *requirements, *files, "--server-pid", str(os.getpid()))
        )
        assert len(server.handshakes) == 5
        assert server.subprotocols.count("execgate.1") == 2
    told = read(tmp_path / "out.json")
    figures, verdict = told["figures"], told["verdict"]
    assert status == STATUS[verdict["outcome"]], process.words()
    assert verdict["outcome"] == ("invalid" if verdict["verdict"] == "INVALID" else "broken")
    # Each fault exactly, for each of three clients.
    streams = {name: figures["streams"][name] for name in ("delivered", "lost", "gaps", "duplicates", "reorders")}
    assert streams == {"delivered": 18, "lost": 6, "gaps": 6, "duplicates": 3, "reorders": 3}
    assert len(told["broken_streams"]) == 3
    # Each order one end, and the sum.
    orders = figures["orders"]
    assert orders["sent"] == len(server.requests) >= 40
    assert (orders["rejected"], orders["timed_out"], orders["unexpected"], orders["outstanding"]) == (1, 1, 1, 0)
    assert orders["answered"] == orders["sent"] - 2
    assert [judged["held"] for judged in verdict["requirements"]] == [False, True, None]
    # The folder has it all, and figures are made of its records alone.
    folder = StoredRun(tmp_path / "a")
    assert Figures(folder.records()).as_dict() == figures
    assert {record["phase"] for record in folder.records()} == {"ramp", "warm-up", "measure", "drain"}
    assert read(folder.path / "verdict.json") == verdict
    machine, versions = told["run"]["machine"], told["run"]["versions"]
    assert machine["system"].startswith("Linux ")
    assert versions["python"] == sys.version.split()[0]
    assert told["run"]["command"].startswith("execgate loadgen run --url ws://")
    assert (folder.path / "order.hlog").read_text().count("HISTF") >= 2
    assert figures["server"]["rss_bytes"] > 0
    # What people and CI see.
    text = "\n".join(process.stdout)
    assert "lost==0: 6" in text
    assert process.stdout[-1] == f"kept in {tmp_path / 'a'}"
    assert any(line.startswith("measure ") for line in process.stderr), "plain lines where there is no terminal"
    suite = ET.parse(tmp_path / "out.xml").getroot()
    assert [case.get("name") for case in suite][2:] == ["lost==0", "orders_unanswered<9", "p99<50ms"]


def test_more_orders_than_a_process_can_send_are_no_measurement(tmp_path: Path) -> None:
    with reference_server() as server:
        load_of = ("--subscribers", "0", "--orders-per-s", "200000", "--quiet", "--order-timeout-ms", "50")
        process, status = run(*load(server.url, tmp_path, *load_of, "--require", "errors==0"))
    assert status == 98, process.words()
    reasons = " ".join(reason["text"] for reason in read(tmp_path / "a" / "verdict.json")["reasons"])
    assert "behind its schedule" in reasons
    assert process.stderr == []


def test_a_server_that_is_not_there_makes_a_run_incomplete_at_once(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/ws"
        process, status = run(*load(url, tmp_path, "--subscribers", "2"))
    assert status == 97, process.words()
    assert "no client was ever connected" in "\n".join(process.stdout)
    assert "event=connect-failed client=client-0" in (tmp_path / "a" / "errors.log").read_text()
    assert "refused" in "\n".join(process.stdout).lower()


def test_a_signal_ends_it_with_everything_in_place(tmp_path: Path) -> None:
    with (
        reference_server(script=updates([1, 2])) as server,
        running(*load(server.url, tmp_path, "--subscribers", "2", "--for", "60")) as process,
    ):
        wait_until(lambda: any(line.startswith("measure ") for line in process.stderr), "it measures")
        status = process.stop(signal.SIGINT)
    verdict = read(tmp_path / "a" / "verdict.json")
    assert status == STATUS[verdict["outcome"]] != 0
    assert "of 60 s" in verdict["incomplete"][0]
    assert Figures(StoredRun(tmp_path / "a").records()).as_dict()["streams"]["delivered"] == 4


def test_a_stream_that_says_nothing_is_stale(tmp_path: Path) -> None:
    with reference_server(script=updates([1])) as server:
        _, _ = run(*load(server.url, tmp_path, "--subscribers", "2", "--stale-after", "0.3", "--quiet"))
    streams = Figures(StoredRun(tmp_path / "a").records()).as_dict()["streams"]
    assert streams["stale"] == 2, "each once, however long it lasts"
    assert streams["silence_us"] >= 800_000


def test_a_terminal_has_one_screen(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with reference_server(script=updates([1, 2, 3])) as server:
        command = [sys.executable, "-m", "execgate", *load(server.url, tmp_path, "--subscribers", "3")]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, "TERM": "xterm"}
        ) as process:
            os.close(theirs)
            shown = b""
            try:
                while chunk := os.read(ours, 65536):
                    shown += chunk
            except OSError:  # Linux: the other side of the terminal is gone
                pass
            assert process.wait(20) in STATUS.values()
    os.close(ours)
    first, *redrawn = shown.decode().split("\x1b[J")
    assert "run a: " in first
    assert "\x1b[" in redrawn[0]
    assert "connected 3 of 3" in redrawn[-2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--require", "p99<50"], "--require 'p99<50': p99 needs a unit"),
        (["--subscribers", "0"], "--subscribers 0 without --orders-per-s: nothing to do"),
        (
            ["--require", "order.p99<1ms"],
            "--require 'order.p99<1ms': about orders, and there is no --orders-per-s",
        ),
        (["--for", "900000"], "--for 900000: "),
        (["--junit", "/nowhere/x"], "--junit /nowhere/x: No such file or directory"),
        (["--json", "/nowhere/x"], "--json /nowhere/x: No such file or directory"),
        (["--run-dir", "/dev/null/x"], "--run-dir: /dev/null/x/"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_begun(arguments: list[str], expected: str) -> None:
    process, status = run("loadgen", "run", *arguments)
    assert status == 2
    assert process.stderr[-1].startswith(f"execgate loadgen: {expected}")


def test_a_disk_that_is_full_while_clients_still_join_ends_the_run_and_says_so(tmp_path: Path) -> None:
    limited = ("bash", "-c", 'ulimit -f 16; exec "$@"', "-")  # KiB of each file, as if there was no more room
    joining = ("--subscribers", "2000", "--connect-rate", "500", "--interval", "0.02")
    with (
        reference_server(script=updates([1])) as server,
        running(*load(server.url, tmp_path, *joining), prefix=limited) as process,
    ):
        assert process.wait(30) == 1
        assert f"{tmp_path / 'a'}: File too large" in process.words()
        assert "Traceback" not in process.words()
