"""All clients of one process, and what they share: the connector, the recorder, the order book, the clock.

`classic.py` adds clients and asks for figures; `subscriber.py` and `order_client.py` are the clients, on top of
`Member`, which connects, comes back with back-off, and gives up after 2012's 5 attempts.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from random import Random

from execgate.measure.classic import ClassicMetrics
from execgate.service.vitals import LoopLag, ProcessVitals
from loadgen.client import Closed, Connection, Connector
from loadgen.core.backoff import Backoff
from loadgen.core.orders import OrderBook
from loadgen.core.recorder import STREAM_COUNTERS, Record, Recorder
from loadgen.core.stream_check import StreamCheck
from loadgen.core.target import Target

_log = logging.getLogger("loadgen")
BROKEN_SHOWN = 5
_BOOK_COUNTERS = ("sent", "answered", "rejected", "timed_out", "disconnected", "late", "unexpected")


class Crowd:
    """What the clients of one process share.

    Attributes:
        stopping: True once nobody connects or sends any more.
        wall_offset_us: what to add to monotonic microseconds to get wall-clock ones; taken anew each interval.
        failures: why clients could not connect, with the number of times.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        connector: Connector,
        random: Random,
        metrics: ClassicMetrics,
        book: OrderBook,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.targets = targets
        self.connector = connector
        self.random = random
        self.metrics = metrics
        self.book = book
        self.recorder = Recorder()
        self.members: list[Member] = []
        self.stopping = False
        self.failures: dict[str, int] = {}
        self.wall_offset_us = 0
        self._requests = 0
        self._vitals = ProcessVitals()
        self._cpu_s = self._vitals.cpu_s()
        self._lag = LoopLag()
        self._lag.start()
        self._taken_ns = time.monotonic_ns()
        self._read_clocks()

    def next_request(self) -> int:
        """Return the next number of the process' orders, as 2012's global counter."""
        self._requests += 1
        return self._requests

    def add(self, member: "Member") -> None:
        """Let one more client in: it begins to connect."""
        self.members.append(member)
        member.connect()

    @property
    def ever_connected(self) -> bool:
        """Whether any client was ever connected."""
        return self.recorder.connects > 0

    @property
    def all_given_up(self) -> bool:
        """Whether every client has used up its attempts."""
        return self.recorder.given_up == len(self.members) > 0

    def take_record(self) -> Record:
        """End the interval under way and return its raw record."""
        now_ns = time.monotonic_ns()
        self.book.expire(now_ns)
        cpu_s = self._vitals.cpu_s()
        gauges = {
            "clients": len(self.members),
            "orders_outstanding": self.book.outstanding,
            "cpu_s": round(cpu_s - self._cpu_s, 6),
            "rss_bytes": self._vitals.rss_bytes(),
            "loop_lag_us": round(self._lag.take_worst_s() * 1e6),
        }
        seconds = (now_ns - self._taken_ns) / 1e9
        self._cpu_s, self._taken_ns = cpu_s, now_ns
        self._read_clocks()
        return self.recorder.take(time.time(), seconds, self._totals(), gauges)

    def broken_streams(self) -> dict[str, str]:
        """Return what was wrong with the first few streams that were not whole, by client name."""
        broken: dict[str, str] = {}
        for member in self.members:
            check = member.check
            if check is not None and not check.contiguous:
                broken[member.name] = (
                    f"{check.gaps} gaps ({check.missing} missing), {check.duplicates} duplicates, "
                    f"{check.reorders} reorders"
                )
                if len(broken) == BROKEN_SHOWN:
                    break
        return broken

    def stop_sending(self) -> None:
        """Nobody connects, comes back or sends from now on; what is connected stays and listens."""
        self.stopping = True
        for member in self.members:
            member.stop_sending()

    async def close(self) -> None:
        """Close every connection; return when all are gone."""
        self.stop_sending()
        await self.connector.close()
        for member in self.members:
            member.close()
        while self.recorder.connected:
            await asyncio.sleep(0.005)
        self._lag.stop()

    def _totals(self) -> dict[str, int]:
        totals = dict.fromkeys(STREAM_COUNTERS, 0)
        for member in self.members:
            check = member.check
            if check is not None:
                for name in STREAM_COUNTERS:
                    totals[name] += getattr(check, name)
        for name in _BOOK_COUNTERS:
            totals[f"orders_{name}"] = getattr(self.book, name)
        return totals

    def _read_clocks(self) -> None:
        self.wall_offset_us = (time.time_ns() - time.monotonic_ns()) // 1000


class Member:
    """One client of the crowd: connects, comes back, gives up. What it says and hears is its subclass'.

    Attributes:
        name: the address that the server's `hello` named, until then "client-N".
        check: the state of its stream; None for a client that takes none.
    """

    __slots__ = ("_backoff", "_connection", "_retry", "check", "crowd", "name", "number", "subprotocol")

    def __init__(self, crowd: Crowd, number: int, subprotocol: str | None) -> None:
        self.crowd = crowd
        self.number = number
        self.name = f"client-{number}"
        self.subprotocol = subprotocol
        self.check: StreamCheck | None = None
        self._backoff = Backoff()
        self._connection: Connection | None = None
        self._retry: asyncio.TimerHandle | None = None

    def connect(self) -> None:
        """Begin an attempt; clients, and attempts, take turns at the targets."""
        self._retry = None
        targets = self.crowd.targets
        target = targets[(self.number + self._backoff.attempts) % len(targets)]
        self.crowd.connector.connect(target, self, self.subprotocol)

    def stop_sending(self) -> None:
        """Come back no more."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def on_open(self, connection: Connection) -> None:
        """See `client.Listener`."""
        self._connection = connection
        self._backoff.reset()
        self.crowd.recorder.opened()

    def on_text(self, text: str, received_ns: int) -> None:
        """See `client.Listener`."""
        raise NotImplementedError

    def on_close(self, closed: Closed) -> None:
        """See `client.Listener`."""
        self._connection = None
        self.crowd.book.disconnect(self.number)
        self.crowd.recorder.closed()
        if not self.crowd.stopping:
            self.crowd.recorder.errors[f"closed {closed.code}"] += 1
            _log.info("event=closed client=%s code=%s reason=%r", self.name, closed.code, closed.reason)
            self._come_back()

    def on_failed(self, kind: str, reason: str) -> None:
        """See `client.Listener`."""
        crowd = self.crowd
        crowd.recorder.errors[f"connect {kind}"] += 1
        # Bounded by the kinds of failure that exist, not by what servers answer.
        if reason in crowd.failures or len(crowd.failures) < 20:
            crowd.failures[reason] = crowd.failures.get(reason, 0) + 1
        _log.info("event=connect-failed client=%s kind=%r reason=%r", self.name, kind, reason)
        if not crowd.stopping:
            self._come_back()

    def _come_back(self) -> None:
        delay_s = self._backoff.next_delay_s(self.crowd.random)
        if delay_s is None:
            self.crowd.recorder.given_up += 1
            _log.info("event=given-up client=%s", self.name)
            return
        self._retry = self.crowd.loop.call_later(delay_s, self.connect)
