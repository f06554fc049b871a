"""Snapshots: the newest update of each key, made once for all who ask together: it costs a walk over all keys.

`gateway.resume` sends them, piece by piece.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from execgate.wire.update import Update
from gateway.core.interest import Interest
from gateway.fanout import Fanout

SHARED_S = 1.0
"""Whoever asks for a snapshot within so long of another gets the same one, and what has come since behind it."""
MAX_SNAPSHOTS = 16
"""Kept for others at once."""


class Snapshot(NamedTuple):
    """The newest update of each topic and key as of `seq`, in order of seq; no two have one `number`."""

    number: int
    epoch: int | None
    seq: int
    taken_s: float
    updates: list[Update]


class Snapshots:
    """Those of a process.

    Args:
        fanout: knows what is newest.
    """

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        self._made: OrderedDict[Interest, Snapshot] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """How many are kept for others."""
        return len(self._made)

    def take(self, interest: Interest) -> Snapshot:
        """Return one as of now, or the one of a moment ago while what came since is in the ring."""
        fanout = self._fanout
        now_s = asyncio.get_running_loop().time()
        snapshot = self._made.get(interest)
        if (
            snapshot is None
            or snapshot.epoch != fanout.epoch_number
            or snapshot.seq + 1 < fanout.ring.floor
            or now_s - snapshot.taken_s > SHARED_S
        ):
            updates = fanout.snapshot(interest)
            snapshot = Snapshot(self._number(), fanout.epoch_number, fanout.seq, now_s, updates)
            self._made[interest] = snapshot
            self._made.move_to_end(interest)
            if len(self._made) > MAX_SNAPSHOTS:
                self._made.popitem(last=False)
        return snapshot

    def rest(self, snapshot: Snapshot, start: int, interest: Interest) -> Snapshot:
        """Return what of `snapshot` from its update `start` on matches; it is shared with nobody."""
        left = [update for update in snapshot.updates[start:] if interest.matches(update.topic)]
        return snapshot._replace(number=self._number(), updates=left)

    def clear(self) -> None:
        """Keep none."""
        self._made.clear()

    def _number(self) -> int:
        self._count += 1
        return self._count
