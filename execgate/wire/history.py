"""History: the last updates of one epoch, bounded in count and bytes. The first implementation of the log.

The publisher appends before it publishes and answers ranges from here. Seqs are contiguous, so a position in
the ring is an index. What falls off the old end is gone, and `floor` says so.
"""

from collections import deque
from itertools import islice

from execgate.wire.update import Update


class MemoryLog:
    """Updates `floor` to `ceiling`, inclusive; empty while `floor` is greater than `ceiling`.

    Args:
        max_updates: how many are kept at most.
        max_bytes: of payloads kept at most; the newest update is kept whatever its size.
    """

    def __init__(self, max_updates: int, max_bytes: int) -> None:
        self._max_updates = max_updates
        self._max_bytes = max_bytes
        self._updates: deque[Update] = deque()
        self._bytes = 0
        self.ceiling = 0

    @property
    def floor(self) -> int:
        """The oldest seq still held."""
        return self.ceiling - len(self._updates) + 1

    def append(self, update: Update) -> None:
        """Keep `update`, the next of its epoch, and let go of the oldest beyond the bounds.

        Raises:
            ValueError: its seq is not the next one: a bug of the caller.
        """
        if update.seq != self.ceiling + 1:
            raise ValueError(f"seq {update.seq} after {self.ceiling}")
        self.ceiling = update.seq
        self._updates.append(update)
        self._bytes += len(update.payload)
        while len(self._updates) > 1 and (len(self._updates) > self._max_updates or self._bytes > self._max_bytes):
            self._bytes -= len(self._updates.popleft().payload)

    def drop_before(self, ts_us: int) -> None:
        """Let go of the oldest updates that were stamped before `ts_us`; the newest is kept in any case."""
        while len(self._updates) > 1 and self._updates[0].ts_us < ts_us:
            self._bytes -= len(self._updates.popleft().payload)

    def read(self, first: int, last: int) -> list[Update]:
        """Return updates `first` to `last`, inclusive, as far as they are held."""
        held = len(self._updates)
        start = max(first - self.floor, 0)
        stop = min(last - self.floor + 1, held)
        if start >= stop:
            return []
        # Walked once from the nearer end: each index into a deque walks there anew (100,000 updates from the
        # middle of a million: 720 ms).
        if start < held - stop:
            return list(islice(self._updates, start, stop))
        return list(islice(reversed(self._updates), held - stop, held - start))[::-1]
