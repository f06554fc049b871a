"""Running the demo: start everything in order, show a row a second, end everything, judge.

Called by `execgate.demo.main`, once. The figures are the load generator's own interval records; this only adds
them up (`table.py`, `verdict.py`).
"""

import math
import socket
import sys
import time
from typing import Any

from execgate.demo import table
from execgate.demo.config import DemoConfig
from execgate.demo.records import Records, start_recording
from execgate.demo.verdict import Check, Outcome, judge
from execgate.service.children import ChildError, Children, StoppedError
from execgate.service.endpoints import bind_error
from execgate.service.exits import EXIT_FAILED, EXIT_OK
from execgate.service.lifecycle import Stop
from execgate.service.output import as_json, check_output, keep_output
from execgate.service.vitals import ProcessTrees

HOST = "127.0.0.1"
WORKERS = 2
RAMP_STEPS = 6
RAMP_INTERVAL_S = 0.3
RAMP_TIMEOUT_S = 30.0
"""All subscribers must be connected by then: five attempts with back-off end after 23 s at the latest."""
HEADING_EVERY = 20


def check_port(port: int) -> None:
    """Find a taken port before anything is started.

    Raises:
        UsageError: names --port and the address.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server does: TIME_WAIT is no use
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            raise bind_error(f"--port {port}:", f"{HOST}:{port}", error) from None


class Show:
    """One run of the demo."""

    def __init__(self, config: DemoConfig, stop: Stop) -> None:
        self._config = config
        self._stop = stop
        self._children = Children()
        self._steady: list[dict[str, Any]] = []
        self._loads: list[table.Load] = []  # of the steady intervals
        self._pubsub: Records | None = None
        self._orders: Records | None = None

    async def run(self) -> int:
        """Run to the end; return the exit status."""
        self._check_usage()
        try:
            async with self._children:
                try:
                    await self._start_and_watch()
                except StoppedError:
                    pass
                await self._end_load()
        except ChildError as error:
            print(f"execgate demo: {error}", file=sys.stderr, flush=True)
            return EXIT_FAILED
        return self._conclude()

    def _check_usage(self) -> None:
        check_port(self._config.port)
        check_output("--json", self._config.json)

    async def _start_and_watch(self) -> None:
        config, children = self._config, self._children
        # The publisher first: a gateway is ready once it knows where the sequence stands.
        publisher = await children.start(
            "publisher",
            *("publisher", "--source", "synthetic", "--rate", f"{config.rate:g}", "--pub", f"tcp://{HOST}:0"),
        )
        told = await children.ready(publisher, self._stop)
        gateway = await children.start(
            "gateway",
            *("gateway", "--workers", str(WORKERS), "--listen", f"{HOST}:{config.port}"),
            *("--feed", told["pub"], "--replay", told["replay"]),
        )
        address = (await children.ready(gateway, self._stop))["listen"]
        print(f"watch it in a browser: http://{address}/", flush=True)
        await self._start_load(f"ws://{address}/ws")
        await self._watch(ProcessTrees([publisher.process.pid, gateway.process.pid]))

    async def _start_load(self, url: str) -> None:
        subscribers, order_clients = self._config.subscribers, self._config.order_clients
        for what, clients in (("pubsub", subscribers), ("orders", order_clients)):
            step = math.ceil(clients / RAMP_STEPS)
            _, records = await start_recording(
                self._children,
                f"loadgen {what}",
                *("loadgen", "classic2012", what, "--url", url, "--max-clients", str(clients)),
                *("--step", str(step), "--interval", str(RAMP_INTERVAL_S)),
            )
            if what == "pubsub":
                self._pubsub = records
            else:
                self._orders = records

    async def _watch(self, daemons: ProcessTrees) -> None:
        """Print a row for each record of the subscribers, until the time asked for is measured."""
        assert self._pubsub is not None
        assert self._orders is not None
        ramp_ends = time.monotonic() + RAMP_TIMEOUT_S
        gaps = orders_seen = rows = 0
        daemons.take()
        while not self._enough():
            record = await self._children.unless_over(self._pubsub.next(rows), self._stop)
            load = table.load_of(*daemons.take(), record["seconds"])
            orders = self._orders.all[orders_seen:]
            order_clients = self._orders.all[-1]["connected"] if self._orders.all else 0
            orders_seen += len(orders)
            gaps += record["gaps"] + record["told_gaps"]
            if rows == 0 or (rows % HEADING_EVERY == 0 and sys.stdout.isatty()):
                print(table.heading(), flush=True)
            print(table.row(record, orders, order_clients, gaps, load), flush=True)
            rows += 1
            # From the first interval with everybody on: whoever is lost later is still owed his updates.
            if self._steady or record["connected_low"] >= self._config.subscribers:
                self._steady.append(record)
                self._loads.append(load)
            elif self._config.for_ is not None and time.monotonic() > ramp_ends:
                return

    def _enough(self) -> bool:
        """Whether the seconds asked for are measured; a record is about a second long."""
        return self._config.for_ is not None and self._steady_s() >= max(self._config.for_ - 0.5, 1e-3)

    def _steady_s(self) -> float:
        return float(sum(record["seconds"] for record in self._steady))

    async def _end_load(self) -> None:
        """End the load generators and read their logs to the end: orders on their way are waited for."""
        logs = [records for records in (self._orders, self._pubsub) if records is not None]
        for child in reversed(list(self._children.ends.values())):
            if child.name.startswith("loadgen"):
                await child.end()
        for records in logs:
            await records.rest()

    def _conclude(self) -> int:
        if self._pubsub is None or self._orders is None or not self._pubsub.all:
            print("stopped before anything was measured", flush=True)
            return EXIT_OK if self._config.for_ is None else EXIT_FAILED
        summary, checks = self._summarise(self._pubsub.all, self._orders.all)
        print(table.summary_text(summary, checks), flush=True)
        passed = all(check.passed for check in checks)
        if not keep_output("execgate demo", "--json", self._config.json, as_json(summary)):
            return EXIT_FAILED
        # Without --for, Ctrl-C is the end that was asked for: the verdict is shown, and is no failure.
        return EXIT_OK if passed or self._config.for_ is None else EXIT_FAILED

    def _summarise(
        self, pubsub: list[dict[str, Any]], orders: list[dict[str, Any]]
    ) -> tuple[dict[str, Any], list[Check]]:
        def total(records: list[dict[str, Any]], name: str) -> int:
            return int(sum(record[name] for record in records))

        steady_s = self._steady_s()
        ends = ("sent", "answered", "rejected", "timed_out", "disconnected", "late", "unsent")
        order_totals = {end: total(orders, f"orders_{end}") for end in ends}
        outcome = Outcome(
            asked_s=self._config.for_,
            steady_s=steady_s,
            rate=self._config.rate,
            subscribers=self._config.subscribers,
            delivered=total(self._steady, "delivered"),
            gaps=total(pubsub, "gaps") + total(pubsub, "told_gaps"),
            missing=total(pubsub, "missing") + total(pubsub, "told_missing"),
            duplicates=total(pubsub, "duplicates"),
            reorders=total(pubsub, "reorders"),
            orders_sent=order_totals["sent"],
            orders_answered=order_totals["answered"],
        )
        checks = judge(outcome)
        latency = table.latency_of(self._steady)
        loads = self._loads
        summary = {
            "verdict": "pass" if all(check.passed for check in checks) else "fail",
            "checks": [{"name": check.name, "passed": check.passed, "found": check.found} for check in checks],
            "steady_s": round(steady_s, 3),
            "rate": self._config.rate,
            "subscribers": self._config.subscribers,
            "order_clients": self._config.order_clients,
            "scheduled": round(outcome.scheduled),
            "delivered": outcome.delivered,
            "delivered_per_s": round(outcome.delivered / steady_s, 1) if steady_s else 0.0,
            "delivery_us": {
                "p50": latency.percentile(50),
                "p99": latency.percentile(99),
                "max": latency.percentile(100),
            },
            "gaps": outcome.gaps,
            "missing": outcome.missing,
            "duplicates": outcome.duplicates,
            "reorders": outcome.reorders,
            "orders": order_totals,
            "cpu_percent": round(sum(load.cpu_percent for load in loads) / len(loads), 1) if loads else 0.0,
            "memory_mib_peak": round(max((load.memory_mib for load in loads), default=0.0), 1),
        }
        return summary, checks
