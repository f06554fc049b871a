"""The road: the one way of a batch to the gateways. Begin to read here.

    batch of a source -> sequencer stamps it -> journal keeps it -> feed sends it

`app` calls `publish` for each batch of each source, and `beat` for heartbeats and the BYE. Nothing is sent that
the journal has not kept: it keeps groups of batches on a thread of its own and calls back, in order.
"""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

from execgate.wire.errors import RowError
from execgate.wire.update import Kind, Update
from publisher.core.sequencer import Sequencer
from publisher.log import Entry, Journal, Range
from publisher.refusals import Refusals
from publisher.sources.base import Batch, Source


class Sender(Protocol):
    """What carries updates off: `publisher.feed.Feed`."""

    def send(self, update: Update) -> None:
        """Queue an update for all; never blocks."""
        ...

    def take_subscriptions(self) -> None:
        """See who has come."""
        ...


class Road:
    """Sequencer, journal and feed in their order, and the counts of what went by.

    Args:
        max_updates: after exactly so many `finished` is true, and nothing more is taken; None is no limit.

    Attributes:
        accepted: updates that were stamped.
        journaled: of them, those that were kept.
        updates: published, by source name; `rows` and `sizes`, bytes of payload, the same.
    """

    def __init__(
        self, sequencer: Sequencer, journal: Journal, feed: Sender, refusals: Refusals, max_updates: int | None
    ) -> None:
        self.accepted = self.journaled = 0
        self.updates: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self._sequencer = sequencer
        self._journal = journal
        self._feed = feed
        self._refusals = refusals
        self._end = None if max_updates is None else sequencer.seq + max_updates
        # Batches with an id that are stamped and not yet kept, each with whoever wants to know.
        self._under_way: dict[bytes, list[Callable[[Range | RowError], None]]] = {}

    @property
    def finished(self) -> bool:
        """Whether as many updates as were asked for are stamped."""
        return self._end is not None and self._sequencer.seq >= self._end

    async def publish(self, source: Source, batch: Batch) -> None:
        """Stamp one batch and hand it to the journal; a batch that can't be stamped is refused whole.

        It returns when there was room for it, which is the brake of the sources; `batch.settle` tells the rest. A
        batch whose id is known is not taken again, and settled with the range that it has.
        """
        await self._journal.room()
        if batch.batch_id and self._is_known(batch):
            return
        limit = None if self._end is None else self._end - self._sequencer.seq
        rows_before = self._sequencer.rows
        try:
            updates = self._sequencer.stamp(batch.rows, time.time_ns() // 1000, limit)
        except RowError as error:
            self._refusals.refuse(source, batch.number, error)
            if batch.settle is not None:
                batch.settle(error)
            return
        if not updates:  # the limit was reached while there was no room
            return
        rows = self._sequencer.rows - rows_before
        if batch.batch_id:
            self._under_way[batch.batch_id] = [] if batch.settle is None else [batch.settle]
        self.accepted += len(updates)
        size = sum([len(update.payload) for update in updates])
        self._journal.append(
            Entry(updates, size, batch.batch_id, partial(self._send, source.name, rows, batch.settle))
        )

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all that is stamped is published; return False where that took too long."""
        return await self._journal.flush(timeout_s)

    def beat(self, kind: Kind = Kind.HEARTBEAT) -> None:
        """Send a heartbeat, or the BYE: the epoch and the last seq that was published."""
        ts_us = time.time_ns() // 1000
        journal = self._journal
        self._feed.send(Update(kind, b"", journal.epoch, journal.ceiling, 0, ts_us, b"", b""))
        self._feed.take_subscriptions()

    def _is_known(self, batch: Batch) -> bool:
        """Whether a batch came before; then it is, or will be, settled as the first one was."""
        waiting = self._under_way.get(batch.batch_id)
        if waiting is not None:
            if batch.settle is not None:
                waiting.append(batch.settle)
            return True
        known = self._journal.known(batch.batch_id)
        if known is not None and batch.settle is not None:
            batch.settle(known)
        return known is not None

    def _send(
        self, source: str, rows: int, settle: Callable[[Range | RowError], None] | None, entry: Entry
    ) -> None:
        """An entry is kept: publish it."""
        self.journaled += len(entry.updates)
        send = self._feed.send
        for update in entry.updates:
            send(update)
        self._feed.take_subscriptions()
        self.updates[source] += len(entry.updates)
        self.rows[source] += rows
        self.sizes[source] += entry.size
        waiting = self._under_way.pop(entry.batch_id, ()) if entry.batch_id else (settle,)
        first, last = entry.updates[0], entry.updates[-1]
        for tell in waiting:
            if tell is not None:
                tell(Range(first.epoch, first.seq, last.seq))
