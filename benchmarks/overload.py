"""Overload: more updates than one core can send, while orders come and health is asked; then the load goes.

A run has three phases: calm, load, calm again. Subscribers, orders and health are measured by three clients that
do not wait for each other. Most subscribers are only skimmed, so that the server's core is what is short; where
the client's was full too, the row says so.
"""

import json
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.case import Case, Column
from benchmarks.overload_figures import (
    INTERVAL_US,
    Phases,
    answers_in,
    intervals_in,
    of_gateway,
    of_orders,
    of_subscribers,
)
from benchmarks.processes import CLIENT_CORE, Process, await_line, lines_of, process, tell
from benchmarks.running import WARM_S, Figures, Work, client_command, feed_behind_us, policies_used, serving
from benchmarks.servers import Server
from benchmarks.validity import differs, feed_late
from benchmarks.watching import Watch

_CALM_RATE, _BEFORE_S = 20, 4
# About 14,000 updates/s to 1,000 subscribers who read at once are what one core can send, all joined.
_RATE, _SECONDS = 30_000, 6
_ORDERS = Work(100, 0, 0, orders="100")
_CONNECT_WITHIN_S = 60


def measure(server: Server, work: Work) -> Figures:
    """Put `work` on the gateway for its `seconds`, between calm phases; return what became of everything.

    Raises:
        RuntimeError: a client ended without figures.
    """
    after_s = 3 * work.seconds + 2  # what the load has left behind is worked off meanwhile
    seconds = _BEFORE_S + work.seconds + after_s
    schedule = [(_CALM_RATE, WARM_S + _BEFORE_S), (work.rate, work.seconds), (_CALM_RATE, after_s + 2)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program, port, feeder = stack.enter_context(serving(server, work, folder, schedule))
        command = client_command(server, work, port, seconds, folder)
        command += ["intervals", str(INTERVAL_US // 1000)]
        client = stack.enter_context(process(command, CLIENT_CORE, stdin=subprocess.PIPE))
        await_line(client, "connected", _CONNECT_WITHIN_S)
        command = [*client_command(server, _ORDERS, port, seconds, folder), "log-orders", "1"]
        ordering = stack.enter_context(process(command, CLIENT_CORE, stdin=subprocess.PIPE))
        orders = _Reader(ordering)
        watch = stack.enter_context(Watch(port, program.pid, (client.pid, feeder.pid, ordering.pid)))
        go_us = time.time_ns() // 1000
        tell(feeder, "go")
        lines = _Reader(client).lines()
        order_lines = orders.lines()
        policies = policies_used(port)
        late_us = feed_behind_us(folder)
        watch.stop()
    load_us = go_us + int((WARM_S + _BEFORE_S) * 1e6)
    phases = Phases(go_us + int(WARM_S * 1e6), load_us, load_us + int(work.seconds * 1e6))
    received, ordered = json.loads(lines[-1]), json.loads(order_lines[-1])
    return {
        **received,
        **policies,
        **of_subscribers(intervals_in(lines), phases, work.size),
        **of_orders(answers_in(order_lines), phases),
        "orders_unanswered": max(0, ordered["orders_sent"] - ordered["orders_answered"]),
        **of_gateway(watch.samples, watch.answers, phases),
        "void": feed_late(late_us) or differs(received),
    }


class _Reader:
    """Reads a client's lines, up to the figures that are its last, in a thread."""

    def __init__(self, client: Process) -> None:
        self._client = client
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def lines(self) -> list[str]:
        """Wait for the figures; return all lines."""
        self._thread.join()
        if not self._lines or not self._lines[-1].startswith("{"):
            raise RuntimeError(f"a client ended without figures: {self._client.args!r}")
        return self._lines

    def _read(self) -> None:
        for line in lines_of(self._client):
            self._lines.append(line)
            if line.startswith("{"):
                return


def _work(*flags: str) -> Work:
    # Who is skimmed answers no pings.
    return Work(1_000, _RATE, _SECONDS, slow=100, skimmed=880, flags=("--idle-s", "600", *flags))


OVERLOAD = Case(
    "overload",
    f"1,000 x {_RATE:,} updates/s of 500 B, twice what one core can send: what becomes of everything?",
    (
        Column("deliveries_per_s", "deliveries/s", "{:,.0f}"),
        Column("server_busy", "gateway's core", "{:.0%}"),
        Column("client_core_busy", "client's core", "{:.0%}"),
        Column("latest_us", "latest delivery, ms", "{:,.0f}", 1000),
        Column("order_p50_us", "orders p50, ms", "{:,.1f}", 1000),
        Column("order_p99_us", "orders p99, ms", "{:,.1f}", 1000),
        Column("order_max_us", "orders max, ms", "{:,.1f}", 1000),
        Column("orders_unanswered", "orders unanswered", "{:.0f}"),
        Column("health_p99_us", "health p99, ms", "{:,.1f}", 1000),
        Column("health_max_us", "health max, ms", "{:,.1f}", 1000),
        Column("health_failed", "health not 200", "{:.0f}"),
        Column("rss_before", "memory before, MiB", "{:,.0f}", 1 << 20),
        Column("rss_peak", "memory at most, MiB", "{:,.0f}", 1 << 20),
        Column("rss_after", "memory after, MiB", "{:,.0f}", 1 << 20),
        Column("closed_slow", "closed 4108", "{:.0f}"),
        Column("dropped", "dropped (volatile)", "{:,.0f}"),
        Column("feed_missing", "lost before the gateway", "{:,.0f}"),
        Column("p99_before_us", "p99 before, ms", "{:.1f}", 1000),
        Column("recover_s", "s until p99 is normal", "{:.1f}"),
    ),
    _work(),
    variants={"mode all": _work(), "volatile": _work("--emit-volatile")},
    note=f"""\
The load, {_SECONDS} s of it, lies between calm phases of {_CALM_RATE} updates/s. Meanwhile 100 orders/s come
over 100 other connections, and `/healthz` and `/readyz` are asked every 0.1 s, each time on a new connection;
their figures are those of the load, from when each was due. Of the subscribers 100 read only 20 KB/s, so that
their mode's policy acts; 880 are read without being looked into, so that the client is not what is short;
latencies are those of the other 20. p99 is normal once it is, for a second on end, at most twice the highest of
the calm tenths of a second before, or 10 ms. What was lost before the gateway ZeroMQ has dropped, its queues
being full.""",
    reference="",
    more_is_better=True,
    measure=measure,
)
