"""The road: the one way of a batch to the gateways. Begin to read here.

    batch of a source -> sequencer stamps it -> log keeps it -> feed sends it

`app` calls `publish` for each batch of each source, and `beat` for heartbeats and the BYE. Nothing is sent that
the log has not taken: the journal of a later issue takes the log's place.
"""

import time
from collections import Counter
from typing import Protocol

from execgate.wire.errors import RowError
from execgate.wire.update import Kind, Update
from publisher.core.sequencer import Sequencer
from publisher.refusals import Refusals
from publisher.sources.base import Batch, Source


class Log(Protocol):
    """What keeps updates: in memory today (`execgate.wire.history.MemoryLog`)."""

    ceiling: int
    """The last seq that was appended, 0 before the first."""

    def append(self, update: Update) -> None:
        """Keep the next update."""
        ...


class Sender(Protocol):
    """What carries updates off: `publisher.feed.Feed`."""

    def send(self, update: Update) -> None:
        """Queue an update for all; never blocks."""
        ...

    def take_subscriptions(self) -> None:
        """See who has come."""
        ...


class Road:
    """Sequencer, log and feed in their order, and the counts of what went by.

    Args:
        max_updates: after exactly so many `finished` is true, and nothing more is published; None is no limit.

    Attributes:
        updates: published, by source name; `rows` the same.
    """

    def __init__(
        self, sequencer: Sequencer, log: Log, feed: Sender, refusals: Refusals, max_updates: int | None
    ) -> None:
        self.updates: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self._sequencer = sequencer
        self._log = log
        self._feed = feed
        self._refusals = refusals
        self._max_updates = max_updates

    @property
    def finished(self) -> bool:
        """Whether as many updates as were asked for are published."""
        return self._max_updates is not None and self._log.ceiling >= self._max_updates

    def publish(self, source: Source, batch: Batch) -> None:
        """Stamp, keep and send one batch; a batch that can't be stamped is refused whole."""
        limit = None if self._max_updates is None else self._max_updates - self._log.ceiling
        rows_before = self._sequencer.rows
        try:
            updates = self._sequencer.stamp(batch.rows, time.time_ns() // 1000, limit)
        except RowError as error:
            self._refusals.refuse(source, batch.number, error)
            return
        for update in updates:
            self._log.append(update)
            self._feed.send(update)
        self._feed.take_subscriptions()
        self.updates[source.name] += len(updates)
        self.rows[source.name] += self._sequencer.rows - rows_before

    def beat(self, kind: Kind = Kind.HEARTBEAT) -> None:
        """Send a heartbeat, or the BYE: the epoch and the last seq that was published."""
        ts_us = time.time_ns() // 1000
        self._feed.send(Update(kind, b"", self._sequencer.epoch, self._log.ceiling, 0, ts_us, b"", b""))
        self._feed.take_subscriptions()
