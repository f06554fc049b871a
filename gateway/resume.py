"""Resuming: subscribers that are not at the head of the stream yet, each with its own position, until they are.

A follower reads what it lacks from the ring, and what is older from the archive, piece by piece, as its socket
takes it; nothing is buffered for it meanwhile, for what passes live stands in the ring behind its position. When
it has reached the head it joins the hub, between two drains of the feed, so that the seam has neither a hole nor a
double. Its turns are short, and the loop runs between them: whoever is live is served first.

Where a position can't be served, the subscriber is told: `recovered` false with a gap, or a `gap` event.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from functools import partial

from execgate.wire import events
from execgate.wire.update import epoch_text
from gateway.archive import Archive, Lost
from gateway.chunks import Chunk, Chunks
from gateway.core.interest import Interest
from gateway.core.session import Subscribe
from gateway.fanout import Fanout, FeedState
from gateway.follower import Follower
from gateway.history import HistoryClient
from gateway.outbound import NOT_BEGUN, Outbound
from gateway.snapshots import Snapshots

TURN_PIECES = 32
"""Written between two turns of the loop."""
AHEAD_S = 3.0
"""Of a feed that is heard (`Fanout.heard_s`): then a position that stays ahead of ours is one that never was.
While it is silent we may be what is behind: a publisher that died may have reached another gateway and not us."""


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
        on_news = partial(self._wake, Step.AWAITS_PAGE)
        self.archive = Archive(
            history, fanout.ring, archive_bytes, on_news, lambda: fanout.state is not FeedState.STALE
        )
        self._fanout = fanout
        self._is_joined = is_joined
        self._followers: dict[Outbound, Follower] = {}
        self._ready: deque[Follower] = deque()
        # Dicts for their order and their cheap removal; the values mean nothing.
        self._parked: dict[Step, dict[Follower, None]] = {Step.AWAITS_PAGE: {}, Step.AWAITS_FEED: {}}
        self._turn: asyncio.Handle | None = None
        self._chunks = Chunks(fanout, self.archive)
        self._snapshots = Snapshots(fanout)
        fanout.on_progress = partial(self._wake, Step.AWAITS_FEED)

    def __len__(self) -> int:
        return len(self._followers)

    def begin(self, member: Outbound, request: Subscribe) -> None:
        """Serve `request` from its `since`, or with a snapshot; `subscribed` is said once it is known how.

        A request before it that is not answered yet is answered now, with what is known.
        """
        earlier = self._followers.get(member)
        if earlier is not None:
            self._say_subscribed(earlier)
        self.leave(member)
        self._fanout.leave(member)
        follower = self._followers[member] = Follower(member, request, self._fanout.heard_s)
        member.behind = NOT_BEGUN
        self._ready.append(follower)
        self._schedule()
        self._fanout.give_way()

    def renew(self, member: Outbound, request: Subscribe) -> bool:
        """Serve `request`, which names no position, from where `member` stands; False if it is no follower."""
        follower = self._followers.get(member)
        if follower is None:
            return False
        was_answered = follower.answer is None
        self._say_subscribed(follower)
        self.change(member, request.interest)
        follower.remaining = request.max_messages
        follower.answer = (request.message_id,)
        if was_answered:
            follower.recovered, follower.gap = False, None
            self._say_subscribed(follower)
        return True

    def change(self, member: Outbound, interest: Interest) -> bool:
        """Go on with `interest` from where `member` stands; False if it is no follower."""
        follower = self._followers.get(member)
        if follower is None:
            return False
        follower.interest = interest
        if follower.answer is None:
            self._begin_stretch(follower)
        snapshot = follower.snapshot
        if snapshot is not None:
            follower.begin_snapshot(self._snapshots.rest(snapshot, follower.snapshot_at, interest))
        return True

    def leave(self, member: Outbound) -> None:
        """Forget `member`, if it is a follower."""
        member.behind = None
        follower = self._followers.pop(member, None)
        if follower is None:
            return
        member.end_stretch(follower.seq)
        for parked in self._parked.values():
            parked.pop(follower, None)
        if not self._followers:
            self._chunks.clear()
            self._snapshots.clear()

    def unsubscribe(self, member: Outbound) -> None:
        """Its client wants nothing any more: a request that is not answered yet is, with what is known."""
        follower = self._followers.get(member)
        if follower is not None:
            self._say_subscribed(follower)
            self.leave(member)

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
            self._parked[awaiting] = {}
            self._ready += parked
            self._schedule()

    def _schedule(self) -> None:
        if self._turn is None and self._ready:
            self._turn = asyncio.get_running_loop().call_soon(self._take_turn)

    def _is_here(self, follower: Follower) -> bool:
        """False if it has left, or begun anew."""
        return self._followers.get(follower.member) is follower

    def _take_turn(self) -> None:
        self._turn = None
        for _ in range(min(TURN_PIECES, len(self._ready))):
            self._fanout.give_way()
            follower = self._ready.popleft()
            if not self._is_here(follower):
                continue
            step = self._advance(follower)
            if not self._is_here(follower):
                continue
            if follower.epoch is not None:
                # In the middle of a snapshot a position would stand for what has not been sent; before it is said
                # how it is served, for what it has not been told to miss.
                is_told = follower.snapshot is None and follower.answer is None
                follower.member.behind = (epoch_text(follower.epoch), follower.seq) if is_told else NOT_BEGUN
            if step is Step.DONE:
                self._ready.append(follower)
            elif step in self._parked:
                self._parked[step][follower] = None
                self._tell_state(follower)
        self._schedule()

    def _advance(self, follower: Follower) -> Step:
        """Make one step: what may fill the socket is the last thing in it."""
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
            return Step.DONE
        if follower.snapshot is None and follower.seq >= fanout.seq:
            return self._arrive(follower)
        chunk = self._chunks.next(follower)
        if chunk is None:
            return Step.AWAITS_PAGE
        if isinstance(chunk, Lost):
            self._lose(follower, chunk)
        elif follower.answer is not None:
            self._say_subscribed(follower)
        else:
            self._send(follower, chunk)
            # Not a step later: among thousands that would be too late, the head having moved on, for ever.
            if (
                follower.snapshot is None
                and follower.seq >= fanout.seq
                and self._is_here(follower)
                and member.is_free
            ):
                return self._arrive(follower)
        return Step.DONE

    def _begin_at(self, follower: Follower) -> bool:
        """Find the position that the request means; return whether it is known."""
        fanout, since = self._fanout, follower.since
        epoch, head = fanout.epoch_number, fanout.seq
        is_ahead = since is not None and (since.epoch != epoch or since.seq > head)
        if is_ahead and fanout.heard_s - follower.heard_s < AHEAD_S:
            return False  # we may be behind the client, in seqs or in epochs
        follower.epoch = epoch
        if since is None:
            follower.seq = head
        elif since.epoch != epoch:
            # What the other epoch still had is unknown here. All of this one is new to the client.
            follower.seq = 0
            follower.gap = events.missed(since.seq + 1, None, why="epoch")
        elif since.seq <= head:
            follower.seq = since.seq
            follower.recovered = True
        else:
            follower.seq = head
            follower.gap = events.missed(head + 1, since.seq, why="future")
        if follower.wants_snapshot and not follower.recovered:
            follower.begin_snapshot(self._snapshots.take(follower.interest))
        return True

    def _change_epoch(self, follower: Follower) -> None:
        """Another epoch has begun: what the old one still had for it can't be had any more, which it is told."""
        fanout, member = self._fanout, follower.member
        self._say_subscribed(follower)
        member.control(events.encode_event(events.GAP, events.gap(follower.seq + 1, None, None, why="epoch")))
        data = fanout.feed_data("epoch-changed", 0, epoch_text(follower.epoch or 0))
        member.control(events.encode_event(events.FEED, data))
        member.end_stretch(follower.seq)
        follower.epoch, follower.seq, follower.snapshot = fanout.epoch_number, 0, None
        self._begin_stretch(follower)

    def _lose(self, follower: Follower, lost: Lost) -> None:
        first = follower.seq + 1
        if follower.answer is not None and follower.gap is None:
            follower.recovered = False
            follower.seq = lost.until
            if follower.wants_snapshot:
                follower.begin_snapshot(self._snapshots.take(follower.interest))
            follower.gap = events.missed(first, follower.seq, why=lost.why)
        elif follower.answer is not None and follower.gap is not None and follower.gap["to"] == first - 1:
            follower.gap["to"] = follower.seq = lost.until  # loss after loss
        else:
            self._say_subscribed(follower)  # from where it stands: the loss comes behind it
            follower.member.end_stretch(follower.seq)
            follower.seq = lost.until
            self._begin_stretch(follower)
            data = events.gap(first, lost.until, None, why=lost.why)
            follower.member.control(events.encode_event(events.GAP, data))

    def _say_subscribed(self, follower: Follower) -> None:
        if follower.answer is None:
            return
        (message_id,) = follower.answer
        follower.answer = None
        fanout, epoch = self._fanout, follower.epoch
        data = events.subscribed(
            follower.interest.patterns,
            follower.mode.value,
            fanout.epoch if epoch is None else epoch_text(epoch),
            fanout.seq if epoch is None else follower.seq,
            recovered=follower.recovered,
            gap=follower.gap,
        )
        follower.member.control(events.encode_event(events.SUBSCRIBED, data, message_id))
        self._begin_stretch(follower)

    @staticmethod
    def _begin_stretch(follower: Follower) -> None:
        limited = follower.remaining is not None
        follower.member.begin_stretch(follower.interest, follower.epoch, follower.seq, is_limited=limited)

    def _send(self, follower: Follower, chunk: Chunk) -> None:
        follower.seq = chunk.last
        snapshot = follower.snapshot
        if snapshot is not None:
            follower.snapshot_at += chunk.updates
            if follower.snapshot_at >= len(snapshot.updates):
                follower.snapshot = None
        if not chunk.updates:
            return
        member = follower.member
        member.push(chunk.data, chunk.updates, is_snapshot=snapshot is not None)
        if follower.remaining is not None:
            follower.remaining -= chunk.updates
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
            self._tell_state(follower)
        return Step.OVER

    def _tell_state(self, follower: Follower) -> None:
        """Who waits, or arrives, is told what the others were told of the feed; it may want to go elsewhere.

        With the position of its own stream, once that has begun.
        """
        fanout, state = self._fanout, self._fanout.state
        if state is not follower.told and state is not FeedState.JOINING:
            follower.told = state
            data = fanout.feed_data(state.value, fanout.seq)
            if follower.epoch is not None and follower.answer is None:
                data |= {"epoch": epoch_text(follower.epoch), "seq": follower.seq}
            follower.member.raw(events.frame_event(events.FEED, data))
