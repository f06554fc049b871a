"""What the load generator itself costs: CPU a message, memory a client, and whether that stays as it is."""

import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.case import Case, Column
from benchmarks.columns import SHARE
from benchmarks.processes import CLIENT_CORE, load_run, process, tell
from benchmarks.running import Figures, Work, feed_behind_us, serving
from benchmarks.servers import Server
from benchmarks.validity import feed_late
from loadgen.core.figures import MEASURE
from loadgen.core.summary import Summary
from loadgen.run_folder import StoredRun

_WARM_UP_S, _SPARE_S = 3, 10
_DELIVERED_LEAST = 0.99
_FEW = 1
"""Clients of the run whose memory is that of the program alone."""


def measure(server: Server, work: Work) -> Figures:
    """Run the load generator against our gateway, with `work.connections` clients and then with next to none."""
    figures = _run(server, work)
    alone = _run(server, Work(_FEW, work.rate, 2, size=work.size))
    grown = figures["rss_bytes"] - alone["rss_bytes"]
    return {**figures, "kib_per_client": grown / 1024 / work.connections}


def _run(server: Server, work: Work) -> Figures:
    ramp_s = work.connections / work.connect_rate
    schedule = [(work.rate, ramp_s + _WARM_UP_S + work.seconds + _SPARE_S)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _, port, feeder = stack.enter_context(serving(server, work, folder, schedule))
        load = {
            "url": f"ws://127.0.0.1:{port}{server.path}",
            "subscribers": work.connections,
            "connect-rate": work.connect_rate,
            "connect-timeout-ms": 10_000,
            "warm-up": _WARM_UP_S,
            "for": work.seconds,
            "processes": 1,
            "run-dir": folder,
            "name": "run",
        }
        client = stack.enter_context(process(load_run(load), CLIENT_CORE, stdout=subprocess.DEVNULL))
        tell(feeder, "go")
        client.wait()
        behind_us = feed_behind_us(folder)
        records = [record for record in StoredRun(folder / "run").records() if record["phase"] == MEASURE]
    figures = _figures(work, records)
    share = figures["delivered_share"]
    short = f"only {share:.1%} of what was due came in time" if share < _DELIVERED_LEAST else ""
    return figures | {"void": feed_late(behind_us) or short}


def _figures(work: Work, records: list[Figures]) -> Figures:
    summary = Summary(records)
    counts, seconds = summary.counts(), summary.seconds
    delivered = counts["delivered"]
    first, last = records[0]["rss_bytes"], records[-1]["rss_bytes"]
    return {
        "us_per_message": counts["cpu_s"] / delivered * 1e6 if delivered else None,
        "messages_per_s": delivered / seconds,
        "delivered_share": delivered / (work.rate * work.connections * seconds),
        "bytes_per_message": counts["data_bytes"] / delivered if delivered else None,
        "rss_bytes": last,
        "growth_bytes_per_client": (last - first) / work.connections,
    }


LOADGEN_COST = Case(
    "loadgen-cost",
    "10,000 messages/s of 500 B in one process of the load generator: CPU a message, memory a client",
    (
        Column("us_per_message", "CPU µs"),
        Column("messages_per_s", "messages/s", "{:,.0f}"),
        SHARE,
        Column("kib_per_client", "KiB a client"),
        Column("growth_bytes_per_client", "grown B", "{:.0f}"),
    ),
    None,
    variants={
        "100 clients": Work(100, 100, 10),
        "5,000 clients": Work(5_000, 2, 10, connect_rate=1_000),
        "5,000 clients, 1 min": Work(5_000, 2, 60, connect_rate=1_000),
    },
    note="""\
`execgate loadgen run` on one core, our gateway on the other. Its own CPU while it measures, over the messages that
came; `KiB a client` is the resident memory at the end, less that of a run with one client, over the clients;
`grown` is what the memory of a client grew from the first measured second to the last.""",
    reference="",
    measure=measure,
)
