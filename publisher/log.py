"""The log: what keeps updates, in memory or in a journal on disk. Two sides of one thing.

`Log` is for readers on the loop: replay, snapshots, acknowledged ingest. `Journal` adds the writing side, which
the road alone uses: it appends what is stamped, and is told, in the same order, what is kept and may be published.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from execgate.wire.update import Update
from publisher.core.history import History

MAX_READ = 512
"""Updates that one `read` returns at most: it holds the loop for a millisecond or so, not longer."""


class Range(NamedTuple):
    """Updates `first` to `last`, inclusive, of one epoch."""

    epoch: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept, and no longer; the newest update is kept in any case.

    Attributes:
        max_updates: in number.
        max_bytes: of payload in memory, of pages in use in a journal (`publisher.journal.tidying`).
        max_age_s: by their `ts_us`; None is no bound.
        max_keys: topics and keys of which the newest update is kept beyond all this.
    """

    max_updates: int
    max_bytes: int
    max_age_s: float | None
    max_keys: int


class Log(History, Protocol):
    """What is published and can be read again, and what became of batches."""

    def known(self, batch_id: bytes) -> Range | None:
        """Return where a batch is kept that came before; None for one that is not known (any more), or not yet."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why nothing can be kept at the moment (a full disk); None while all is well."""
        ...


class Entry(NamedTuple):
    """One stamped batch on its way into the journal.

    Attributes:
        updates: consecutive; at least one.
        size: bytes of their payloads.
        batch_id: the producer's, kept in the same transaction; empty where it has none.
        published: called on the loop when the entry is kept; the road sends it on then.
    """

    updates: Sequence[Update]
    size: int
    batch_id: bytes
    published: Callable[["Entry"], None]


class Journal(Log, Protocol):
    """The writing side; the road's."""

    def append(self, entry: Entry) -> None:
        """Take the next entry. `entry.published` is called once it is kept, in order; never if that fails."""
        ...

    async def room(self) -> None:
        """Return once there is room for another entry: the bound on what waits, and the brake of the sources."""
        ...

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all that was appended is kept; return False where that took too long."""
        ...

    def close(self) -> None:
        """Let go of files and threads; what is not kept by now is not kept."""
        ...
