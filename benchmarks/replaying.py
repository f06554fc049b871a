"""What replay does to live updates: their latency while many gateways replay, and while none does.

    python -m benchmarks.replaying [--gateways N] [--items N] [--rate N ...] [--rounds N] [--data-dir]

The publisher has a core to itself. This process pushes to its ingest and subscribes to its feed, on the other and
ahead of the process that replays, which has what is left of that core. Without `--data-dir` the history is in
memory, with it in a journal (`--durability process`) in the temporary directory. A run with replay lasts as long
as the replays, one without as long as `--quiet-s`; both are repeated in turn. Prints a Markdown table: medians
over the rounds.
"""

import argparse
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import zmq

from benchmarks.__main__ import machine
from benchmarks.processes import CLIENT_CORE
from benchmarks.publishing import Ends, publishing
from execgate.wire.replay import MAX_CREDIT, Credit, Replay, encode_request
from execgate.wire.update import Kind, decode

_EXEC = b'{"symbol":"QQQ","price":42.50,"qty":100,"key":"QQQ:::S","note":"%s"}' % (
    b"x" * 280
)  # 500 with its frame
_GRANT = 64
_SILENCE_MS = 30_000


class Latencies(NamedTuple):
    """In ms, from when an update was due to be pushed to its arrival at a subscriber."""

    p50: float
    p99: float
    worst: float


def summary(latencies_s: list[float]) -> Latencies:
    """Return the latencies of one run."""
    cuts = statistics.quantiles(latencies_s, n=100)
    return Latencies(cuts[49] * 1e3, cuts[98] * 1e3, max(latencies_s) * 1e3)


@contextmanager
def publisher(items: int, data_dir: str | None) -> Iterator[dict[str, str]]:
    """Run one that keeps them all; yield the facts of its ready line."""
    flags = ["--retain-updates", str(10 * items), "--retain-bytes", str(1 << 32)]
    if data_dir:
        flags += ["--data-dir", data_dir]
    with publishing(*flags) as (_pid, facts):
        yield facts


class Live(Ends):
    """Pushes updates on schedule and takes what comes back."""

    def __init__(self, facts: dict[str, str]) -> None:
        super().__init__(facts)
        self.seq = 0

    def fill(self, items: int) -> None:
        """Publish as many as fast as it goes."""
        for number in range(items):
            self.push.send(_EXEC)
            if number % 100 == 0:
                self._take()
        self._wait_for(items)

    def run(self, rate: float, until: "Until") -> Latencies:
        """Publish at `rate` until it is over; what is still on its way is waited for."""
        first, start_s, due = self.seq, time.monotonic(), 0
        latencies_s: list[float] = []

        def take() -> None:
            now_s = time.monotonic() - start_s
            latencies_s.extend(now_s - (seq - first) / rate for seq in self._take())

        came = self.feed.fileno()
        while not until():
            now_s = time.monotonic() - start_s
            while (due + 1) / rate <= now_s:
                due += 1
                self.push.send(_EXEC)
            take()
            # Not the socket's own poll, which knows only whole ms.
            select.select([came], [], [], max(0.0, (due + 1) / rate - (time.monotonic() - start_s)))
        while self.seq < first + due and self.feed.poll(_SILENCE_MS):
            take()
        return summary(latencies_s)

    def _wait_for(self, seq: int) -> None:
        until = Until(_SILENCE_MS / 1000)
        while self.seq < seq:
            assert not until(), f"update {seq} has not come"
            self.feed.poll(100)
            self._take()

    def _take(self) -> Iterator[int]:
        seqs = []
        try:
            while True:
                update = decode(self.feed.recv_multipart(zmq.NOBLOCK))
                if update.kind == Kind.DATA:
                    assert update.seq == self.seq + 1, "a gap"
                    self.seq = update.seq
                    seqs.append(update.seq)
        except zmq.Again:
            return iter(seqs)


class Until:
    """Whether a run is over: after a time, or when a process has ended."""

    def __init__(self, seconds: float = 0.0, process: "subprocess.Popen[str] | None" = None) -> None:
        self._ends_s = time.monotonic() + seconds
        self._process = process
        self._look_s = 0.0

    def __call__(self) -> bool:
        """Ask."""
        now_s = time.monotonic()
        if self._process is None:
            return now_s >= self._ends_s
        if now_s < self._look_s:
            return False
        self._look_s = now_s + 0.05
        return self._process.poll() is not None


def replay(endpoint: str, epoch: int, gateways: int, items: int) -> None:
    """Replay `items` on each of `gateways` sockets at once, and print how many seconds that took."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    poller = zmq.Poller()
    left: dict[zmq.Socket[bytes], int] = {}
    owed: dict[zmq.Socket[bytes], int] = {}
    for _ in range(gateways):
        dealer = context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.RCVHWM, 2 * MAX_CREDIT)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(endpoint)
        dealer.send_multipart(encode_request(b"1", Replay(epoch, 1, items)))
        poller.register(dealer, zmq.POLLIN)
        left[dealer], owed[dealer] = items, 0
    start_s = time.monotonic()
    while left:
        ready = poller.poll(_SILENCE_MS)
        assert ready, "the publisher stopped"
        for dealer, _ in ready:
            try:
                while True:
                    verb = dealer.recv_multipart(zmq.NOBLOCK, copy=False)[1].bytes
                    if verb != b"ITEM":
                        assert (verb, left.pop(dealer)) == (b"END", 0)
                        poller.unregister(dealer)
                        break
                    left[dealer] -= 1
                    owed[dealer] += 1
            except zmq.Again:
                pass
            while owed[dealer]:
                dealer.send_multipart(encode_request(b"1", Credit(min(owed[dealer], _GRANT))))
                owed[dealer] -= min(owed[dealer], _GRANT)
    print(time.monotonic() - start_s)
    context.destroy(linger=0)


def replaying(facts: dict[str, str], gateways: int, items: int) -> "subprocess.Popen[str]":
    """Start the process that replays, behind us in the queue for the core."""
    command = ["nice", "-n", "10", sys.executable, "-m", "benchmarks.replaying", "--replay"]
    command += [facts["replay"], facts["epoch"], str(gateways), str(items)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Run all and print the table."""
    with publisher(arguments.items, str(folder / "data") if arguments.data_dir else None) as facts:
        live = Live(facts)
        live.fill(arguments.items)
        print("| updates/s | replay | p50 ms | p99 ms | worst ms | items/s | s |")
        print("|---|---|---|---|---|---|---|")
        for rate in arguments.rate:
            quiet: list[Latencies] = []
            loud: list[Latencies] = []
            took_s: list[float] = []
            for _ in range(arguments.rounds):
                quiet.append(live.run(rate, Until(arguments.quiet_s)))
                process = replaying(facts, arguments.gateways, arguments.items)
                loud.append(live.run(rate, Until(process=process)))
                took_s.append(float(process.communicate()[0]))
            seconds = statistics.median(took_s)
            tell(f"{rate:g}", "none", quiet, "- | -")
            what = f"{arguments.gateways} x {arguments.items:,}"
            tell(f"{rate:g}", what, loud, f"{arguments.gateways * arguments.items / seconds:,.0f} | {seconds:.1f}")


def tell(rate: str, what: str, runs: list[Latencies], rest: str) -> None:
    """Print one line of the table."""
    p50, p99, worst = (statistics.median(values) for values in zip(*runs, strict=True))
    print(f"| {rate} | {what} | {p50:.2f} | {p99:.2f} | {worst:.1f} | {rest} |", flush=True)


def main() -> None:
    """Read the command line; with `--replay` be the process that replays."""
    if sys.argv[1:2] == ["--replay"]:
        endpoint, epoch, gateways, items = sys.argv[2:]
        replay(endpoint, int(epoch, 16), int(gateways), int(items))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateways", type=int, default=10)
    parser.add_argument("--items", type=int, default=100_000, help="that each gateway replays")
    parser.add_argument("--rate", type=float, nargs="+", default=[100.0, 1000.0], help="live updates/s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quiet-s", type=float, default=20.0)
    parser.add_argument("--data-dir", action="store_true", help="keep the history in a journal")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, Path(folder))


if __name__ == "__main__":
    main()
