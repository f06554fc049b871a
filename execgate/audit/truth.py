"""PURE: what was published, as the journal has it, and which part of it a client was owed."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from execgate.audit import chain


class Entry(NamedTuple):
    """One update of the journal; `digest` is that of its payload."""

    epoch: str
    seq: int
    topic: str
    key: str
    digest: int


class Owed:
    """The updates of one epoch that one interest matches, in order.

    Attributes:
        seqs: ascending.
        names: topic and key of each, by seq.
    """

    __slots__ = ("_chains", "names", "seqs")

    def __init__(self, entries: list[Entry]) -> None:
        self.seqs = [entry.seq for entry in entries]
        self.names = {entry.seq: (entry.topic, entry.key) for entry in entries}
        self._chains = chain.prefixes(entry.digest for entry in entries)

    def between(self, first: int, last: int) -> list[int]:
        """Return the seqs from `first` to `last`, inclusive."""
        return self.seqs[bisect_left(self.seqs, first) : bisect_right(self.seqs, last)]

    def count(self, first: int, last: int) -> int:
        """Return how many `between` has."""
        return max(bisect_right(self.seqs, last) - bisect_left(self.seqs, first), 0)

    def hash(self, first: int, last: int) -> int:
        """Return the chain of the payloads from `first` to `last`, inclusive."""
        return chain.stretch(self._chains, bisect_left(self.seqs, first), bisect_right(self.seqs, last))


class Truth:
    """A whole journal.

    Args:
        entries: in order of epoch and seq.
        epochs: all that were begun, in order, with those that have no entries; by default those of the entries.

    Attributes:
        heads: the last seq of each epoch that holds something, the epochs in order; and 0 of one that goes on and
            has published nothing yet (retention always leaves the newest update, so it has not let go of any).
        floors: the first one that is held; 1 where the head is 0.
    """

    def __init__(self, entries: Iterable[Entry], epochs: Iterable[str] = ()) -> None:
        self._epochs: dict[str, list[Entry]] = {epoch: [] for epoch in epochs}
        for entry in entries:
            self._epochs.setdefault(entry.epoch, []).append(entry)
        self.heads = {epoch: held[-1].seq for epoch, held in self._epochs.items() if held}
        self.floors = {epoch: held[0].seq for epoch, held in self._epochs.items() if held}
        last = self.last_epoch
        if last is not None and last not in self.heads:
            self.heads[last], self.floors[last] = 0, 1
        self._owed: dict[tuple[str, tuple[str, ...]], Owed] = {}

    @property
    def last_epoch(self) -> str | None:
        """The epoch that goes on, though nothing may have been published in it; None where none was begun."""
        return next(reversed(self._epochs), None)

    def digest(self, epoch: str, seq: int) -> int | None:
        """Return the digest of one update; None where it is not in the journal."""
        held = self._epochs.get(epoch)
        if not held or not held[0].seq <= seq <= held[-1].seq:
            return None
        return held[seq - held[0].seq].digest

    def owed(self, epoch: str, topics: tuple[str, ...]) -> Owed:
        """Return what a subscriber of `topics` is owed of `epoch`: nothing of one that is not there."""
        key = epoch, topics
        found = self._owed.get(key)
        if found is None:
            exact = {topic for topic in topics if not topic.endswith("*")}
            prefixes = tuple(topic[:-1] for topic in topics if topic.endswith("*"))
            entries = [
                entry
                for entry in self._epochs.get(epoch, ())
                if entry.topic in exact or (prefixes and entry.topic.startswith(prefixes))
            ]
            found = self._owed[key] = Owed(entries)
        return found
