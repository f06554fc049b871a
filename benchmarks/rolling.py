"""A rolling restart: three gateways of one publisher, each ended by SIGTERM and started anew, one after the other.

Clients are the load generator's: they resume behind their position at whichever gateway takes them. They come
back 250 to 750 ms after they have lost a connection, and take no notice of `drain`: they are closed with 1012
at the end of their grace. The wait of a client shows in an update's latency: whoever was away when it was
published gets it once it is back, so that the greatest latency of all is the longest that a client waited for
its next update.
"""

import json
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.case import Case, Column
from benchmarks.processes import CLIENT_CORE, SERVER_CORE, Process, free_port, lines_of, process
from benchmarks.running import Figures, Work
from benchmarks.servers import Server

_EXECGATE = (sys.executable, "-m", "execgate")
_READY_WITHIN_S = 30
_LATE_AT_MOST_S = 1.0
_SPARE_S = 3.0  # that the load generator measures before the first restart, and after the last
_A_START_S = (
    5.0  # on top of a drain, for a gateway to end, start and be ready; void where all took longer together
)


@dataclass(frozen=True)
class Rolling(Work):
    """What gateways are put through.

    Attributes:
        connections, connect_rate, rate: clients, how fast they connect, and the updates a second they get.
        seconds: spare time before the first restart, and after the last.
        gateways: how many there are.
        shares_port: whether they are on one port (SO_REUSEPORT), or on a port each, which the clients know.
        lead_s, drain_s: of the drain of each of them.
    """

    gateways: int = 3
    shares_port: bool = True
    lead_s: float = 0.0
    drain_s: float = 5.0


def measure(server: Server, work: Work) -> Figures:  # noqa: ARG001  # it is ours
    """Roll over the gateways; return what their clients noticed.

    Raises:
        RuntimeError: a process did not get ready, or the load generator ended without figures.
    """
    assert isinstance(work, Rolling)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        feed = "tcp://127.0.0.1:0"
        flags = ("--pub", feed, "--rate", str(work.rate), "--log-level", "warning")
        publisher = stack.enter_context(process([*_EXECGATE, "publisher", *flags], CLIENT_CORE))
        facts = _ready(publisher)
        ports = [free_port()] * work.gateways if work.shares_port else [free_port() for _ in range(work.gateways)]
        commands = [
            [
                *(*_EXECGATE, "gateway", "--listen", f"127.0.0.1:{port}", "--feed", facts["pub"]),
                *("--replay", facts["replay"], "--drain-s", str(work.drain_s), "--drain-lead-s", str(work.lead_s)),
                *(["--share-port"] if work.shares_port else []),
            ]
            for port in ports
        ]
        errors = [folder / f"gateway-{number}" for number in range(work.gateways)]
        running = [_start(stack, *each) for each in zip(commands, errors, strict=True)]
        result = folder / "figures.json"
        whole_s = 2 * work.seconds + (work.lead_s + work.drain_s + _A_START_S) * work.gateways
        loadgen = stack.enter_context(process(_loadgen(work, ports, whole_s, folder, result), CLIENT_CORE))
        time.sleep(work.connections / work.connect_rate + 1.0 + work.seconds)
        began_s = time.monotonic()
        statuses, ready_s = [], []
        for number, gateway in enumerate(running):
            gateway.send_signal(signal.SIGTERM)
            statuses.append(gateway.wait(_READY_WITHIN_S))
            ended_s = time.monotonic()
            _start(stack, commands[number], errors[number])
            ready_s.append(time.monotonic() - ended_s)
        rolled_s = time.monotonic() - began_s
        loadgen.communicate(timeout=whole_s + _READY_WITHIN_S)
        figures = json.loads(result.read_text())["figures"]
        words = [path.read_text() for path in errors]
    streams, connections = figures["streams"], figures["connections"]
    lag_us = figures["client"]["loop_lag_us"]
    void = "the load generator ended before the roll" if rolled_s > whole_s - 2 * work.seconds else ""
    if (
        lag_us > _LATE_AT_MOST_S * 1e6
    ):  # it takes 60 % of a core that is its own, and never catches up on half of one
        void = f"the load generator was {lag_us / 1e6:.1f} s late"
    return {
        "longest_wait_us": figures["latencies"]["delivery"]["max"],
        "p999_us": figures["latencies"]["delivery"]["p99.9"],
        "lost": streams["lost"],
        "duplicates": streams["duplicates"] + streams["reorders"],
        "resumed": connections["disconnects"],
        "failed": sum(count for kind, count in figures["errors"].items() if kind.startswith("connect ")),
        "unaccepted": sum(int(count) for text in words for count in re.findall(r" unaccepted=(\d+)", text)),
        "rolled_s": rolled_s,
        "ready_s": max(ready_s),
        "failed_ends": sum(status != 0 for status in statuses),
        "client_lag_us": lag_us,
        "void": void,
    }


def _start(stack: ExitStack, command: Sequence[str], errors: Path) -> Process:
    stderr = stack.enter_context(errors.open("a"))
    started = stack.enter_context(process(command, SERVER_CORE, stderr=stderr))
    _ready(started)
    return started


def _ready(started: Process) -> dict[str, str]:
    """Wait for its ready line; return the facts in it.

    Raises:
        RuntimeError: it has ended, or was killed for being too late.
    """
    watchdog = threading.Timer(_READY_WITHIN_S, started.kill)
    watchdog.start()
    try:
        for line in lines_of(started):
            if " ready pid=" in line:
                return dict(re.findall(r"(\w+)=(\S+)", line))
        raise RuntimeError(f"not ready: {started.args!r}")
    finally:
        watchdog.cancel()


def _loadgen(work: Rolling, ports: Sequence[int], whole_s: float, folder: Path, result: Path) -> list[str]:
    urls = [word for port in dict.fromkeys(ports) for word in ("--url", f"ws://127.0.0.1:{port}/ws")]
    return [
        *(*_EXECGATE, "loadgen", "run", *urls, "--quiet", "--run-dir", str(folder), "--json", str(result)),
        *("--subscribers", str(work.connections), "--connect-rate", str(work.connect_rate)),
        *("--warm-up", "1", "--for", str(whole_s), "--connect-timeout-ms", "1000"),
    ]


ROLLING = Case(
    "rolling",
    "three gateways are restarted in turn under 2,000 clients: is anything lost, and who waits how long?",
    (
        Column("longest_wait_us", "longest wait for an update, s", unit=1e6),
        Column("p999_us", "p99.9 of all updates, s", "{:.3f}", 1e6),
        Column("lost", "lost", "{:.0f}"),
        Column("duplicates", "doubled", "{:.0f}"),
        Column("resumed", "resumed", "{:,.0f}"),
        Column("failed", "failed connects", "{:.0f}"),
        Column("unaccepted", "left in a queue", "{:.0f}"),
        Column("rolled_s", "all three, s", "{:.1f}"),
        Column("ready_s", "start to ready, s", "{:.1f}"),
        Column("failed_ends", "exits but 0", "{:.0f}"),
        Column("client_lag_us", "load generator late at most, s", unit=1e6),
    ),
    None,
    variants={
        "one port": Rolling(2_000, 20, _SPARE_S, connect_rate=400),
        "a port each": Rolling(2_000, 20, _SPARE_S, connect_rate=400, shares_port=False, lead_s=2.0),
    },
    note="""\
Each gateway gets SIGTERM (`--drain-s 5`), is waited for, started anew, and when it is ready the next one's turn
comes. All of them share a core; the publisher and the load generator, whose clients come back 250 to 750 ms
after they have lost a connection, have the other. They take no notice of `drain`. The longest wait is the
greatest latency of an update: who was away when it was published gets it once it is back. With a port each
gateways have `--drain-lead-s 2`: without it the next one has closed its port before all have come who left the
one before.""",
    reference="",
    measure=measure,
)
