"""May the load generator be believed where it is kept from its core, or has more to read than it can? A table.

`python -m benchmarks.believing` holds `loadgen run` against a server that notes when the kernel had each update.
The client has a core to itself but for a thief: a process that takes it away for a part of each 20 ms, whatever
the scheduler thinks of it (SCHED_FIFO: root alone may). What came of it: docs/measuring.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.busy_server import busy_server
from benchmarks.processes import CLIENT_CORE, SERVER_CORE, load_run, process
from execgate.measure.histogram import Histogram

AGE_US = 2_000
"""So that a percentile is a few milliseconds, and what the client adds shows."""
CLIENTS = 8
STOLEN = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
CALM_PER_S = 5_000
RATES = (20_000, 40_000, 60_000, 80_000, 100_000, 120_000, 160_000)
_PERIOD_S = 0.02
_THIEF = """
import os, sys, time
share, period_s = float(sys.argv[1]), float(sys.argv[2])
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
print(flush=True)
while True:
    end_s = time.monotonic() + share * period_s
    while time.monotonic() < end_s:
        pass
    time.sleep((1 - share) * period_s)
"""


@contextmanager
def thief(share: float) -> Iterator[None]:
    """Take the client's core away for `share` of the time.

    Raises:
        PermissionError: this process may not.
    """
    if not share:
        yield
        return
    with process([sys.executable, "-c", _THIEF, f"{share}", f"{_PERIOD_S}"], CLIENT_CORE) as started:
        assert started.stdout is not None
        if not started.stdout.readline():
            raise PermissionError("SCHED_FIFO is for root alone")
        yield


def measure(per_s: int, share: float, seconds: float) -> dict[str, Any]:
    """Run the load generator once; return what it told, and the truth in us, by percentile."""
    ages_us = Histogram()
    with (
        tempfile.TemporaryDirectory() as folder,
        busy_server(CLIENTS, per_s, ages_us, AGE_US) as url,
        thief(share),
    ):
        told = Path(folder) / "told.json"
        load = {
            "url": url,
            "subscribers": CLIENTS,
            "warm-up": 0.5,
            "for": seconds,
            "processes": 1,
            "run-dir": folder,
            "json": told,
        }
        with process(load_run(load), CLIENT_CORE, stdout=subprocess.DEVNULL) as client:
            client.wait()
        found: dict[str, Any] = json.loads(told.read_text())
    return found | {"truth_us": {name: ages_us.percentile(at) for name, at in (("p50", 50.0), ("p99", 99.0))}}


def row(first: str, found: dict[str, Any]) -> str:
    """Return a line of a Markdown table."""
    figures, truth_us = found["figures"], found["truth_us"]
    quoted_us, least_us = figures["latencies"]["delivery"], figures["at_least"]["delivery"]
    client = figures["client"]
    cells = [first, f"{figures['rates']['delivered_per_s']:,.0f}", f"{client['cpu_share']:.0%}"]
    cells += [f"{client['cpu_wait_share']:.1%}"]
    for name in ("p50", "p99"):
        if quoted_us[name] is None:
            cells += ["-", "-", "-"]
            continue
        cells += [
            f"{truth_us[name] / 1000:.2f}",
            f"{least_us[name] / 1000:.2f} - {quoted_us[name] / 1000:.2f}",
            f"{quoted_us[name] / truth_us[name] - 1:+.1%}",
        ]
    return f"| {' | '.join([*cells, found['verdict']['verdict']])} |"


def heading(first: str) -> str:
    """Return the first two lines of the table."""
    columns = [first, "read a second", "CPU of a core", "no CPU"]
    columns += ["true p50 ms", "told", "off by", "true p99 ms", "told", "off by", "verdict"]
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.believing", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured in each run (default %(default)g)")
    asked = parser.parse_args()
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        print(heading("core taken away"), flush=True)
        for share in STOLEN:
            print(row(f"{share:.0%}", measure(CALM_PER_S, share, asked.seconds)), flush=True)
    except PermissionError as error:
        print(f"python -m benchmarks.believing: {error}", file=sys.stderr)
        return 1
    print(f"\n{heading('sent a second')}", flush=True)
    for rate in RATES:
        print(row(f"{rate:,}", measure(rate, 0.0, asked.seconds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
