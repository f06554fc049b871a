"""History: the last updates of one epoch, bounded in count and bytes.

The publisher's memory and the gateway's ring are one of these. Seqs are contiguous, so a position in it is an
index. What falls off the old end is gone, and `floor` says so.
"""

from typing import cast

from execgate.wire.update import Update

_TRIM_AFTER = 4_096


class MemoryLog:
    """Updates `floor` to `ceiling`, inclusive; empty while `floor` is greater than `ceiling`.

    Args:
        max_updates: how many are kept at most.
        max_bytes: of payloads kept at most; the newest update is kept whatever its size.

    Attributes:
        epoch: of all that is held; None where nobody has said which, and the caller sees to it.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_updates", "_start", "_updates", "ceiling", "epoch")

    def __init__(self, max_updates: int, max_bytes: int) -> None:
        self._max_updates = max_updates
        self._max_bytes = max_bytes
        self._updates: list[Update | None] = []  # None before `_start`: let go of, the place not yet
        self._start = 0
        self._bytes = 0
        self.ceiling = 0
        self.epoch: int | None = None

    @property
    def floor(self) -> int:
        """The oldest seq still held."""
        return self.ceiling - len(self._updates) + self._start + 1

    def restart(self, epoch: int, position: int) -> None:
        """Let go of everything: the next update is the one behind `position` of `epoch`."""
        self._updates, self._start, self._bytes = [], 0, 0
        self.epoch, self.ceiling = epoch, position

    def append(self, update: Update) -> None:
        """Keep `update`, the next of its epoch, and let go of the oldest beyond the bounds.

        Raises:
            ValueError: it is not the next one: a bug of the caller.
        """
        if update.seq != self.ceiling + 1 or self.epoch not in (None, update.epoch):
            of = "" if self.epoch is None else f" of {self.epoch:x}, itself of {update.epoch:x}"
            raise ValueError(f"seq {update.seq} after {self.ceiling}{of}")
        self.ceiling = update.seq
        updates = self._updates
        updates.append(update)
        self._bytes += len(update.payload)
        if self._bytes > self._max_bytes or len(updates) - self._start > self._max_updates:
            self._let_go(0)

    def drop_before(self, ts_us: int) -> None:
        """Let go of the oldest updates that were stamped before `ts_us`; the newest is kept in any case."""
        self._let_go(ts_us)

    def read(self, first: int, last: int) -> list[Update]:
        """Return updates `first` to `last`, inclusive, as far as they are held."""
        offset = len(self._updates) - self.ceiling - 1
        start = max(first + offset, self._start)
        return cast("list[Update]", self._updates[start : max(start, last + offset + 1)])

    def _let_go(self, before_us: int) -> None:
        """Let go of the oldest that are beyond the bounds, or stamped before `before_us`; the newest stays."""
        updates, start = self._updates, self._start
        newest, most = len(updates) - 1, self._max_updates
        while start < newest:
            oldest = cast("Update", updates[start])
            if self._bytes <= self._max_bytes and newest - start < most and oldest.ts_us >= before_us:
                break
            self._bytes -= len(oldest.payload)
            updates[start] = None
            start += 1
        if start > _TRIM_AFTER and 2 * start > len(updates):
            del updates[:start]
            start = 0
        self._start = start
