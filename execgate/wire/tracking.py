"""Is this message the next one? The tracker that a gateway keeps of the feed and a client of its stream.

Pure: it takes positions and returns verdicts; whoever holds it acts on them. Rules:

- the first message ever seen sets the position; it is no gap, since nobody was owed what came before;
- a later message of the same epoch is NEXT, a GAP, or a DUPLICATE, which must be dropped;
- another epoch begins a new numbering at 1, so what lies before its first message is a gap;
- a heartbeat names the last seq published: a position behind it has lost a tail.
"""

from enum import Enum
from typing import NamedTuple


class Verdict(Enum):
    """What a message means for the stream. DUPLICATE leaves the position, and so does a heartbeat's NEXT."""

    JOINED = "joined"
    NEXT = "next"
    DUPLICATE = "duplicate"
    GAP = "gap"
    NEW_EPOCH = "new-epoch"


class Gap(NamedTuple):
    """Seqs `first` to `last`, inclusive, that were published and did not arrive."""

    first: int
    last: int


class Observation(NamedTuple):
    """A verdict, with the gap that lies before the message, if any (GAP and NEW_EPOCH)."""

    verdict: Verdict
    gap: Gap | None = None


NEXT = Observation(Verdict.NEXT)
"""The usual observation, one object, so that the hot road may ask `is NEXT`."""

_JOINED = Observation(Verdict.JOINED)
_DUPLICATE = Observation(Verdict.DUPLICATE)


class SequenceTracker:
    """The position in one stream: everything up to and including `seq` of `epoch` has passed.

    Attributes:
        epoch: of the last message, None before the first.
        seq: the position.
    """

    __slots__ = ("epoch", "seq")

    def __init__(self) -> None:
        self.epoch: int | None = None
        self.seq = 0

    def observe(self, epoch: int, seq: int) -> Observation:
        """Judge update `seq` of `epoch` and move the position past it."""
        if epoch == self.epoch:
            expected = self.seq + 1
            if seq == expected:
                self.seq = seq
                return NEXT
            if seq < expected:
                return _DUPLICATE
            self.seq = seq
            return Observation(Verdict.GAP, Gap(expected, seq - 1))
        return self._begin(epoch, seq, missed_until=seq - 1)

    def observe_heartbeat(self, epoch: int, seq: int) -> Observation:
        """Judge a heartbeat that says that `seq` was the last update published so far."""
        if epoch == self.epoch:
            if seq <= self.seq:
                return NEXT
            lost = Gap(self.seq + 1, seq)
            self.seq = seq
            return Observation(Verdict.GAP, lost)
        return self._begin(epoch, seq, missed_until=seq)

    def _begin(self, epoch: int, seq: int, missed_until: int) -> Observation:
        joined = self.epoch is None
        self.epoch = epoch
        self.seq = seq
        if joined:
            return _JOINED
        return Observation(Verdict.NEW_EPOCH, Gap(1, missed_until) if missed_until > 0 else None)
