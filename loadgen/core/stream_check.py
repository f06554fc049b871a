"""PURE: was this client's stream whole? Counts what one subscriber of everything did not get, or got twice.

Called by `subscriber.py` for each message that carries a position; never does I/O. Rules, which a property
test holds against a naive model that keeps whole sets:

- the stream begins at the position that `subscribed` names, else at the first update; one that was resumed goes on
  where it stood, so what lies between is a hole, or told;
- an update beyond the next expected one opens a hole; a heartbeat beyond the position shows a lost tail;
- an update that was missing and comes late fills its hole and is a reorder: what came is not missing;
- any other update at or before the position is a duplicate;
- a hole, or the part of it, that a `gap` event names is told: the server owned up to it;
- a new epoch begins at 1, so what lies before its first update is a hole.

Memory is bounded: only the newest `MAX_RANGES` holes can still be filled or told, older ones stay counted.
"""

MAX_RANGES = 64


class _Hole:
    """Seqs `first` to `last`, inclusive, that did not come."""

    __slots__ = ("first", "last", "told")

    def __init__(self, first: int, last: int, told: bool) -> None:
        self.first = first
        self.last = last
        self.told = told


class StreamCheck:
    """The stream of one client over its whole life, whatever number of connections it took.

    Attributes:
        epoch: of the last position, None before the first.
        seq: the position: everything up to and including it has passed.
        gaps: runs of missing updates that the server did not tell; `missing` the updates in them.
        told_gaps: `gap` events received; `told_missing` the missing updates that they name.
        duplicates: updates received again.
        reorders: updates received after a later one.
        epoch_changes: how often the numbering began anew.
    """

    __slots__ = (
        "_holes",
        "_told",
        "duplicates",
        "epoch",
        "epoch_changes",
        "gaps",
        "missing",
        "reorders",
        "seq",
        "told_gaps",
        "told_missing",
    )

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.seq = 0
        self.gaps = 0
        self.missing = 0
        self.told_gaps = 0
        self.told_missing = 0
        self.duplicates = 0
        self.reorders = 0
        self.epoch_changes = 0
        # None until something goes wrong: most clients never need them.
        self._holes: list[_Hole] | None = None
        self._told: list[tuple[int, int]] | None = None

    @property
    def contiguous(self) -> bool:
        """Whether every update came once and in order, apart from gaps that were told."""
        return not (self.gaps or self.duplicates or self.reorders)

    def begin(self, epoch: str, seq: int) -> None:
        """A subscription begins after `seq`: what came before it is owed to nobody."""
        if self.epoch not in (None, epoch):
            self.epoch_changes += 1
        self.epoch = epoch
        self.seq = seq
        self._holes = self._told = None

    @property
    def resume_point(self) -> tuple[str, int] | None:
        """The position to resume from: behind what was told as lost, too. None before the first."""
        if self.epoch is None:
            return None
        return self.epoch, max([self.seq, *(last for _, last in self._told or ())])

    def resume(self, epoch: str, seq: int, gap: tuple[int, int | None] | None) -> None:
        """A subscription that named `resume_point` goes on after `seq`.

        Args:
            epoch: of what comes.
            seq: see `epoch`.
            gap: what the server said will not come, inclusive; its end is None where nobody knows.
        """
        same_epoch = epoch == self.epoch
        self.change_epoch(epoch)
        if gap is not None:
            first, last = gap
            if same_epoch:
                self.tell(first, seq if last is None else last)
            else:  # of an epoch that is over, and of this one what comes before `seq`
                self.tell(1, seq)
        self.pass_to(epoch, seq)

    def observe(self, epoch: str, seq: int) -> None:
        """Take update `seq` of `epoch` into account."""
        if epoch == self.epoch and seq == self.seq + 1:  # the usual case
            self.seq = seq
            return
        if self.epoch is None:
            self.begin(epoch, seq)
            return
        self.change_epoch(epoch)
        if seq > self.seq:
            self._move(seq, arrived=True)
        elif not self._fill(seq):
            self.duplicates += 1

    def pass_to(self, epoch: str, seq: int) -> None:
        """Take a heartbeat into account: the stream has passed `seq`, with or without an update."""
        if self.epoch is None:
            self.begin(epoch, seq)
            return
        self.change_epoch(epoch)
        if seq > self.seq:
            self._move(seq, arrived=False)

    def change_epoch(self, epoch: str) -> None:
        """Begin the numbering of `epoch`, unless it is the present one."""
        if epoch == self.epoch:
            return
        self.epoch_changes += self.epoch is not None
        self.epoch = epoch
        self.seq = 0
        self._holes = self._told = None

    def tell(self, first: int, last: int) -> None:
        """Take a `gap` event into account: `first` to `last` are lost, or will come late."""
        self.told_gaps += 1
        if last > self.seq:
            self._told = [*(self._told or ()), (first, last)][-MAX_RANGES:]
        if self._holes:
            holes: list[_Hole] = []
            for hole in self._holes:
                if hole.told or hole.last < first or hole.first > last:
                    holes.append(hole)
                    continue
                self._uncount(hole)
                for part in _split(hole, first, last):
                    self._count(part)
                    holes.append(part)
            self._holes = holes[-MAX_RANGES:]

    def _move(self, seq: int, *, arrived: bool) -> None:
        """Move the position to `seq`; what lies between is a hole, in told and untold parts."""
        last_missing = seq - 1 if arrived else seq
        if last_missing > self.seq:
            parts = [_Hole(self.seq + 1, last_missing, told=False)]
            for first, last in self._told or ():
                parts = [piece for part in parts for piece in ([part] if part.told else _split(part, first, last))]
            for part in parts:
                self._open(part)
        self.seq = seq
        if self._told:
            self._told = [told for told in self._told if told[1] > seq] or None

    def _open(self, hole: _Hole) -> None:
        if self._holes is None:
            self._holes = []
        before = self._holes[-1] if self._holes else None
        if before is not None and before.last + 1 == hole.first and before.told == hole.told:
            self._uncount(before)  # two heartbeats in a row that showed a loss: one run
            before.last = hole.last
            self._count(before)
            return
        self._holes.append(hole)
        self._count(hole)
        del self._holes[:-MAX_RANGES]

    def _fill(self, seq: int) -> bool:
        """Take a late update out of its hole; return False where it was not missing."""
        holes = self._holes or []
        for index in range(len(holes) - 1, -1, -1):
            hole = holes[index]
            if hole.first <= seq <= hole.last:
                self._uncount(hole)
                rest = [
                    part
                    for part in (
                        _Hole(hole.first, seq - 1, hole.told),
                        _Hole(seq + 1, hole.last, hole.told),
                    )
                    if part.first <= part.last
                ]
                for part in rest:
                    self._count(part)
                holes[index : index + 1] = rest
                self.reorders += 1
                return True
        return False

    def _count(self, hole: _Hole, sign: int = 1) -> None:
        size = sign * (hole.last - hole.first + 1)
        if hole.told:
            self.told_missing += size
        else:
            self.gaps += sign
            self.missing += size

    def _uncount(self, hole: _Hole) -> None:
        self._count(hole, -1)


def _split(hole: _Hole, first: int, last: int) -> list[_Hole]:
    """Return `hole` in up to three parts: before, within (told) and after `first` to `last`."""
    parts = [
        _Hole(hole.first, min(hole.last, first - 1), told=False),
        _Hole(max(hole.first, first), min(hole.last, last), told=True),
        _Hole(max(hole.first, last + 1), hole.last, told=False),
    ]
    if last < first:
        return [hole]
    return [part for part in parts if part.first <= part.last]
