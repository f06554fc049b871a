"""The ring: the last updates that this gateway has passed on, bounded in bytes, of one epoch and without a hole.

What is in it needs no question to the publisher. Where something was lost or another epoch began it is begun anew,
so that a read never skips over a hole.
"""

from typing import cast

from execgate.wire.update import Update

_TRIM_AFTER = 4_096


class Ring:
    """Updates `floor` to `ceiling` of `epoch`, inclusive; empty while floor is greater than ceiling.

    Args:
        max_bytes: of payloads; the newest update is held whatever its size.
    """

    __slots__ = ("_bytes", "_max_bytes", "_start", "_updates", "ceiling", "epoch")

    def __init__(self, max_bytes: int) -> None:
        self.epoch: int | None = None
        self.ceiling = 0
        self._max_bytes = max_bytes
        self._bytes = 0
        self._updates: list[Update | None] = []  # None before `_start`: let go of, the place not yet
        self._start = 0

    @property
    def floor(self) -> int:
        """The oldest seq that is held."""
        return self.ceiling - len(self._updates) + self._start + 1

    def restart(self, epoch: int, position: int) -> None:
        """Let go of everything: the next update is the one behind `position` of `epoch`."""
        self._updates, self._start, self._bytes = [], 0, 0
        self.epoch, self.ceiling = epoch, position

    def append(self, update: Update) -> None:
        """Hold `update`, the next one, and let go of the oldest beyond the bound.

        Raises:
            ValueError: it is not the next one: a bug of the caller.
        """
        if update.seq != self.ceiling + 1 or update.epoch != self.epoch:
            raise ValueError(f"seq {update.seq} of {update.epoch:x} after {self.ceiling} of {self.epoch or 0:x}")
        self.ceiling = update.seq
        updates = self._updates
        updates.append(update)
        self._bytes += len(update.payload)
        if self._bytes > self._max_bytes:
            self._let_go()

    def read(self, first: int, last: int) -> list[Update]:
        """Return updates `first` to `last`, inclusive, as far as they are held."""
        offset = len(self._updates) - self.ceiling - 1
        start = max(first + offset, self._start)
        return cast("list[Update]", self._updates[start : max(start, last + offset + 1)])

    def _let_go(self) -> None:
        updates, start = self._updates, self._start
        while self._bytes > self._max_bytes and start < len(updates) - 1:
            oldest = updates[start]
            assert oldest is not None  # behind _start
            self._bytes -= len(oldest.payload)
            updates[start] = None
            start += 1
        if start > _TRIM_AFTER and 2 * start > len(updates):
            del updates[:start]
            start = 0
        self._start = start
