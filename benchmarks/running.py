"""One run: a server on its core, the client and the feeder on the other; what the server cost meanwhile.

Starts and ends only its own processes, all of them in a private group a run, on loopback ports.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.servers import OURS, Server
from benchmarks.setup_peers import build_c

SERVER_CORE, CLIENT_CORE = 1, 0
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Work:
    """What a server is put through.

    Attributes:
        connections, connect_rate: how many clients, and how many new ones a second.
        rate: updates a second; 0 for none.
        size: bytes of an update's data.
        seconds: measured, after two that are not.
        orders: "" for none, "closed", or a number a second.
        topics, taken: how many topics the updates rotate over, and how many of them each client takes.
        say: what each client says once connected.
        stuck: how many of the connections never read, and are not counted.
        flags: more flags for our gateway.
    """

    connections: int
    rate: float
    seconds: float
    size: int = 500
    connect_rate: int = 2_000
    orders: str = ""
    topics: int = 1
    taken: int = 1
    stuck: int = 0
    say: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def run(server: Server, work: Work, on_start: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Run `work` against `server` once; return the client's figures and the server's cost.

    Args:
        server: which.
        work: what it is put through.
        on_start: called with the server's pid when the measuring begins.
    """
    port = _free_port()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        feed = f"ipc://{folder}/feed"
        feeder = stack.enter_context(_feeder(server, work, feed))
        command = server.command(port)
        if server.name == OURS:
            command = [*command, "--feed", feed, *work.flags]
        given = None if server.name == OURS else feeder.stdout
        program = stack.enter_context(_process(command, SERVER_CORE, given, server.environment()))
        _await_ready(program)
        idle_rss = _rss_bytes(program.pid)
        cpu_before_ramp = _cpu_ns(program.pid)
        client = stack.enter_context(_process(_client_command(server, work, port), CLIENT_CORE))
        marks: dict[str, int] = {}
        figures: dict[str, Any] = {}
        for line in _lines(client):
            word = line.split(" ", 1)[0]
            if word == "connected":
                marks["ramp_cpu_ns"] = _cpu_ns(program.pid) - cpu_before_ramp
                marks["rss_growth"] = _rss_bytes(program.pid) - idle_rss
                _tell(feeder, "go")
            elif word in ("start", "end"):
                marks[word] = _cpu_ns(program.pid)
                if word == "start" and on_start is not None:
                    on_start(program.pid)
            elif line.startswith("{"):
                figures = json.loads(line)
                break
        if not figures:
            raise RuntimeError(f"{server.name}: the client ended without figures")
        marks["rss_after"] = _rss_bytes(program.pid) - idle_rss
    return _cost(figures, marks, work)


def _cost(figures: dict[str, Any], marks: dict[str, int], work: Work) -> dict[str, Any]:
    cpu_us = (marks["end"] - marks["start"]) / 1000
    readers = work.connections - work.stuck
    expected = work.rate * work.seconds * readers * min(1.0, work.taken / work.topics)
    done = figures["orders_answered"] if work.orders else figures["messages"]
    return {
        **figures,
        "server_cpu_us": cpu_us,
        "us_per_item": cpu_us / done if done else None,
        "us_per_update": cpu_us / (work.rate * work.seconds),
        "delivered_share": figures["messages"] / expected if expected else None,
        "accept_us": marks["ramp_cpu_ns"] / 1000 / max(1, figures["connected"]),
        "kib_per_connection": marks["rss_after"] / 1024 / max(1, figures["connected"]),
        "client_busy": figures["client_cpu_s"] / figures["seconds"],
        "server_busy": cpu_us / 1e6 / figures["seconds"],
    }


def _client_command(server: Server, work: Work, port: int) -> list[str]:
    options = ["connect-rate", str(work.connect_rate), "path", server.path, "stuck", str(work.stuck)]
    for text in (*server.say, *work.say):
        options += ["say", text]
    if work.orders:
        options += ["orders", work.orders]
    address = ["127.0.0.1", str(port), str(work.connections), str(work.seconds)]
    return [str(build_c("client")), *address, *options]


@contextmanager
def _feeder(server: Server, work: Work, feed: str) -> "Iterator[subprocess.Popen[str]]":
    seconds = work.seconds + 4
    road = ["--zmq", feed] if server.name == OURS else ["--pipe"]
    command = [sys.executable, "-m", "benchmarks.feeder", str(work.rate), str(work.size), str(seconds), *road]
    environment = {"FEEDER_TOPICS": str(work.topics)}
    with _process(command, CLIENT_CORE, stdin=subprocess.PIPE, environment=environment) as process:
        yield process


@contextmanager
def _process(
    command: Sequence[str],
    core: int,
    stdin: Any = None,
    environment: Any = None,
) -> "Iterator[subprocess.Popen[str]]":
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=_ROOT,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _tell(process: "subprocess.Popen[str]", word: str) -> None:
    assert process.stdin is not None  # a pipe, see _feeder
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


def _await_ready(process: "subprocess.Popen[str]") -> None:
    watchdog = threading.Timer(20, process.kill)
    watchdog.start()
    for line in _lines(process):
        if "ready" in line:
            watchdog.cancel()
            return
    raise RuntimeError(f"not ready within 20 s: {process.args!r}")


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout is not None  # a pipe, see _process
    while line := process.stdout.readline():
        yield line.rstrip("\n")


def _cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process, to the nanosecond (schedstat; clock ticks are 10 ms)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
