"""The journal that is none: without `--data-dir` updates are kept in memory, and a restart is another epoch.

`app` makes it. It is a `publisher.log.Journal` whose entries are kept, and published, at once.
"""

from collections import OrderedDict

from execgate.wire.history import MemoryLog
from execgate.wire.newest import Newest
from execgate.wire.update import Update, fitting
from publisher.log import MAX_READ, Entry, Range, Retention

MAX_BATCH_IDS = 100_000
"""Batch ids that are remembered, about 300 bytes each; the oldest is forgotten first."""


class MemoryJournal:
    """One epoch in memory."""

    trouble: str | None = None

    def __init__(self, epoch: int, retention: Retention) -> None:
        self.epoch = epoch
        self._history = MemoryLog(retention.max_updates, retention.max_bytes)
        self._max_age_us = None if retention.max_age_s is None else int(retention.max_age_s * 1e6)
        self._newest: Newest[Update] = Newest(retention.max_keys)
        self._batches: OrderedDict[bytes, Range] = OrderedDict()

    @property
    def floor(self) -> int:
        """The oldest seq that is held."""
        return self._history.floor

    @property
    def ceiling(self) -> int:
        """The last seq."""
        return self._history.ceiling

    def append(self, entry: Entry) -> None:
        """Keep an entry and have it published."""
        for update in entry.updates:
            self._history.append(update)
            if update.key:
                self._newest.put((update.topic, update.key), update, len(update.payload))
        last = entry.updates[-1]
        if self._max_age_us is not None:
            self._history.drop_before(last.ts_us - self._max_age_us)
        if entry.batch_id:
            self._batches[entry.batch_id] = Range(self.epoch, entry.updates[0].seq, last.seq)
            if len(self._batches) > MAX_BATCH_IDS:
                self._batches.popitem(last=False)
        entry.published(entry)

    async def room(self) -> None:
        """There always is."""

    async def flush(self, timeout_s: float) -> bool:  # noqa: ARG002  # the journal's other kind waits
        """Nothing ever waits."""
        return True

    def read(self, first: int, last: int, max_bytes: int) -> list[Update]:
        """Return updates from `first` on, bounded; see `publisher.log.Log.read`."""
        if first < self.floor:
            return []
        return fitting(self._history.read(first, min(last, first + MAX_READ - 1)), max_bytes)

    def newest(self) -> list[Update]:
        """Return the newest update of each topic and key, in order of seq."""
        return list(self._newest.values())

    def known(self, batch_id: bytes) -> Range | None:
        """Return where a batch is kept that came before."""
        return self._batches.get(batch_id)

    def close(self) -> None:
        """Nothing is open."""
