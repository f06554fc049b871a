"""Chunks: the frames of a piece of the stream in one, made once for all followers that share topics and envelope.

They are read from the ring, what is older from the archive, and a snapshot's from the snapshot. `gateway.resume`
sends them.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

from execgate.wire.update import Update, fitting
from gateway.archive import Archive, Lost
from gateway.fanout import Fanout
from gateway.follower import Follower

PIECE_UPDATES = 64
"""Read at once, aligned, so that many followers share the frames that were made for one."""
PIECE_BYTES = 256 * 1024
"""Of payload at once, or a single update: what may stand in a transport for one follower."""
MAX_BYTES = 16 * 1024 * 1024
"""Of frames that were made for one and may serve another."""
MAX_CHUNKS = 4_096


class Chunk(NamedTuple):
    """The frames of so many `updates` in one; whoever was given it has passed `last`.

    If it `grows`, it has less than a whole piece, since the stream went no further when it was made.
    """

    data: bytes
    updates: int
    last: int
    grows: bool


class Chunks:
    """Those of a process.

    Args:
        fanout: has the ring.
        archive: has what the ring has no more.

    Attributes:
        size: of those that are kept for others, in bytes.
    """

    def __init__(self, fanout: Fanout, archive: Archive) -> None:
        self.size = 0
        self._fanout = fanout
        self._archive = archive
        self._made: OrderedDict[tuple[Any, ...], Chunk] = OrderedDict()

    def __len__(self) -> int:
        """How many are kept for others."""
        return len(self._made)

    def next(self, follower: Follower) -> Chunk | Lost | None:
        """Return the frames that come next, made once for who shares interest and envelope; None: awaited."""
        interest, envelope, snapshot = follower.interest, follower.member.envelope, follower.snapshot
        place = (follower.seq,) if snapshot is None else (snapshot.number, follower.snapshot_at)
        key = (interest, envelope, follower.epoch, place)
        if follower.remaining is None:
            made = self._made.get(key)
            # One that has grown since is made anew: a crowd that shares the part would never catch up.
            if made is not None and not (made.grows and made.last < self._fanout.seq):
                return made
        if snapshot is not None:
            updates = fitting(
                snapshot.updates[follower.snapshot_at : follower.snapshot_at + PIECE_UPDATES], PIECE_BYTES
            )
            last, grows = snapshot.seq, False
        else:
            found = self._read(follower.seq + 1)
            if not isinstance(found, list):
                return found
            updates = fitting(found, PIECE_BYTES)
            last = updates[-1].seq
            grows = last == self._fanout.seq and last % PIECE_UPDATES != 0
            updates = [update for update in updates if interest.matches(update.topic)]
        updates = updates[: follower.remaining]
        chunk = Chunk(b"".join(envelope.frame(update.payload) for update in updates), len(updates), last, grows)
        if follower.remaining is None:
            self._keep(key, chunk)
        return chunk

    def clear(self) -> None:
        """Keep none."""
        self._made.clear()
        self.size = 0

    def _keep(self, key: tuple[Any, ...], chunk: Chunk) -> None:
        earlier = self._made.pop(key, None)
        self.size -= len(earlier.data) if earlier is not None else 0
        self._made[key] = chunk
        self.size += len(chunk.data)
        while self.size > MAX_BYTES or len(self._made) > MAX_CHUNKS:
            self.size -= len(self._made.popitem(last=False)[1].data)

    def _read(self, first: int) -> list[Update] | Lost | None:
        fanout = self._fanout
        last = min(((first - 1) // PIECE_UPDATES + 1) * PIECE_UPDATES, fanout.seq)
        if first >= fanout.ring.floor:
            return fanout.ring.read(first, last)
        found = self._archive.find(first)
        if isinstance(found, list):
            return found[: last - first + 1]
        return found
