"""What the journal costs: from an update's stamp to its arrival at a subscriber, and how many one core takes.

    python -m benchmarks.journal [--seconds N] [--rate N] [--in DIR]

The publisher has a core to itself; this process, which pushes to its ingest and subscribes to its feed, the other.
Cases: no journal, each durability, and each with an fsync that takes 5 and 50 ms longer (`fsync_shim.c`).
The disk is that of `--in` (default: the temporary directory's). Prints a Markdown table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import zmq

from benchmarks.__main__ import machine
from benchmarks.processes import CLIENT_CORE
from benchmarks.publishing import Ends, publishing
from execgate.wire.update import Kind, decode

_SHIM = Path(__file__).with_name("fsync_shim.c")
_SYMBOLS = 100
_WARM_S = 2.0


class Case(NamedTuple):
    """One line of the table; `slower_ms` is added to each fsync."""

    name: str
    durability: str | None
    slower_ms: int = 0


CASES = (
    Case("no journal", None),
    Case("process", "process"),
    Case("power", "power"),
    Case("process, fsync 5 ms slower", "process", 5),
    Case("power, fsync 5 ms slower", "power", 5),
    Case("process, fsync 50 ms slower", "process", 50),
    Case("power, fsync 50 ms slower", "power", 50),
)


class Figures(NamedTuple):
    """Of one run: latencies in ms from the stamp (`stamp_*`) and from when it was due to be pushed (`due_*`)."""

    updates_s: float
    cpu_us: float
    stamp_p50: float
    stamp_p99: float
    stamp_max: float
    due_p99: float


def build_shim(folder: Path) -> Path:
    """Compile the shim; raises CalledProcessError or FileNotFoundError where there is no compiler."""
    built = folder / "fsync_shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(built), str(_SHIM), "-ldl"], check=True)
    return built


@contextmanager
def publisher(case: Case, folder: Path) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    """Run one publisher; yield it and the facts of its ready line."""
    environment = {}
    if case.slower_ms:
        environment = {
            "LD_PRELOAD": str(build_shim(folder)),
            "FSYNC_DELAY_US": str(case.slower_ms * 1000),
        }
    flags: list[str] = []
    if case.durability:
        flags = ["--data-dir", str(folder / "data"), "--durability", case.durability]
    with publishing(*flags, environment=environment) as (pid, facts):
        yield psutil.Process(pid), facts


def messages() -> list[bytes]:
    """Return ingest messages of one update each, of all symbols in turn, with data of about 500 bytes."""
    row = (
        '{"sequence":0,"activityDateStr":"2026-11-24","com":3,"price":42.50,"accountId":1772139,"symbol":"%s",'
        '"transaction":"STO","description":"%s Stock","qty":100,"key":"%s:::S","netAmount":420,"note":"%s"}'
    )
    names = [f"SYM{number}" for number in range(_SYMBOLS)]
    return [(row % (name, name, name, "x" * 150)).encode() for name in names]


class Client(Ends):
    """Pushes to one publisher and takes what comes back."""

    def __init__(self, facts: dict[str, str]) -> None:
        super().__init__(facts, push_hwm=1_000)
        self.latencies_us: list[int] = []
        self.arrived_s: list[float] = []

    def take(self) -> None:
        """Read what has come."""
        while True:
            try:
                frames = self.feed.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            update = decode(frames)
            if update.kind == Kind.DATA:
                self.latencies_us.append(time.time_ns() // 1000 - update.ts_us)
                self.arrived_s.append(time.monotonic())

    def push_some(self, payloads: Sequence[bytes], pushed: int, due: int) -> int:
        """Push up to message number `due`, as far as the publisher takes them; return how many are pushed."""
        try:
            while pushed < due:
                self.push.send(payloads[pushed % len(payloads)], zmq.NOBLOCK)
                pushed += 1
        except zmq.Again:
            pass
        return pushed


def run(case: Case, rate: float | None, seconds: float, folder: Path) -> Figures:
    """Push at `rate` (None: as fast as it goes) and measure after the warm-up."""
    payloads = messages()
    with publisher(case, folder) as (process, facts):
        client = Client(facts)
        start_s = time.monotonic()
        ends_s = start_s + _WARM_S + seconds
        pushed = 0
        cpu_s: float | None = None
        warm_arrived = 0
        while (now_s := time.monotonic()) < ends_s:
            if cpu_s is None and now_s >= start_s + _WARM_S:
                cpu_s, warm_arrived, warm_at_s = sum(process.cpu_times()[:2]), len(client.arrived_s), now_s
            due = int((now_s - start_s) * rate) if rate else pushed + 100
            pushed = client.push_some(payloads, pushed, due)
            client.feed.poll(1)
            client.take()
        taken_s, arrived = time.monotonic() - warm_at_s, len(client.arrived_s)
        cpu_s = sum(process.cpu_times()[:2]) - (cpu_s or 0.0)
        deadline_s = time.monotonic() + 10
        while len(client.arrived_s) < pushed and time.monotonic() < deadline_s:
            client.feed.poll(10)
            client.take()
        assert len(client.arrived_s) == pushed, f"{pushed} pushed, {len(client.arrived_s)} came"
        client.context.destroy(linger=0)
    stamps = sorted(latency / 1000 for latency in client.latencies_us[warm_arrived:])
    dues = sorted(
        (at_s - start_s - number / rate) * 1000 if rate else 0.0
        for number, at_s in enumerate(client.arrived_s, 1)
        if number > warm_arrived
    )
    count = arrived - warm_arrived
    return Figures(
        count / taken_s,
        cpu_s / count * 1e6,
        stamps[len(stamps) // 2],
        stamps[len(stamps) * 99 // 100],
        stamps[-1],
        dues[len(dues) * 99 // 100],
    )


def main() -> int:
    """Run all cases; print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--in", dest="where", default=None, help="directory on the disk that is measured")
    parser.add_argument("--case", action="append", help="only cases whose name begins so")
    parser.add_argument("--paced-only", action="store_true", help="without the greatest throughput")
    options = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    print(
        f"| journal | at {options.rate:,.0f}/s: p50 ms | p99 ms | max ms | p99 from due, ms | CPU us an update | "
        "greatest updates/s | p99 ms there |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for case in CASES:
        if options.case and not any(case.name.startswith(name) for name in options.case):
            continue
        found: list[Figures | None] = []
        for rate in (options.rate, None):
            if rate is None and options.paced_only:
                found.append(None)
                continue
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.where)))
                found.append(run(case, rate, options.seconds, folder))
        paced, greatest = found
        assert paced is not None
        print(
            f"| {case.name} | {paced.stamp_p50:.2f} | {paced.stamp_p99:.2f} | {paced.stamp_max:.1f} | "
            f"{paced.due_p99:.2f} | {paced.cpu_us:.1f} | "
            + (f"{greatest.updates_s:,.0f} | {greatest.stamp_p99:.1f} |" if greatest else "- | - |"),
            flush=True,
        )
    print(json.dumps(machine()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
