"""Resuming: subscribers that are not at the head of the stream yet, each with its own position, until they are.

A follower reads what it lacks from the ring, and what is older from the archive, piece by piece, as its socket
takes it; nothing is buffered for it meanwhile, for what passes live stands in the ring behind its position. When
it has reached the head it joins the hub, between two drains of the feed, so that the seam has neither a hole nor a
double. Its turns are short, and the loop runs between them: whoever is live is served first.

Where a position can't be served, the subscriber is told: `recovered` false with a gap, or a `gap` event.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any

from execgate.wire import events
from execgate.wire.update import Update, epoch_text
from gateway.archive import Archive, Lost
from gateway.core.interest import Interest
from gateway.core.session import Since, Subscribe
from gateway.fanout import Fanout, FeedState
from gateway.history import HistoryClient
from gateway.outbound import NOT_BEGUN, Outbound

PIECE_UPDATES = 64
"""Read at once, aligned, so that many followers share the frames that were made for one."""
TURN_PIECES = 32
"""Written between two turns of the loop."""
AHEAD_S = 3.0
"""How long a position ahead of ours is believed: a gateway may be behind its client, by less than that."""
_CACHED_CHUNKS = 256


class Follower:
    """One subscriber on its way to the head.

    Attributes:
        seq: its position in `epoch`; what is live for it is greater.
        snapshot: newest updates to be sent before what follows `seq`, None once they are.
        answer: the `subscribed` that it waits for, None once it is said.
    """

    __slots__ = (
        "answer",
        "deadline",
        "epoch",
        "gap",
        "interest",
        "is_blocked",
        "member",
        "mode",
        "recovered",
        "remaining",
        "seq",
        "since",
        "snapshot",
        "wants_snapshot",
    )

    def __init__(self, member: Outbound, request: Subscribe) -> None:
        self.member = member
        self.interest = request.interest
        self.mode = request.mode
        self.remaining = request.max_messages
        self.since: Since | None = request.since
        self.wants_snapshot = request.snapshot
        self.snapshot: deque[Update] | None = None
        self.answer: Any = (request.message_id,)
        self.recovered = False
        self.gap: dict[str, Any] | None = None
        self.epoch: int | None = None
        self.seq = 0
        self.deadline: asyncio.TimerHandle | None = None
        self.is_blocked = False


class Step(Enum):
    """What became of a follower's step."""

    DONE = auto()  # another can follow at once
    BLOCKED = auto()  # its socket takes nothing
    AWAITS_PAGE = auto()
    AWAITS_FEED = auto()
    OVER = auto()  # it has joined the hub, or left


class Resumer:
    """All followers of a process.

    Args:
        fanout: where they join in the end.
        history: the publisher's, for what the ring has let go of; None if there is none.
        archive_bytes: see `Archive`.
        is_joined: whether this gateway knows what is newest in the feed.
    """

    def __init__(
        self,
        fanout: Fanout,
        history: HistoryClient | None,
        archive_bytes: int,
        is_joined: Callable[[], bool],
    ) -> None:
        self.archive = Archive(history, fanout.ring, archive_bytes, partial(self._wake, Step.AWAITS_PAGE))
        self._fanout = fanout
        self._is_joined = is_joined
        self._followers: dict[Outbound, Follower] = {}
        self._ready: deque[Follower] = deque()
        self._parked: dict[Step, list[Follower]] = {Step.AWAITS_PAGE: [], Step.AWAITS_FEED: []}
        self._turn: asyncio.Handle | None = None
        self._chunks: OrderedDict[tuple[Any, ...], tuple[bytes, int]] = OrderedDict()
        fanout.on_progress = partial(self._wake, Step.AWAITS_FEED)

    def __len__(self) -> int:
        return len(self._followers)

    def begin(self, member: Outbound, request: Subscribe) -> None:
        """Serve `request` from its `since`, or with a snapshot; `subscribed` is said once it is known how."""
        self.leave(member)
        self._fanout.leave(member)
        follower = self._followers[member] = Follower(member, request)
        member.behind = NOT_BEGUN
        self._ready.append(follower)
        self._schedule()

    def change(self, member: Outbound, interest: Interest) -> bool:
        """Go on with `interest` from where `member` stands; False if it is no follower."""
        follower = self._followers.get(member)
        if follower is None:
            return False
        follower.interest = interest
        if follower.snapshot:
            follower.snapshot = deque(u for u in follower.snapshot if interest.matches(u.topic))
        return True

    def leave(self, member: Outbound) -> None:
        """Forget `member`, if it is a follower."""
        member.behind = None
        follower = self._followers.pop(member, None)
        if follower is not None and follower.deadline is not None:
            follower.deadline.cancel()

    def wake_one(self, member: Outbound) -> None:
        """The socket of `member` takes more."""
        if not self._followers:
            return
        follower = self._followers.get(member)
        if follower is not None and follower.is_blocked:
            follower.is_blocked = False
            self._ready.append(follower)
            self._schedule()

    def _wake(self, awaiting: Step) -> None:
        """The feed has moved, or a page has come."""
        parked = self._parked[awaiting]
        if parked:
            self._parked[awaiting] = []
            self._ready += parked
            self._schedule()

    def _schedule(self) -> None:
        if self._turn is None and self._ready:
            self._turn = asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        for _ in range(min(TURN_PIECES, len(self._ready))):
            follower = self._ready.popleft()
            if self._followers.get(follower.member) is not follower:
                continue  # it has left, or begun anew
            step = self._advance(follower)
            if self._followers.get(follower.member) is not follower:
                continue
            if follower.epoch is not None:
                follower.member.behind = follower.seq
            if step is Step.DONE:
                self._ready.append(follower)
            elif step in self._parked:
                self._parked[step].append(follower)
        self._schedule()

    def _advance(self, follower: Follower) -> Step:
        fanout, member = self._fanout, follower.member
        if not member.is_free:
            follower.is_blocked = True
            return Step.BLOCKED
        if fanout.state is FeedState.JOINING or not self._is_joined():
            return Step.AWAITS_FEED
        if follower.epoch is None and not self._begin_at(follower):
            return Step.AWAITS_FEED
        if follower.epoch != fanout.epoch_number:
            self._change_epoch(follower)
        if follower.snapshot is not None:
            return self._send_snapshot(follower)
        if follower.seq >= fanout.seq:
            return self._arrive(follower)
        updates = self._next(follower.seq + 1)
        if updates is None:
            return Step.AWAITS_PAGE
        if isinstance(updates, Lost):
            self._lose(follower, updates)
        else:
            self._say_subscribed(follower)
            self._send(follower, updates)
        return Step.DONE

    def _begin_at(self, follower: Follower) -> bool:
        """Find the position that the request means; return whether it is known."""
        fanout, since = self._fanout, follower.since
        epoch = fanout.epoch_number
        if since is None:
            follower.epoch, follower.seq = epoch, fanout.seq
        elif since.epoch != epoch:
            # What the other epoch still had is unknown here. All of this one is new to the client.
            follower.epoch, follower.seq = epoch, 0
            follower.gap = {"from": since.seq + 1, "to": None, "why": "epoch", "count": None}
        elif since.seq <= fanout.seq:
            follower.epoch, follower.seq = epoch, since.seq
            follower.recovered = True
        elif follower.deadline is None:
            follower.seq = since.seq
            follower.deadline = asyncio.get_running_loop().call_later(AHEAD_S, self._wake, Step.AWAITS_FEED)
            return False
        elif asyncio.get_running_loop().time() < follower.deadline.when():
            return False
        else:
            follower.epoch, follower.seq = epoch, fanout.seq
            follower.gap = {"from": fanout.seq + 1, "to": since.seq, "why": "future", "count": None}
        if follower.wants_snapshot and not follower.recovered:
            # The newest of each key stands for everything before it.
            follower.seq = fanout.seq
            follower.snapshot = deque(fanout.snapshot(follower.interest))
        return True

    def _change_epoch(self, follower: Follower) -> None:
        """Another epoch has begun: what the old one still had for it can't be had any more, which it is told."""
        fanout, member = self._fanout, follower.member
        self._say_subscribed(follower)
        if follower.epoch is not None:
            member.control(events.encode_event(events.GAP, events.gap(follower.seq + 1, None, None, why="epoch")))
            data = fanout.feed_data("epoch-changed", 0, epoch_text(follower.epoch))
            member.control(events.encode_event(events.FEED, data))
        follower.epoch, follower.seq, follower.snapshot = fanout.epoch_number, 0, None

    def _next(self, first: int) -> list[Update] | Lost | None:
        fanout = self._fanout
        last = min(((first - 1) // PIECE_UPDATES + 1) * PIECE_UPDATES, fanout.seq)
        if first >= fanout.ring.floor:
            return fanout.ring.read(first, last)
        found = self.archive.find(first)
        if isinstance(found, list):
            return found[: last - first + 1]
        return found

    def _lose(self, follower: Follower, lost: Lost) -> None:
        first = follower.seq + 1
        if follower.answer is not None and follower.gap is None:
            follower.recovered = False
            follower.gap = {"from": first, "to": lost.until, "why": lost.why, "count": None}
        elif follower.answer is not None and follower.gap is not None and follower.gap["to"] == first - 1:
            follower.gap["to"] = lost.until  # page after page
        else:
            self._say_subscribed(follower)
            data = events.gap(first, lost.until, None, why=lost.why)
            follower.member.control(events.encode_event(events.GAP, data))
        follower.seq = lost.until

    def _say_subscribed(self, follower: Follower) -> None:
        if follower.answer is None:
            return
        (message_id,) = follower.answer
        follower.answer = None
        data = {
            "topics": sorted(follower.interest.patterns),
            "mode": follower.mode.value,
            "epoch": self._fanout.epoch,
            "seq": follower.seq,
            "recovered": follower.recovered,
            "gap": follower.gap,
        }
        follower.member.control(events.encode_event(events.SUBSCRIBED, data, message_id))

    def _send_snapshot(self, follower: Follower) -> Step:
        self._say_subscribed(follower)
        piece: list[Update] = []
        while follower.snapshot and len(piece) < PIECE_UPDATES:
            piece.append(follower.snapshot.popleft())
        if not follower.snapshot:
            follower.snapshot = None
        if follower.remaining is not None:
            piece = piece[: follower.remaining]
        envelope = follower.member.envelope
        self._write(follower, b"".join(envelope.frame(update.payload) for update in piece), len(piece))
        return Step.DONE

    def _send(self, follower: Follower, updates: list[Update]) -> None:
        last = updates[-1].seq
        if follower.remaining is None:
            chunk, count = self._chunk(follower, updates)
        else:
            matching = [update for update in updates if follower.interest.matches(update.topic)]
            matching = matching[: follower.remaining]
            envelope = follower.member.envelope
            chunk, count = b"".join(envelope.frame(update.payload) for update in matching), len(matching)
        follower.seq = last
        self._write(follower, chunk, count)

    def _chunk(self, follower: Follower, updates: list[Update]) -> tuple[bytes, int]:
        """Return the frames of `updates` that match, made once for all who share interest and envelope."""
        interest, envelope = follower.interest, follower.member.envelope
        key = (interest, envelope, follower.epoch, updates[0].seq, updates[-1].seq)
        made = self._chunks.get(key)
        if made is None:
            frames = [envelope.frame(update.payload) for update in updates if interest.matches(update.topic)]
            made = self._chunks[key] = (b"".join(frames), len(frames))
            if len(self._chunks) > _CACHED_CHUNKS:
                self._chunks.popitem(last=False)
        return made

    def _write(self, follower: Follower, chunk: bytes, count: int) -> None:
        if not count:
            return
        member = follower.member
        member.push(chunk, count)
        if follower.remaining is not None:
            follower.remaining -= count
            if not follower.remaining:
                self.leave(member)
                self._fanout.on_exhausted(member)

    def _arrive(self, follower: Follower) -> Step:
        """At the head: from here on the hub serves it."""
        member = follower.member
        self._say_subscribed(follower)
        self.leave(member)
        if not member.closing:
            self._fanout.join(member, follower.interest, follower.mode, follower.remaining)
            news = self._fanout.standing_news()
            if news:
                member.raw(news)
        return Step.OVER
