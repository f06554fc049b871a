"""The two client programs of 2012, to the letter: more clients every interval, and one CSV line for each.

Called by `app.py`. On standard output stand the heading and the lines of 2012 and nothing else; raw records go
to the interval log once a second, the summary to standard error.
"""

import asyncio
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from random import Random

from execgate.measure.classic import CLIENT_HEADING, ClassicMetrics, csv_line
from execgate.service.endpoints import TcpAddress, resolve
from execgate.service.exits import EXIT_FAILED, EXIT_OK
from execgate.service.lifecycle import Stop
from execgate.service.output import as_json, check_output, keep_output
from execgate.service.vitals import ProcessVitals
from loadgen.config import ClassicConfig, OrdersConfig
from loadgen.core.orders import OrderBook
from loadgen.core.summary import Summary, describe
from loadgen.core.target import Target
from loadgen.crowd import Crowd, Member
from loadgen.line_log import LineLog
from loadgen.order_client import OrderClient
from loadgen.raw_client import RawConnector
from loadgen.subscriber import Subscriber

RECORD_INTERVAL_S = 1.0
OUTSTANDING_WAIT_S = 2.0


class ClassicRun:
    """One run of either program."""

    def __init__(self, config: ClassicConfig, stop: Stop, log: LineLog, records: LineLog) -> None:
        self._config = config
        self._stop = stop
        self._log = log
        self._records = records
        self._loop = asyncio.get_running_loop()
        self._vitals = ProcessVitals()
        self._summary = Summary()
        self._metrics = ClassicMetrics(config.outlier_size)
        timeout_ms = config.order_timeout_ms if isinstance(config, OrdersConfig) else 1.0
        self._crowd = Crowd(
            targets=[resolved(target) for target in config.url],
            connector=RawConnector(config.connect_timeout_ms / 1000, insecure_tls=config.insecure_tls),
            random=Random(config.seed),
            metrics=self._metrics,
            book=OrderBook(round(timeout_ms * 1e6)),
            write_record=records.write if records.is_open else None,
        )

    async def run(self) -> int:
        """Run until the time is up, a signal comes, or nobody could connect; return the exit status."""
        self._print(CLIENT_HEADING)
        ticks = [
            asyncio.create_task(self._every(RECORD_INTERVAL_S, self._record)),
            asyncio.create_task(self._every(self._config.interval, self._step)),
        ]
        self._add_clients()
        stopped = asyncio.create_task(self._stop.wait(self._config.for_))
        # A tick that raises is our own bug: it ends the run and is shown, instead of a run without records.
        await asyncio.wait([stopped, *ticks], return_when=asyncio.FIRST_COMPLETED)
        self._crowd.stop_sending()
        await self._wait_for_answers()
        for task in (stopped, *ticks):
            task.cancel()
        for tick in ticks:
            if tick.done() and not tick.cancelled():
                tick.result()
        self._print_line()
        # What was seen before we close is the run; the closing itself is not, except for orders that it ends.
        for member in self._crowd.members:
            self._crowd.book.disconnect(member.number)
        self._record()
        broken = self._crowd.broken_streams()
        await self._crowd.close()
        self._records.close()
        return self._report(broken)

    async def _every(self, interval_s: float, action: Callable[[], None]) -> None:
        """Do `action` at whole multiples of the interval, without drift."""
        due = self._loop.time() + interval_s
        while True:
            await asyncio.sleep(due - self._loop.time())
            action()
            due = max(due + interval_s, self._loop.time())

    def _step(self) -> None:
        if not self._crowd.stopping:
            self._print_line()
            self._add_clients()

    def _add_clients(self) -> None:
        present = len(self._crowd.members)
        wanted = present + self._config.step
        if self._config.max_clients is not None:
            wanted = min(wanted, self._config.max_clients)
        for number in range(present, wanted):
            self._crowd.add(self._new_member(number))

    def _new_member(self, number: int) -> Member:
        if isinstance(self._config, OrdersConfig):
            return OrderClient(self._crowd, number, self._config.max_rows)
        return Subscriber(self._crowd, number)

    def _record(self) -> None:
        record = self._crowd.take_record()
        self._summary.add(record)
        self._log.write(record)
        if self._crowd.all_given_up and not self._crowd.ever_connected:
            self._stop.request()

    def _print_line(self) -> None:
        crowd = self._crowd
        line = csv_line(
            len(crowd.members), crowd.recorder.connected, self._vitals.interval(), self._metrics.take()
        )
        self._print(line)

    def _print(self, line: str) -> None:
        """Print to whoever reads; a reader that has gone (`| head`) wants no more, which ends the run."""
        try:
            print(line, flush=True)
        except BrokenPipeError:
            # The interpreter flushes once more at its end, which must not fail either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._stop.request()

    async def _wait_for_answers(self) -> None:
        deadline = self._loop.time() + OUTSTANDING_WAIT_S
        while self._crowd.book.outstanding and self._loop.time() < deadline:
            await asyncio.sleep(0.005)
            self._crowd.book.expire(time.monotonic_ns())

    def _report(self, broken: dict[str, str]) -> int:
        summary = self._summary.as_dict()
        summary["broken_streams"] = broken
        print(describe(summary, broken), file=sys.stderr, flush=True)
        if not keep_output("execgate loadgen", "--json", self._config.json, as_json(summary)):
            return EXIT_FAILED
        if self._records.is_lost:
            print(f"execgate loadgen: --records {self._config.records}: not all was written", file=sys.stderr)
            return EXIT_FAILED
        if self._crowd.failures and not self._crowd.ever_connected:
            urls = ", ".join(map(str, self._config.url))
            why = ", ".join(f"{reason} ({n} times)" for reason, n in self._crowd.failures.items())
            print(f"execgate loadgen: no client ever connected to {urls}: {why}", file=sys.stderr)
            return EXIT_FAILED
        return EXIT_OK


def resolved(target: Target) -> Target:
    """Return the target with its host as a numeric address: clients must not ask a name server each.

    Raises:
        UsageError: the host has no address.
    """
    _, (host, port) = resolve("--url", TcpAddress(target.host, target.port))
    return dataclasses.replace(target, host=host, port=port)


async def run_classic(config: ClassicConfig, stop: Stop) -> int:
    """Run the program that `config` belongs to; return the exit status."""
    check_output("--json", config.json)
    with (
        LineLog("--intervals", config.intervals) as log,
        LineLog("--records", config.records, flushes=False) as records,
    ):
        return await ClassicRun(config, stop, log, records).run()
