"""A storm: thousands of clients, whose gateway is gone, come to this one at once and resume beside who is live.

The publisher is a real one. The gateway has a core to itself; everything else shares the other: publisher,
producer and the client that measures who is live go before the client that storms (SCHED_IDLE), so that who is
live is not late by waiting for that core. Other work on it starves the storm: measure on a quiet machine. Who
storms takes a topic of its own, in which nothing comes during the storm: when all are back, the fan-out to who was
live before is what it was, and the storm alone is what disturbs it.
"""

import json
import math
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.case import Case, Column
from benchmarks.overload_figures import Interval, intervals_in
from benchmarks.processes import (
    CLIENT_CORE,
    SERVER_CORE,
    Process,
    await_line,
    await_ready,
    free_port,
    gateway_stats,
    lines_of,
    process,
    tell,
)
from benchmarks.publishing import Ends, publishing
from benchmarks.running import WARM_S, Figures, Work, client_command, take_only
from benchmarks.servers import Server
from benchmarks.validity import differs
from benchmarks.watching import Watch
from execgate.wire.update import Kind, decode
from gateway.archive import PAGE_UPDATES

_LIVE, _AWAY = "LIVE", "AWAY"
_BEHIND = 1_000
_STORM_WITHIN_S = 60
_SPREAD = 100  # who comes back stood at so many different positions
_LAST = 3  # updates that come to all who are back
_SILENCE_MS = 10_000
_CONNECT_WITHIN_S = 30


@dataclass(frozen=True)
class Storm(Work):
    """What a gateway is put through.

    Attributes:
        connections, rate: who is live, and the updates a second they get.
        seconds: they are measured before the storm, and after it.
        clients: how many come back, and `clients_rate` how many of them connect a second.
        behind: updates that each of them lacks, or up to `_SPREAD` more.
        is_new: whether the gateway has started after these updates, so that its ring has none of them.
        journal: whether the publisher has its history in a journal, or in memory.
        gateways: how many share the core, and all clients in turn.
    """

    clients: int = 10_000
    clients_rate: int = 10_000
    behind: int = _BEHIND
    is_new: bool = False
    journal: bool = False
    gateways: int = 1


def measure(server: Server, work: Work) -> Figures:
    """Let the storm come; return how long it took, what it did to who was live, and what it cost.

    Raises:
        RuntimeError: a client ended without figures.
    """
    assert isinstance(work, Storm)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        flags = ["--data-dir", str(folder / "journal")] if work.journal else []
        publisher_pid, facts = stack.enter_context(publishing(*flags, core=CLIENT_CORE))
        ends = Ends(facts)
        stack.callback(ends.context.destroy, linger=0)
        source = _Source(ends, work.size)
        newest = work.behind + _SPREAD
        if work.is_new:
            source.publish(_AWAY, newest)
        gateways: dict[int, Process] = {}
        for _ in range(work.gateways):
            port = free_port()
            command = [*server.command(port), "--feed", facts["pub"], "--replay", facts["replay"], *work.flags]
            gateways[port] = stack.enter_context(process(command, SERVER_CORE))
            await_ready(gateways[port])
        ports = ",".join(map(str, gateways))
        if not work.is_new:
            source.publish(_AWAY, newest)
        live_folder, storm_folder = folder / "live", folder / "storm"
        live_folder.mkdir()
        storm_folder.mkdir()
        most_s = 2 * work.seconds + WARM_S + _STORM_WITHIN_S
        contents = [_exec(_LIVE, work.size)]
        noted = ("marks", "1", "stamps", "1", "topic", "1")
        command = client_command(server, work, ports, most_s, live_folder, *noted, contents=contents)
        live = stack.enter_context(process(command, CLIENT_CORE, stdin=subprocess.PIPE))
        await_line(live, "connected", _CONNECT_WITHIN_S)
        stack.enter_context(source.ticking(work.rate))
        await_line(live, "start", WARM_S + 5)
        watches = [
            stack.enter_context(Watch(port, gateway.pid, (live.pid, publisher_pid), paths=()))
            for port, gateway in gateways.items()
        ]
        phases = _Phases(live)
        time.sleep(work.seconds)
        phases.next()
        replays_before = _pages_fetched(gateways)
        command = _storm_command(server, work, ports, storm_folder, facts["epoch"], newest)
        storm = stack.enter_context(process(command, CLIENT_CORE, stdin=subprocess.PIPE))
        phases.begin()
        back_s = _await_back(storm)
        phases.next()
        replays = _pages_fetched(gateways) - replays_before
        phases.begin()
        time.sleep(work.seconds)
        phases.next()
        last = source.publish(_AWAY, _LAST)
        closes = Counter[str]()
        for port in gateways:
            while (stats := gateway_stats(port))["feed"]["seq"] < last:
                time.sleep(0.01)
            closes += stats["closes"]
        for watch in watches:
            watch.stop()
        ours, theirs = _figures(live), _figures(storm)
    before, during, after = phases.found
    pages = math.ceil(newest / PAGE_UPDATES)
    owed = sum(newest - _position(index) + _LAST for index in range(work.clients))
    exact = ("missing", "duplicates", "reordered", "closed_by_server")
    return {
        "back_s": back_s,
        "connected_s": theirs["ramp_s"],
        "p99_before_us": before.p99_us,
        "p99_during_us": during.p99_us,
        "p99_after_us": after.p99_us,
        "max_before_us": before.max_us,
        "max_during_us": during.max_us,
        "slower": during.p99_us / before.p99_us,
        "arrived_before_us": before.arrived_p99_us,
        "arrived_during_us": during.arrived_p99_us,
        "arrived_after_us": after.arrived_p99_us,
        "arrived_slower": during.arrived_p99_us / before.arrived_p99_us,
        "live_during": during.measured,
        "failed": theirs["failed"] + ours["failed"],
        "wrong": sum(each[key] for each in (ours, theirs) for key in exact) + abs(owed - theirs["messages"]),
        "replays": replays,
        "replays_a_page": replays / pages / len(gateways),
        "rss_before": sum(watch.samples[0].rss for watch in watches),
        "rss_peak": sum(max(each.rss for each in watch.samples) for watch in watches),
        "server_cpu_s": sum(watch.samples[-1].server_ns - watch.samples[0].server_ns for watch in watches) / 1e9,
        "closes": dict(closes),
        "void": differs(ours) or differs(theirs),
    }


def _pages_fetched(ports: Iterable[int]) -> int:
    return sum(gateway_stats(port)["pages_fetched"] for port in ports)


def _exec(symbol: str, size: int) -> str:
    """Return an exec, whose update has `size` bytes, nearly."""
    return f'{{"symbol":"{symbol}","price":42.5,"qty":100,"key":"QQQ:::S","note":"{"x" * (size - 230)}"}}'


class _Source:
    """Pushes execs to the publisher, and sees them published."""

    def __init__(self, ends: Ends, size: int) -> None:
        self._ends = ends
        self._size = size
        self._pushing = threading.Lock()  # a socket is one thread's at a time

    def publish(self, symbol: str, count: int) -> int:
        """Publish so many, and wait until they are; return the last one's seq."""
        with self._pushing:
            for _ in range(count):
                self._push(symbol)
        feed = self._ends.feed
        while count:
            assert feed.poll(_SILENCE_MS), "the publisher is silent"
            update = decode(feed.recv_multipart())
            count -= update.kind == Kind.DATA and update.topic == b"ex.%s." % symbol.encode()
        return update.seq

    @contextmanager
    def ticking(self, rate: float) -> Iterator[None]:
        """Publish for who is live, at `rate`, meanwhile."""
        over = threading.Event()

        def tick() -> None:
            start_s, number = time.monotonic(), 0
            while not over.wait(max(0.0, start_s + number / rate - time.monotonic())):
                with self._pushing:
                    self._push(_LIVE)
                number += 1

        thread = threading.Thread(target=tick)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _push(self, symbol: str) -> None:
        self._ends.push.send(_exec(symbol, self._size).encode())


class _Phases:
    """What came to who is live, from one moment to the next."""

    def __init__(self, live: Process) -> None:
        self.found: list[Interval] = []
        self._live = live
        self.begin()

    def begin(self) -> None:
        """Count anew."""
        self._take()

    def next(self) -> None:
        """Note what came since."""
        self.found.append(self._take())

    def _take(self) -> Interval:
        tell(self._live, "mark")
        return intervals_in([next(lines_of(self._live))])[0]


def _position(index: int) -> int:
    """Return the seq behind which the client of an index resumes."""
    return index % _SPREAD + 1


def _storm_command(server: Server, work: Storm, ports: str, folder: Path, epoch: str, newest: int) -> list[str]:
    def say(index: int) -> list[str]:
        since = {"epoch": epoch, "seq": _position(index)}
        asked = {"topics": [f"ex.{_AWAY}."], "since": since}
        return [json.dumps({"event": "subscribe-execs", "data": asked}, separators=(",", ":"))]

    storming = Work(work.clients, 0, 0, connect_rate=work.clients_rate, say=say)
    contents = [_exec(_AWAY, work.size)]
    most_s = 2 * _STORM_WITHIN_S
    command = client_command(
        server, storming, ports, most_s, folder, "topic", "1", "resume", str(newest), contents=contents
    )
    return ["chrt", "--idle", "0", *command]


def _await_back(storm: Process) -> float | None:
    """Wait until all are back; return in how many seconds, None if they are not in time."""
    watchdog = threading.Timer(_STORM_WITHIN_S, storm.kill)
    watchdog.start()
    try:
        for line in lines_of(storm):
            if line.startswith("back "):
                return float(line.split(" ")[1])
        raise RuntimeError(f"the storm is not over within {_STORM_WITHIN_S} s")
    finally:
        watchdog.cancel()


def _figures(client: Process) -> Figures:
    """End the measuring of a client; return its figures."""
    assert client.stdin is not None
    client.stdin.close()
    for line in lines_of(client):
        if line.startswith("{"):
            figures: Figures = json.loads(line)
            return figures
    raise RuntimeError(f"a client ended without figures: {client.args!r}")


def _work(
    connections: int = 1_000, rate: int = 20, *, is_new: bool = False, journal: bool = False, gateways: int = 1
) -> Storm:
    said = take_only([f"ex.{_LIVE}."])
    return Storm(connections, rate, 6, say=lambda _index: said, is_new=is_new, journal=journal, gateways=gateways)


STORM = Case(
    "storm",
    "10,000 clients resume at once beside others who are live: how soon are they back, and who is late?",
    (
        Column("back_s", "all are back, s", "{:.1f}"),
        Column("connected_s", "all are connected, s", "{:.1f}"),
        Column("p99_before_us", "live p99 before, ms", "{:.2f}", 1000),
        Column("p99_during_us", "live p99 during, ms", "{:.2f}", 1000),
        Column("slower", "during / before"),
        Column("p99_after_us", "live p99 after, ms", "{:.2f}", 1000),
        Column("arrived_before_us", "in the kernel: p99 before, ms", "{:.2f}", 1000),
        Column("arrived_during_us", "p99 during, ms", "{:.2f}", 1000),
        Column("arrived_slower", "during / before"),
        Column("max_during_us", "live max during, ms", "{:.1f}", 1000),
        Column("replays", "replays of the publisher's", "{:.0f}"),
        Column("replays_a_page", "replays a page and gateway", "{:.0f}"),
        Column("failed", "not connected", "{:.0f}"),
        Column("wrong", "lost, doubled or closed", "{:.0f}"),
        Column("rss_before", "memory before, MiB", "{:,.0f}", 1 << 20),
        Column("rss_peak", "memory at most, MiB", "{:,.0f}", 1 << 20),
        Column("server_cpu_s", "gateway's CPU, s", "{:.1f}"),
    ),
    None,
    variants={
        "ring": _work(),
        "memory": _work(is_new=True),
        "journal": _work(is_new=True, journal=True),
        "ring, 200 x 100/s": _work(connections=200, rate=100),
        "journal, 2 gateways": _work(is_new=True, journal=True, gateways=2),
    },
    note=f"""\
Live are 1,000 x 20 updates/s of 500 B, or what the row says. Then 10,000 clients connect as fast as they can, each
with a `since` that lies {_BEHIND:,} to {_BEHIND + _SPREAD - 1:,} updates back, and take what they missed: 5.3 GB.
In `ring` the gateway's ring has it; in `memory` and `journal` the gateway has started later, so that all of it
comes from the publisher, who has it in memory or in its journal: in pages of {PAGE_UPDATES} updates. Who comes
back takes a topic of its own, so that what is live is fanned out to as many as before. All are back when each has
the newest update, counted from the first attempt to connect; p99 during is until then. "In the kernel" is when the
kernel had it for the client (SO_TIMESTAMPNS), which leaves out how long that waits for its core. At the end three
updates come to all of them, and the streams are compared with what each was owed. Two gateways share the core, and
all clients in turn.""",
    reference="",
    measure=measure,
)
