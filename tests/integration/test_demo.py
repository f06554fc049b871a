"""`execgate demo` as a user meets it: real processes, a verdict, and nothing left behind however it ends."""

import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from execgate.service.lifecycle import PARENT_VARIABLE
from tests.harness import Process, running, wait_until

pytestmark = pytest.mark.slow

SMALL = ("demo", "--port", "0", "--subscribers", "12", "--order-clients", "3")
ROW = r"^ +15( +\S+){7}$"


def offspring(process: Process) -> list[psutil.Process]:
    """Everything that the demo has started, and what that has started."""
    return psutil.Process(process.pid).children(recursive=True)


def rows(process: Process) -> int:
    """How many rows with everybody connected the demo has printed."""
    return sum(re.match(ROW, line) is not None for line in process.stdout)


def are_gone(processes: list[psutil.Process]) -> Callable[[], bool]:
    def check() -> bool:
        return all(not one.is_running() or one.status() == psutil.STATUS_ZOMBIE for one in processes)

    return check


@contextmanager
def running_demo(*more: str, measured_rows: int = 1) -> Iterator[tuple[Process, list[psutil.Process]]]:
    """A demo whose table fills, and all of its processes; they are ended by force if it leaves them."""
    with running(*SMALL, *more) as process:
        process.wait_for(ROW)
        wait_until(lambda: rows(process) >= measured_rows, f"{measured_rows} rows with everybody connected")
        children = offspring(process)
        try:
            yield process, children
        finally:
            for child in children:
                if child.is_running():
                    child.kill()


def test_a_short_demo_passes_and_saves_its_summary(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    # A setting of the demo that its children know under the same name is not theirs.
    environment = {"EXECGATE_FOR": "2"}
    with running(*SMALL, "--json", str(path), environment=environment) as process:
        process.wait_for(ROW)
        children = offspring(process)
        assert process.wait() == 0, process.words()
    assert are_gone(children)()
    summary = json.loads(path.read_text())
    assert summary["verdict"] == "pass"
    assert all(check["passed"] for check in summary["checks"])
    assert summary["steady_s"] >= 1.5
    assert summary["delivered"] >= 0.95 * 20 * 12 * summary["steady_s"]
    assert (summary["gaps"], summary["missing"], summary["duplicates"], summary["reorders"]) == (0, 0, 0, 0)
    assert summary["orders"]["sent"] == summary["orders"]["answered"] > 0
    assert re.fullmatch(r"watch it in a browser: http://127\.0\.0\.1:\d+/", process.stdout[0])
    assert process.stdout[1].split()[:3] == ["clients", "delivered/s", "orders/s"]
    assert process.stdout[-1] == "verdict: PASS"
    assert sum("clients" in line for line in process.stdout) == 1, "no heading is repeated into a file"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_with_a_summary(signum: int) -> None:
    # Two rows: in the second one everybody was connected from its beginning.
    with running_demo(measured_rows=2) as (process, children):
        commands = [child.cmdline() for child in children]
        assert sum("gateway" in command for command in commands) >= 2 + 1, "a supervisor and its two workers"
        groups = {os.getpgid(child.pid) for child in children}
        assert os.getpgid(process.pid) not in groups, "Ctrl-C at a terminal goes to the demo alone"
        assert process.stop(signum) == 0, process.words()
        assert are_gone(children)()
    assert "verdict: PASS" in process.stdout
    assert any("orders: " in line and " 0 disconnected" in line for line in process.stdout)


def test_a_demo_that_is_interrupted_before_its_time_has_failed() -> None:
    with running_demo("--for", "60") as (process, _):
        assert process.stop(signal.SIGINT) == 1
    assert any(line.startswith("FAIL time: ") and "60 s asked for" in line for line in process.stdout)


def test_a_killed_demo_leaves_nothing_behind() -> None:
    with running_demo() as (process, children):
        assert len(children) >= 6
        process.stop(signal.SIGKILL)
        wait_until(are_gone(children), "the children of a killed demo are gone", timeout_s=15)


@pytest.mark.parametrize("victim", ["publisher", "gateway", "pubsub"])
def test_a_child_that_dies_ends_the_demo_and_is_named(victim: str) -> None:
    with running_demo() as (process, children):
        parents_own = [child for child in children if child.ppid() == process.pid and victim in child.cmdline()]
        os.kill(parents_own[0].pid, signal.SIGKILL)
        assert process.wait() == 1
        assert are_gone(children)(), "and the workers of a killed supervisor with it"
    assert re.search(rf"execgate demo: .*{victim} ended with status -9; its last words", "\n".join(process.stderr))


def test_a_port_that_is_taken_is_named_before_anything_else() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running("demo", "--port", str(port)) as process:
            assert process.wait() == 2
    assert process.stdout == []
    (line,) = process.stderr
    assert f"--port {port}" in line
    assert "already in use" in line


def test_a_demo_ends_with_its_own_parent() -> None:
    """`./run demo` in something that is killed: the demo heeds the parent that asked for it."""
    with running(*SMALL, environment={PARENT_VARIABLE: "2147483647"}) as process:
        assert process.wait() == 0
    assert process.stdout == []
