"""All clients of one process, and what they share: the connector, the recorder, the order book, the clock.

`classic.py` adds clients and asks for figures; `subscriber.py` and `order_client.py` are the clients, on top of
`Member`, which connects, comes back with back-off, and gives up after 2012's 5 attempts.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from random import Random

from execgate.audit.recording import Digests, Fields, Recording
from execgate.measure.classic import ClassicMetrics
from execgate.service.vitals import LoopLag, ProcessVitals
from loadgen.client import Closed, Connection, Connector
from loadgen.core.backoff import Backoff
from loadgen.core.orders import OrderBook
from loadgen.core.recorder import STALE_AFTER_S, STREAM_COUNTERS, Record, Recorder
from loadgen.core.stream_check import StreamCheck
from loadgen.core.tally import Tally
from loadgen.core.target import Target

_log = logging.getLogger("loadgen")
BROKEN_SHOWN = 5
_CLOCK_READINGS = 5
_BOOK_COUNTERS = ("sent", "answered", "rejected", "timed_out", "disconnected", "late", "unexpected")


class Crowd:
    """What the clients of one process share.

    Args:
        targets: clients, and their attempts, take turns at them.
        connector: the client library.
        random: of all choices.
        metrics: of 2012; None where nobody asks for them.
        book: of all orders.
        stale_after_s: of silence, after which a stream is stale.
        write_record: gets what subscribers write down for the audit, see `Recording`; None, and they do not.

    Attributes:
        stopping: True once nobody connects or sends any more.
        wall_offset_us: what to add to monotonic microseconds to get wall-clock ones; taken anew each interval.
        failures: why clients could not connect, with the number of times.
        noticed_ns: a subscriber whose silence was longer than this calls `notice_silence`.
        is_calm: whether those that are slow or stuck otherwise read what comes.
        tallies: of the groups of subscribers, where there are any, by their names.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        connector: Connector,
        random: Random,
        metrics: ClassicMetrics | None,
        book: OrderBook,
        stale_after_s: float = STALE_AFTER_S,
        write_record: Callable[[Fields], None] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.targets = targets
        self.connector = connector
        self.random = random
        self.metrics = metrics
        self.book = book
        self.recorder = Recorder(connector.unread_us)
        self.members: list[Member] = []
        self.tallies: dict[str, Tally] = {}
        self.stopping = self.is_calm = False
        self.failures: dict[str, int] = {}
        self.wall_offset_us = 0
        self._stale_ns = round(stale_after_s * 1e9)
        self._silence_ns = self.noticed_ns = 0
        self._write_record = write_record
        self._digests = Digests()
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

    def new_recording(self, number: int) -> Recording | None:
        """Return what client `number` writes down, if it does, under a name of its own on this machine."""
        if self._write_record is None:
            return None
        return Recording(f"loadgen-{os.getpid()}-{number}", self._digests, self._write_record)

    def add(self, member: "Member", due_ns: int | None = None) -> None:
        """Let one more client in, which was to connect at `due_ns` (now, if that is None): it begins to."""
        self.members.append(member)
        member.due_ns = time.monotonic_ns() if due_ns is None else due_ns
        member.connect()

    @property
    def ever_connected(self) -> bool:
        """Whether any client was ever connected."""
        return self.recorder.connects > 0

    @property
    def all_given_up(self) -> bool:
        """Whether every client has used up its attempts."""
        return self.recorder.given_up == len(self.members) > 0

    def notice_silence(self, member: "Member", silence_ns: int) -> None:
        """`member` was not heard of for so long, until now; who does not read freely says nothing by that."""
        if not member.reads_freely:
            return
        self._silence_ns = max(self._silence_ns, silence_ns)
        # The hot road calls only for what is the longest yet, or makes a stream stale: a handful in an interval.
        self.noticed_ns = min(self._silence_ns, self._stale_ns)
        if silence_ns >= self._stale_ns and not member.is_stale:
            self.recorder.stale += 1
        member.is_stale = False

    def take_record(self) -> Record:
        """End the interval under way and return its raw record."""
        now_ns = time.monotonic_ns()
        self.book.expire(now_ns)
        self._look_for_silence(now_ns)
        cpu_s = self._vitals.cpu_s()
        gauges = {
            "clients": len(self.members),
            "orders_outstanding": self.book.outstanding,
            "cpu_s": round(cpu_s - self._cpu_s, 6),
            "rss_bytes": self._vitals.rss_bytes(),
            "loop_lag_us": round(self._lag.take_worst_s() * 1e6),
            "silence_us": self._silence_ns // 1000,
        }
        self._silence_ns = self.noticed_ns = 0
        seconds = (now_ns - self._taken_ns) / 1e9
        self._cpu_s, self._taken_ns = cpu_s, now_ns
        self._read_clocks()
        record = self.recorder.take(time.time(), seconds, self._totals(), gauges)
        if self.tallies:
            record["groups"] = {name: tally.take() for name, tally in self.tallies.items()}
        return record

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

    def _look_for_silence(self, now_ns: int) -> None:
        """Take into account the silence of streams that still last."""
        for member in self.members:
            if member.check is not None and member.is_connected and member.reads_freely:
                silence_ns = now_ns - member.heard_ns
                self._silence_ns = max(self._silence_ns, silence_ns)
                if silence_ns >= self._stale_ns and not member.is_stale:
                    member.is_stale = True
                    self.recorder.stale += 1

    def _totals(self) -> dict[str, int]:
        totals = dict.fromkeys(STREAM_COUNTERS, 0)
        for tally in self.tallies.values():
            tally.streams.clear()
        for member in self.members:
            check = member.check
            if check is not None:
                for name in STREAM_COUNTERS:
                    totals[name] += getattr(check, name)
                if member.tally is not None:
                    member.tally.add(check)
        for name in _BOOK_COUNTERS:
            totals[f"orders_{name}"] = getattr(self.book, name)
        return totals

    def _read_clocks(self) -> None:
        # Whoever is held up between two clocks reads them apart by as much: the quickest of a few.
        readings = []
        for _ in range(_CLOCK_READINGS):
            before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
            readings.append((after_ns - before_ns, wall_ns - before_ns))
        self.wall_offset_us = min(readings)[1] // 1000


class Member:
    """One client of the crowd: connects, comes back, gives up. What it says and hears is its subclass'.

    Attributes:
        name: the address that the server's `hello` named, until then "client-N".
        check: the state of its stream; None for a client that takes none.
        due_ns: when it was to be connected for the first time; 0 once it was.
        heard_ns: when it last heard of its stream, or was connected.
        is_stale: whether the silence that lasts was counted.
        target: what it is connected to, or was last.
        is_quoted: whether its latencies are told as the server's.
        reads_freely: whether it reads what comes at once: else its silence says nothing.
        tally: of its group, if it is of one.
    """

    is_quoted = True
    reads_freely = True
    tally: Tally | None = None

    __slots__ = (
        "_attempt_ns",
        "_backoff",
        "_connection",
        "_due_back_ns",
        "_is_dropped",
        "_is_leaving",
        "_retry",
        "check",
        "crowd",
        "due_ns",
        "heard_ns",
        "is_stale",
        "name",
        "number",
        "subprotocol",
        "target",
    )

    def __init__(self, crowd: Crowd, number: int, subprotocol: str | None) -> None:
        self.crowd = crowd
        self.number = number
        self.name = f"client-{number}"
        self.subprotocol = subprotocol
        self.check: StreamCheck | None = None
        self._backoff = Backoff()
        self._connection: Connection | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._attempt_ns = 0
        self._is_leaving = False
        self._is_dropped = False
        self._due_back_ns = 0
        self.due_ns = 0
        self.heard_ns = 0
        self.is_stale = False
        self.target = crowd.targets[0]

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection now."""
        return self._connection is not None

    def connect(self) -> None:
        """Begin an attempt; clients, and attempts, take turns at the targets."""
        self._retry = None
        self._attempt_ns = time.monotonic_ns()
        targets = self.crowd.targets
        self.target = targets[(self.number + self._backoff.turns) % len(targets)]
        self.connector.connect(self.target, self, self.subprotocol)

    @property
    def connector(self) -> Connector:
        """The client library that it connects with."""
        return self.crowd.connector

    def leave(self) -> None:
        """Go, for good."""
        self._is_leaving = True
        self.stop_sending()
        self.close()

    def drop(self) -> None:
        """Lose the connection without a word, where there is one, and stay away until `come_back`."""
        if self._connection is not None and not self._is_leaving:
            self._is_dropped = True
            self._connection.abort()

    def come_back(self, due_ns: int) -> None:
        """Connect again after a `drop`, as was due at `due_ns`."""
        if not self._is_dropped or self.crowd.stopping:
            return
        if self._connection is not None:  # its end is on its way to us
            self._due_back_ns = due_ns
            return
        self._is_dropped = False
        self.due_ns = due_ns
        self.connect()

    def ask_for_stamps(self) -> bool:
        """Ask the server for its stamps; return whether it was asked."""
        return False

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
        recorder, now_ns = self.crowd.recorder, time.monotonic_ns()
        self.heard_ns, self.is_stale = now_ns, False
        recorder.opened()
        recorder.connect.record((now_ns - self._attempt_ns) // 1000)
        if self.due_ns:
            recorder.connect_response.record((now_ns - self.due_ns) // 1000)
            self.due_ns = 0
        if self._is_leaving:
            connection.close()

    def on_text(self, text: str, received_ns: int, doubt_ns: int) -> None:
        """See `client.Listener`."""
        raise NotImplementedError

    def on_close(self, closed: Closed) -> None:
        """See `client.Listener`."""
        self._connection = None
        self.crowd.book.disconnect(self.number)
        self.crowd.recorder.closed()
        if self.crowd.stopping or self._is_leaving:
            return
        if self._is_dropped:
            if self._due_back_ns:
                due_ns, self._due_back_ns = self._due_back_ns, 0
                self.come_back(due_ns)
            return
        self._count_close(closed)
        _log.info("event=closed client=%s code=%s reason=%r", self.name, closed.code, closed.reason)
        self._try_again()

    def _count_close(self, closed: Closed) -> None:
        """The server, or the network, ended the connection."""
        self.crowd.recorder.errors[f"closed {closed.code}"] += 1

    def on_failed(self, kind: str, reason: str) -> None:
        """See `client.Listener`."""
        crowd = self.crowd
        crowd.recorder.errors[f"connect {kind}"] += 1
        # Bounded by the kinds of failure that exist, not by what servers answer.
        if reason in crowd.failures or len(crowd.failures) < 20:
            crowd.failures[reason] = crowd.failures.get(reason, 0) + 1
        _log.info("event=connect-failed client=%s kind=%r reason=%r", self.name, kind, reason)
        if not crowd.stopping and not self._is_leaving:
            self._try_again()

    def _try_again(self) -> None:
        delay_s = self._backoff.next_delay_s(self.crowd.random)
        if delay_s is None:
            self.crowd.recorder.given_up += 1
            _log.info("event=given-up client=%s", self.name)
            return
        self._retry = self.crowd.loop.call_later(delay_s, self.connect)
