"""A session's account: which stretches of the stream it was owed, and how many updates matched in each.

Rules:

- a stretch is what one subscription is served without a break: from behind a position up to another, of one epoch
  and for the same topics. Whoever was told of a loss, or of a new epoch, stands behind it, in another stretch;
- the fates of what matched are counted elsewhere (`gateway.outbound`), and so must add up to the same;
- memory is bounded: only the first `MAX_STRETCHES` are listed, of the rest the sum is kept.

Kept only where a ledger is written, see `gateway.ledger`. Called when a subscription begins, ends or breaks, never
for an update.
"""

from dataclasses import dataclass
from typing import Any

from execgate.wire.update import epoch_text
from gateway.core.session import Since

MAX_STRETCHES = 64


@dataclass(slots=True)
class Stretch:
    """All of `topics` in `epoch` behind `after`, up to `until`; `matched` of it concerned the session.

    `is_limited`: it ended with its `max_messages`, wherever that was.
    """

    topics: frozenset[str]
    epoch: int
    after: int
    until: int
    matched: int
    is_limited: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it as it stands in the ledger."""
        return {
            "topics": sorted(self.topics),
            "epoch": epoch_text(self.epoch),
            "after": self.after,
            "until": self.until,
            "matched": self.matched,
            "limited": self.is_limited,
        }


class Account:
    """One session's.

    Attributes:
        since: what its first subscription named.
        snapshot: updates of snapshots: they stand for what is in no stretch.
        stretches: that are over, in order.
        unlisted, unlisted_matched: how many there was no room for, and what matched in them.
        closed_with: the close code, `peer` or `lost`; None while it is open.
    """

    __slots__ = ("_open", "closed_with", "since", "snapshot", "stretches", "unlisted", "unlisted_matched")

    def __init__(self) -> None:
        self.since: Since | None = None
        self.snapshot = 0
        self.stretches: list[Stretch] = []
        self.unlisted = self.unlisted_matched = 0
        self.closed_with: str | None = None
        self._open: Stretch | None = None  # its `matched` is the count at its beginning

    def begin(self, topics: frozenset[str], epoch: int, seq: int, matched: int, *, is_limited: bool) -> None:
        """A stretch begins behind `seq`; one that was open ends there.

        Args:
            topics: see `Stretch`.
            epoch: see `Stretch`.
            seq: the position.
            matched: by the session so far, snapshots included.
            is_limited: see `Stretch`.
        """
        self.end(seq, matched)
        self._open = Stretch(topics, epoch, seq, seq, matched - self.snapshot, is_limited)

    def end(self, seq: int, matched: int) -> None:
        """What is open, if anything is, ends at `seq`."""
        stretch, self._open = self._open, None
        if stretch is None:
            return
        stretch.until, stretch.matched = seq, matched - self.snapshot - stretch.matched
        last = self.stretches[-1] if self.stretches else None
        if last is not None and not self.unlisted and _goes_on(last, stretch):
            last.until = stretch.until
            last.matched += stretch.matched
        elif last is not None and stretch.after == stretch.until and not stretch.matched:
            pass  # nothing was owed; the first one tells where the session began
        elif len(self.stretches) < MAX_STRETCHES:
            self.stretches.append(stretch)
        else:
            self.unlisted += 1
            self.unlisted_matched += stretch.matched


def _goes_on(last: Stretch, stretch: Stretch) -> bool:
    return (last.topics, last.epoch, last.until, last.is_limited) == (
        stretch.topics,
        stretch.epoch,
        stretch.after,
        stretch.is_limited,
    )
