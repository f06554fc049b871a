"""A subscriber of one of a scenario's groups: reads slowly or not at all, drops its connection, takes some topics.

Made by `run.py`. What it does to the server is real: who reads slowly leaves its own socket unread, with a small
buffer, so that the server's fills; who drops its connection is gone without a word.
"""

import asyncio
import time
from typing import Any

from execgate.wire import events
from loadgen.client import Closed, Connection, Connector
from loadgen.core.fairness import Fairness
from loadgen.core.plan import CONFLATE, RECONNECTING, SLOW, STUCK, VOLATILE, Group
from loadgen.core.sparse_check import SparseCheck
from loadgen.core.tally import Tally
from loadgen.core.update import Update
from loadgen.crowd import Crowd
from loadgen.subscriber import Subscriber

RECEIVE_BUFFER_BYTES = 16 * 1024
"""Of the kernel, for who reads slowly or not at all; it takes twice as much. Else megabytes would wait there."""
_LEAST_PAUSE_S = 0.001


class GroupSubscriber(Subscriber):
    """One of a group.

    Args:
        crowd, number: see `Subscriber`.
        group: what it does.
        tally: of the group.
        connector: with which it connects: one with small buffers where it is not to read freely.
        fairness: of all whose latencies are quoted; None, and it is not looked at.

    Attributes:
        late_ns, heard: how late it was behind the first in all, over so many updates.
    """

    __slots__ = (
        "_connector",
        "_due_bytes",
        "_fairness",
        "_group",
        "_is_ending",
        "_paused_s",
        "_sparse",
        "_tally",
        "_timer",
        "heard",
        "is_quoted",
        "late_ns",
        "reads_freely",
        "tally",
    )

    def __init__(
        self,
        crowd: Crowd,
        number: int,
        group: Group,
        tally: Tally,
        connector: Connector,
        fairness: Fairness | None = None,
    ) -> None:
        super().__init__(crowd, number)
        self._group = group
        self._tally = self.tally = tally
        self._connector = connector
        self.is_quoted = group.is_quoted
        self.reads_freely = group.reads_freely
        self._fairness = fairness if group.is_quoted else None
        self._sparse: SparseCheck | None = None
        if not group.is_classic:
            self.subprotocol = events.SUBPROTOCOL
            self._sparse = SparseCheck(is_whole=not group.topics, conflates=group.mode == CONFLATE)
            self._check = self.check = self._sparse
            if self._recording is not None:
                self._recording.describe(group.mode, group.topics)
        self._due_bytes = 0.0  # read, and not yet allowed
        self._paused_s = 0.0
        self._is_ending = False
        self._timer: asyncio.TimerHandle | None = None
        self.late_ns = self.heard = 0

    @property
    def connector(self) -> Connector:
        """See `Member`."""
        return self._connector

    def on_open(self, connection: Connection) -> None:
        """See `client.Listener`."""
        super().on_open(connection)
        self._tally.opened()
        if self._fairness is not None:
            self._fairness.expected += 1
        self._is_ending = False
        self._due_bytes = 0.0
        if self._group.behaviour == RECONNECTING and self._group.reconnect_every_s:
            delay_s = self._group.reconnect_every_s * self.crowd.random.uniform(0.5, 1.5)
            self._timer = self.crowd.loop.call_later(delay_s, self._reconnect)

    def on_close(self, closed: Closed) -> None:
        """See `client.Listener`."""
        self._cancel()
        if self.crowd.stopping and not self._is_ending:
            self._count_close(closed)
        self._tally.lost()
        if self._fairness is not None:
            self._fairness.expected -= 1
        super().on_close(closed)

    def on_text(self, text: str, received_ns: int, doubt_ns: int) -> None:
        """See `client.Listener`."""
        super().on_text(text, received_ns, doubt_ns)
        if self._group.behaviour == SLOW and not self.crowd.is_calm and not self._is_ending:
            self._due_bytes += len(text)
            if self._timer is None:
                self._pause()

    def stop_sending(self) -> None:
        """See `Member`; who is stuck reads on, and hears at last whether the server has let go of it."""
        super().stop_sending()
        if self._group.behaviour == RECONNECTING:
            self._cancel()
        elif self._group.behaviour == STUCK and self._connection is not None:
            self._connection.pause(False)

    def close(self) -> None:
        """See `Member`."""
        self._cancel()
        self._is_ending = True
        super().close()

    @property
    def may_be_closed(self) -> bool:
        """Whether only reading on can tell."""
        return self._group.behaviour == STUCK and self.is_connected

    def _count_close(self, closed: Closed) -> None:
        self._tally.closed[str(closed.code)] += 1
        if self.reads_freely:
            super()._count_close(closed)

    def _reconnect(self) -> None:
        self._timer = None
        self._tally.returns += 1
        self.drop()
        self.come_back(time.monotonic_ns())

    def _get_stuck(self) -> None:
        if self._connection is not None and not self.crowd.stopping:
            self._connection.pause(True)

    def _pause(self) -> None:
        """Read nothing until what was read is allowed."""
        if self._connection is None or self._group.read_bytes_per_s is None:
            return
        self._paused_s = self.crowd.loop.time()
        self._connection.pause(True)
        delay_s = max(_LEAST_PAUSE_S, self._due_bytes / self._group.read_bytes_per_s)
        self._timer = self.crowd.loop.call_later(delay_s, self._read_on)

    def _read_on(self) -> None:
        self._timer = None
        if self._connection is None or self._group.read_bytes_per_s is None:
            return
        now_s = self.crowd.loop.time()
        self._due_bytes -= (now_s - self._paused_s) * self._group.read_bytes_per_s
        if self._due_bytes > 0:  # more came of what had been read already
            self._pause()
            return
        self._due_bytes = 0.0
        self._connection.pause(False)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wanted(self, since: dict[str, Any] | None) -> dict[str, Any] | None:
        if self._sparse is None:
            return super()._wanted(since)
        wanted: dict[str, Any] = {"mode": self._group.mode}
        if self._group.topics:
            wanted["topics"] = list(self._group.topics)
        return wanted if since is None else {**wanted, "since": since}

    def _take_subscribed(self, data: dict[str, Any]) -> None:
        super()._take_subscribed(data)
        if self._group.behaviour == STUCK and not self.crowd.is_calm:
            self._get_stuck()

    def _take_update(
        self, text: str, update: Update, received_ns: int, doubt_ns: int, data: dict[str, Any] | None = None
    ) -> None:
        super()._take_update(text, update, received_ns, doubt_ns, data)
        if self._group.behaviour == STUCK and not self.crowd.is_calm:  # the calm is over
            self._get_stuck()
        if self._fairness is not None:
            late_ns = self._fairness.heard(update.epoch, update.seq, received_ns)
            if late_ns is not None:
                self.late_ns += late_ns
                self.heard += 1

    def _observe(self, update: Update) -> None:
        if self._sparse is None:
            super()._observe(update)
        else:
            self._sparse.take(update.epoch, update.seq, update.topic, update.tseq)

    def _record(self, latency_us: int, data_bytes: int, doubt_us: int) -> None:
        self.crowd.recorder.update(latency_us if self.is_quoted else None, data_bytes, doubt_us)
        self._tally.update(latency_us, data_bytes)

    def _beat(self, epoch: str, seq: int, data: dict[str, Any]) -> None:
        if self._sparse is None:
            super()._beat(epoch, seq, data)
        else:
            self._sparse.beat(epoch, seq, int(data["conflated"]))

    def _miss(self, data: dict[str, Any]) -> None:
        if self._sparse is None:
            super()._miss(data)
            return
        count = None if data["count"] is None else int(data["count"])
        self._sparse.miss(count, is_allowed=self._group.mode == VOLATILE and data["why"] == "slow")
