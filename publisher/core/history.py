"""PURE: the history: what replay and snapshots read of the log, whichever keeps it."""

from typing import Protocol

from execgate.wire.update import Update


class History(Protocol):
    """The updates of one epoch that are published, `floor` to `ceiling`; empty while floor > ceiling.

    All of it is called on the loop. Nothing here waits but for the disk, and then for one short read.
    """

    @property
    def epoch(self) -> int:
        """The epoch of all that is read here; it stays for the life of this process."""
        ...

    @property
    def floor(self) -> int:
        """The oldest seq that can still be read. It may rise at any time, also between two reads."""
        ...

    @property
    def ceiling(self) -> int:
        """The last seq that was kept and handed to the feed, 0 before the first."""
        ...

    def read(self, first: int, last: int, max_bytes: int) -> list[Update]:
        """Return updates from `first` on, in order, at most to `last`, and at most `max_bytes` of payload.

        At least one where `first` is held, whatever its size; no more than `publisher.log.MAX_READ`. Empty where
        it is not held, or can't be read any more; then `floor` has risen above it: look at `floor` again.
        """
        ...

    def newest(self) -> list[Update]:
        """Return the newest update of each topic and key (that is not empty) as of `ceiling`, in order of seq.

        Bounded: see `execgate.wire.newest`.
        """
        ...
