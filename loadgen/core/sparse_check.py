"""PURE: was the stream of a subscriber whole that is owed less than everything, in order?

Called by `group_subscriber.py`, in the place of `stream_check.py`, for subscriptions of some topics and for the
modes that leave out updates by right. What is owed can't be seen in the seqs alone, so by what was asked for:

- everything, `volatile`: what came and what a `gap` told make up every seq, at each update and heartbeat;
- everything, `conflate`: what came, was told, and was merged by the heartbeat's count do, at each heartbeat;
- some topics, `all` or `volatile`: the numbers within a topic (tseq) have no hole that no `gap` told of;
- some topics, `conflate`: only the order is owed.

In all of them seqs rise: one at or before the position is a duplicate. Bounded: `MAX_TOPICS` topics are checked.
"""

from loadgen.core.stream_check import StreamCheck

MAX_TOPICS = 256


class SparseCheck(StreamCheck):
    """The stream of one client over its whole life.

    Attributes:
        dropped: updates that a `gap` told which the mode allows.
        conflated: updates that newer ones stand for, by what the server told.
    """

    __slots__ = (
        "_base",
        "_conflates",
        "_credit",
        "_is_whole",
        "_merged",
        "_received",
        "_tseqs",
        "conflated",
        "dropped",
    )

    def __init__(self, *, is_whole: bool, conflates: bool) -> None:
        super().__init__()
        self.dropped = 0
        self.conflated = 0
        self._is_whole = is_whole
        self._conflates = conflates
        self._tseqs: dict[str, int] = {}
        self._base = 0  # behind it everything is owed
        self._received = 0
        self._merged = 0  # by the last heartbeat of this connection
        self._credit = 0  # told to be missing, and not yet found missing

    def begin(self, epoch: str, seq: int) -> None:
        """See `StreamCheck`."""
        super().begin(epoch, seq)
        self._account(seq)

    def resume(self, epoch: str, seq: int, gap: tuple[int, int | None] | None) -> None:
        """See `StreamCheck`. What this connection's last heartbeat did not count of the merged, nobody knows."""
        is_same = epoch == self.epoch
        self.change_epoch(epoch)
        self._credit = 0  # what was told and lies behind the position is sent after all
        if gap is not None:
            first, last = gap
            self.miss((seq if last is None else last) - first + 1 if is_same and self._is_whole else None)
        if is_same and self._is_whole:
            self._settle(seq - self.seq)
        self.seq = max(self.seq, seq)
        self._account(self.seq)

    def change_epoch(self, epoch: str) -> None:
        """See `StreamCheck`."""
        if epoch != self.epoch:
            super().change_epoch(epoch)
            self._tseqs.clear()
            self._account(0)

    def take(self, epoch: str, seq: int, topic: str, tseq: int) -> None:
        """Take an update into account."""
        if self.epoch is None:
            self.begin(epoch, seq - 1)
        self.change_epoch(epoch)
        if seq <= self.seq:
            self.duplicates += 1
            return
        self.seq = seq
        self._received += 1
        if self._is_whole:
            if not self._conflates:
                self._settle(seq - self._base - self._received - self._merged)
            return
        before = self._tseqs.get(topic)
        if before is not None and tseq > before + 1 and not self._conflates:
            self._settle(tseq - before - 1)
        if before is not None or len(self._tseqs) < MAX_TOPICS:
            self._tseqs[topic] = tseq

    def miss(self, count: int | None, *, is_allowed: bool = False) -> None:
        """Take a `gap` into account, of so many updates; None where nobody knows how many.

        Args:
            count: see above.
            is_allowed: by the mode of the subscription.
        """
        if not is_allowed:
            self.told_gaps += 1
        if count is None:
            self._tseqs.clear()
            return
        self._credit += count
        if is_allowed:
            self.dropped += count
        else:
            self.told_missing += count

    def beat(self, epoch: str, seq: int, conflated: int) -> None:
        """Take a heartbeat into account: the stream has passed `seq`, this connection merged so many."""
        if self.epoch is None:
            self.begin(epoch, seq)
        self.change_epoch(epoch)
        if self._conflates:
            new = conflated - self._merged
            self._merged = conflated
            self.conflated += new
        self.seq = max(self.seq, seq)
        if self._is_whole:
            self._settle(self.seq - self._base - self._received - self._merged)

    def _account(self, base: int) -> None:
        """From `base` on everything that comes is owed."""
        self._base = base
        self._received = self._merged = 0
        self._credit = 0

    def _settle(self, missing: int) -> None:
        """So many did not come: what was told of them is no hole."""
        if missing <= 0:
            return
        told = min(self._credit, missing)
        if self._is_whole:
            self._base += missing  # each is looked at once
        self._credit -= told
        if missing > told:
            self.gaps += 1
            self.missing += missing - told
