"""The fan-out: takes what the feed brings, keeps its position, and writes to every subscriber that it concerns.

Called by `gateway.feed` (an update at a time, then `flush`), and by connections that join and leave. It holds the
tracker and the hub; it never reads a socket.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from operator import attrgetter
from typing import Any

from execgate.wire import events
from execgate.wire.newest import Newest
from execgate.wire.tracking import NEXT, Gap, Observation, SequenceTracker, Verdict
from execgate.wire.update import Kind, Update, epoch_text
from gateway.core.hub import Group, Hub
from gateway.core.interest import Interest
from gateway.core.ring import Ring
from gateway.core.session import Mode
from gateway.counters import Counters
from gateway.delivery import NOT_TRIED
from gateway.outbound import Outbound, tell_all_to_miss, write_to_all

log = logging.getLogger("gateway.fanout")

BEAT_S = 1.0
"""A publisher lets no more pass between two heartbeats, so none stands for a longer time."""


class FeedState(StrEnum):
    """What is known of the feed."""

    JOINING = "joining"  # nothing has come yet: the sequence is not known
    LIVE = "live"
    STALE = "stale"  # silent for too long, or the publisher said goodbye


class Fanout:
    """The feed's position and its subscribers.

    Args:
        counters: of this process.
        on_live: called when the sequence is known for the first time.
        on_exhausted: called with a subscriber that has had its `max_messages`.
        ring_bytes: of the newest updates that are held for whoever resumes.
        snapshot_keys: topics and keys of which the newest update is held, the least recently updated go first.

    Attributes:
        heard_s: for how long the feed was heard at this position: it stands still while the feed is silent, and
            while a hole is open, since a heartbeat is passed on behind what it stands for.
    """

    def __init__(
        self,
        counters: Counters,
        on_live: Callable[[], None],
        on_exhausted: Callable[[Outbound], None],
        ring_bytes: int = 64 * 1024 * 1024,
        snapshot_keys: int = 100_000,
    ) -> None:
        self.state = FeedState.JOINING
        self.ring = Ring(ring_bytes)
        self.is_behind = False  # the feed brings more than can be written
        self.on_progress: Callable[[], None] = lambda: None  # the feed has moved: `gateway.resume` looks
        self.give_way: Callable[[], None] = lambda: None  # set by `gateway.feed`, which says when to call it
        self._newest: Newest[Update] = Newest(snapshot_keys)
        self.hub: Hub[Outbound] = Hub()
        self.subscribers = Counter[str]()  # by mode
        self.heard_s = 0.0
        self._beat_s = 0.0  # when the last heartbeat came
        self._oldest_us = 0  # the stamp of the oldest update that is staged, 0 while none is
        self.lag_us = 0  # from the stamp of the newest update to its arrival here
        self._written = (0, 0.0, 0.0)  # the position that was written last; how long that took; when it was done
        self._tracker = SequenceTracker()
        self._standing: int | None = None  # where subscribers stand while that is not where the tracker does
        self.counters = counters
        self._on_live = on_live
        self.on_exhausted = on_exhausted

    @property
    def epoch_number(self) -> int | None:
        """The feed's epoch, None before the feed is joined."""
        return self._tracker.epoch

    @property
    def epoch(self) -> str | None:
        """The feed's epoch as it stands in JSON, None before the feed is joined."""
        return None if self._tracker.epoch is None else epoch_text(self._tracker.epoch)

    @property
    def seq(self) -> int:
        """The position: every update up to and including it has passed."""
        return self._tracker.seq

    def take(self, update: Update) -> None:
        """Take one message of the feed; subscribers are written to at the next `flush`."""
        tracker = self._tracker
        previous, before = tracker.epoch, tracker.seq
        is_data = update.kind == Kind.DATA
        if is_data:
            observation = tracker.observe(update.epoch, update.seq)
        else:
            observation = tracker.observe_heartbeat(update.epoch, update.seq)
        if observation is not NEXT or self.state is not FeedState.LIVE:
            if observation.verdict is Verdict.DUPLICATE:
                self.counters.upstream["duplicates"] += 1
                return
            # What subscribers have been told of when this step is over; the update itself comes after it.
            self._step(observation, update.seq - is_data, previous, before)
        if is_data:
            self.counters.upstream["updates"] += 1
            self.ring.append(update)
            if update.key:
                self._newest.put((update.topic, update.key), update, len(update.payload))
            self.hub.stage(update.topic, update.seq, update.payload, update.key)
            self.lag_us = time.time_ns() // 1000 - update.ts_us
            if not self._oldest_us:
                self._oldest_us = update.ts_us
        elif update.kind == Kind.BYE:
            self.go_stale("the publisher said goodbye")
        else:
            now_s = time.monotonic()
            self.heard_s += min(now_s - self._beat_s, BEAT_S)
            self._beat_s = now_s

    def flush(self) -> None:
        """Write what is staged: once a subscriber, whatever piled up."""
        touched = self.hub.take_touched()
        if touched:
            began_s = time.perf_counter()
            self._write(touched)
            # Once for all that the flush wrote: a figure for each delivery would cost more than a delivery may.
            took_s, done_s = time.perf_counter() - began_s, time.time()
            self._written = (self.seq, took_s, done_s)
            self.counters.flush_s.observe(took_s)
            self.counters.age_s.observe(done_s - self._oldest_us / 1e6)
        self._oldest_us = 0
        self.on_progress()

    def stamps(self) -> dict[str, Any] | None:
        """Return when the newest update passed each station of this gateway, in wall-clock microseconds.

        None where it was written to nobody, or is not known any more.
        """
        seq, took_s, done_s = self._written
        newest = self.ring.read(seq, seq) if seq and seq == self.seq else []
        if not newest:
            return None
        ts_us = newest[0].ts_us
        return {
            "epoch": self.epoch,
            "seq": seq,
            "ts_us": ts_us,
            "fed_us": ts_us + self.lag_us,
            "began_us": round((done_s - took_s) * 1e6),
            "written_us": round(done_s * 1e6),
        }

    def _write(self, touched: "list[Group[Outbound]]") -> None:
        counters = self.counters
        for group in touched:
            frames, first, last = group.frames, group.first_seq, group.last_seq
            count = len(frames)
            matched = count * len(group.members)
            counters.matched += matched
            if group.sheds and self.is_behind:
                group.frames = []
                counters.dropped += matched
                counters.shed += matched
                counters.sent_bytes += tell_all_to_miss(group, count, first, last)
                continue
            chunk = frames[0] if count == 1 else b"".join(frames)
            counters.delivered += matched
            counters.sent_bytes += len(chunk) * len(group.members)
            all_taken = write_to_all(group, chunk, count, first, last)
            group.frames = []
            if group.names:
                group.names = []
            if group.remaining is not None:  # a group of one
                if all_taken:
                    group.remaining -= count
                elif group.skipped and group.members:  # there was no room for them, and now there is: dropped too
                    group.flushed += group.skipped
                    counters.matched += group.skipped
                    counters.delivered += group.skipped
                    first, last = group.first_skipped, group.last_skipped
                    group.members[0].fell_short(NOT_TRIED, b"", group.skipped, first, last)
                group.skipped = 0
                if not group.remaining:
                    for member in group.members.copy():
                        self.on_exhausted(member)

    def join(self, member: Outbound, interest: Interest, mode: Mode, max_messages: int | None) -> None:
        """Subscribe `member` from the next update on, instead of what it had."""
        self.leave(member)
        member.mode = mode
        conflates, sheds = mode is Mode.CONFLATE, mode is Mode.VOLATILE and max_messages is None
        envelope = member.envelope
        member.enter(self.hub.join(member, interest, max_messages, envelope, conflates=conflates, sheds=sheds))
        member.begin_stretch(interest, self.epoch_number, self.seq, is_limited=max_messages is not None)
        self.subscribers[mode.value] += 1

    def learn(self, updates: Iterable[Update]) -> None:
        """Take what a snapshot says is newest, where nothing newer has come."""
        for update in updates:
            name = (update.topic, update.key)
            held = self._newest.get(name)
            if update.epoch == self._tracker.epoch and update.key and (held is None or held.seq < update.seq):
                self._newest.put(name, update, len(update.payload))

    def snapshot(self, interest: Interest) -> list[Update]:
        """Return the newest update of each topic and key that matches, in order of seq, up to the position.

        What `learn` was told is newer than that comes live.
        """
        seq, matches = self.seq, interest.matches
        found = (u for u in self._newest.values() if u.seq <= seq and matches(u.topic))
        return sorted(found, key=attrgetter("seq"))

    def standing_news(self) -> bytes:
        """Return the frames that tell a new subscriber what the others were told: that the feed is stale."""
        if self.state is not FeedState.STALE:
            return b""
        return events.frame_event(events.FEED, self.feed_data(FeedState.STALE.value, self.seq))

    def leave(self, member: Outbound) -> None:
        """Unsubscribe `member`, if it is subscribed."""
        if member.group is not None:
            self.hub.leave(member, member.group)
            member.leave()
            member.end_stretch(self.seq if self._standing is None else self._standing)
            self.subscribers[member.mode.value] -= 1

    def go_stale(self, why: str) -> None:
        """Nothing comes any more: tell subscribers once, until something does."""
        if self.state is FeedState.LIVE:
            self.flush()
            self.state = FeedState.STALE
            log.warning("feed stale epoch=%s seq=%s why=%r", self.epoch, self.seq, why)
            self._tell_feed(FeedState.STALE.value, self.seq)

    def _step(self, observation: Observation, position: int, previous: int | None, before: int) -> None:
        """Anything but the next message of a live feed: told in order, before what follows it.

        Args:
            observation: of the message.
            position: where subscribers stand when it is over.
            previous: the epoch before it.
            before: the seq before it, where they stand until what is staged is written.
        """
        self._standing = before
        self.flush()
        if observation is not NEXT:
            self._break_stretches(before, position)
            self._standing = position
        if observation is not NEXT and self._tracker.epoch is not None:
            self.ring.restart(self._tracker.epoch, position)
        if observation.verdict is Verdict.NEW_EPOCH:
            self._newest.clear()
        if observation.verdict is Verdict.JOINED:
            log.info("feed joined epoch=%s seq=%s", self.epoch, position)
        elif observation.verdict is Verdict.NEW_EPOCH and previous is not None:
            log.warning("feed epoch changed epoch=%s previous=%s", self.epoch, epoch_text(previous))
            self._tell_feed("epoch-changed", 0, previous=epoch_text(previous))
        if observation.gap is not None:
            self._tell_gap(observation.gap)
        if self.state is FeedState.JOINING:
            self.state = FeedState.LIVE
            self._on_live()
        elif self.state is FeedState.STALE:
            self.state = FeedState.LIVE
            log.info("feed live again epoch=%s seq=%s", self.epoch, position)
            self._tell_feed(FeedState.LIVE.value, position)
        self._standing = None

    def _break_stretches(self, before: int, position: int) -> None:
        """Nobody was owed what lies between, or was told of it: the accounts of all go on behind it."""
        for member in self.hub.members():
            group = member.group
            if member.account is not None and group is not None:
                member.end_stretch(before)
                limited = group.remaining is not None
                member.begin_stretch(group.interest, self.epoch_number, position, is_limited=limited)

    def _tell_gap(self, gap: Gap) -> None:
        self.counters.upstream["gaps"] += 1
        self.counters.upstream["missing"] += gap.last - gap.first + 1
        log.warning("feed gap epoch=%s from=%s to=%s", self.epoch, gap.first, gap.last)
        self._tell_all(events.GAP, events.gap(gap.first, gap.last, None, why="upstream"))

    def _tell_feed(self, state: str, position: int, previous: str | None = None) -> None:
        self._tell_all(events.FEED, self.feed_data(state, position, previous))

    def feed_data(self, state: str, position: int, previous: str | None = None) -> dict[str, Any]:
        """Return the data of a `feed` event."""
        return {"state": state, "epoch": self.epoch, "seq": position, "previous": previous}

    def _tell_all(self, event: str, data: dict[str, Any]) -> None:
        frame = events.frame_event(event, data)
        for member in self.hub.members():
            member.raw(frame)
