"""The write side of a connection: the only file that writes to a WebSocket's socket.

A write goes straight to the socket, since the system call is what a delivery costs. What the kernel does not take
is handed to the transport, which owns the socket otherwise, and the subscriber is *blocked* until the transport
has passed it on. Meanwhile, by mode:

- `all`: chunks wait in the backlog, bounded in bytes; over the bound the session is closed with 4108;
- `volatile`: updates are dropped and counted; the first thing sent afterwards is a `gap` that says so. So it is
  where this process itself can't keep up with the feed: late is worse than missing;
- `conflate`: the newest of each topic and key waits, in the place of the one before it, which is counted.

Answers, gaps and errors are never dropped: where they do not fit, 4108. Nothing here waits for a peer, so no
subscriber delays another.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from execgate.wire import events
from execgate.wire.close_codes import CloseCode
from execgate.wire.events import PLAIN, Envelope
from execgate.wire.frame_builder import Opcode, build, build_close
from gateway.core.account import Account
from gateway.core.hub import Group, Name
from gateway.core.interest import Interest
from gateway.core.session import Mode
from gateway.counters import Counters
from gateway.delivery import GONE, NOT_TRIED, write_each

if TYPE_CHECKING:
    from gateway.connection import Connection

# A backlog is passed on in pieces of this size, so that one subscriber never holds the loop for long.
_PIECE_BYTES = 256 * 1024

NOT_BEGUN = ("", -1)
"""`Outbound.behind` of one that has no position yet, or whose snapshot is under way: none may be told."""


def _shut(_data: bytes) -> int:
    """The door of who is blocked or closing: takes nothing."""
    return NOT_TRIED


def write_to_all(group: "Group[Outbound]", chunk: bytes, count: int, first_seq: int, last_seq: int) -> bool:
    """Write `count` updates in one chunk to every member of `group`; return whether all of them took it.

    The hot road. Nothing in its loop runs code of ours, so the group stays as it is; those that fell short are
    looked at afterwards, since one of them may be closed by it and leave.
    """
    short = write_each(group.doors, chunk)
    group.flushed += count
    if not short:
        return True
    members = [(group.members[position], written) for position, written in short]
    if group.conflates:
        taken = [
            member.conflate(group.names, group.frames)
            if written == NOT_TRIED and not member.closing
            else member.fell_short(written, chunk, count, first_seq, last_seq)
            for member, written in members
        ]
    else:
        taken = [member.fell_short(written, chunk, count, first_seq, last_seq) for member, written in members]
    return all(taken)


def tell_all_to_miss(group: "Group[Outbound]", count: int, first_seq: int, last_seq: int) -> int:
    """Write a `gap` to every member of `group` instead of the `count` updates staged for it; return its bytes."""
    frame = _gap_frame(first_seq, last_seq, count)
    short = write_each(group.doors, frame)
    told = len(group.doors) - sum(written < 0 for _, written in short)
    group.shed += count
    for member, written in [(group.members[position], written) for position, written in short]:
        member.missed(written, frame, count, first_seq, last_seq)
    return told * len(frame)


def _gap_frame(first: int, last: int, count: int) -> bytes:
    return events.frame_event(events.GAP, events.gap(first, last, count, why="slow"))


class OutboundBudget:
    """The bound of all backlogs of a process together; a frame shared by many counts for each.

    Attributes:
        used: bytes that wait now.
    """

    __slots__ = ("limit", "session_limit", "used")

    def __init__(self, session_limit: int, limit: int) -> None:
        self.session_limit = session_limit
        self.limit = limit
        self.used = 0

    @property
    def is_nearly_spent(self) -> bool:
        """Whether new subscribers should be refused: 95 % of the bound are in use."""
        return self.used >= self.limit * 0.95


class Outbound:
    """What one connection is owed.

    Attributes:
        owner: the connection, None once it has ended.
        envelope: makes the frames of its updates.
        mode: what becomes of updates while it is blocked.
        group, position: its place in the hub, None while not subscribed.
        behind: the position of its stream where that is not the fan-out's, while it resumes: epoch as it stands in
            JSON and seq, or NOT_BEGUN.
        door: the socket's own `send`, or `_shut` while nothing may be written past what waits.
        conflated: updates of this session, for its heartbeat, like `sent` and `dropped`.
        discarded: updates that were queued for it, or on their way, when it was closed.
        account: what is kept of it for the ledger, None where none is written.
        closing: whether a close frame was sent or queued; nothing goes out after it.
    """

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_blocked",
        "_conflated_frames",
        "_dropped",
        "_budget",
        "_counters",
        "_finishing",
        "_gap",
        "_matched",
        "_send",
        "_sent",
        "_shed",
        "_transport",
        "account",
        "behind",
        "closing",
        "conflated",
        "discarded",
        "door",
        "envelope",
        "group",
        "mode",
        "owner",
        "position",
    )

    def __init__(
        self,
        owner: "Connection",
        transport: asyncio.Transport,
        send: Callable[[bytes], int],
        budget: OutboundBudget,
        counters: Counters,
    ) -> None:
        self.owner: Connection | None = owner
        self.envelope: Envelope = PLAIN
        self.mode = Mode.ALL
        self.group: Group[Outbound] | None = None
        self.position = 0
        self.behind: tuple[str, int] | None = None
        self.door = send
        self.account: Account | None = None
        self._matched = 0
        self._dropped = 0
        self._shed = 0
        self.conflated = 0
        self.discarded = 0
        self.closing = False
        self._transport = transport
        self._send = send
        self._budget = budget
        self._counters = counters
        self._sent = 0
        self._blocked = False
        self._finishing = False
        self._backlog: deque[tuple[bytes, int]] | None = None  # (chunk, how many updates it holds)
        self._backlog_bytes = 0
        self._conflated_frames: dict[Name, bytes] | None = None  # by topic and key, in order of seq
        self._gap: tuple[int, int, int] | None = None  # first seq, last seq, count of what was dropped
        # Any byte left in the transport blocks, and none left unblocks.
        transport.set_write_buffer_limits(high=0, low=0)

    @property
    def sent(self) -> int:
        """Updates written to this session: its own count, and what its group has written since it came."""
        return self._sent + (self.group.flushed if self.group is not None else 0)

    @property
    def dropped(self) -> int:
        """Updates that this session was told to miss: by its own slowness, and what was `shed`."""
        return self._dropped + self.shed

    @property
    def shed(self) -> int:
        """Updates that it was told to miss since this process was behind: of its groups, while it was in them."""
        return self._shed + (self.group.shed if self.group is not None else 0)

    @property
    def matched(self) -> int:
        """Updates that concerned it, whatever became of them: of its groups, and what was pushed past them."""
        group = self.group
        return self._matched + (group.flushed + group.shed if group is not None else 0)

    @property
    def queued(self) -> int:
        """Updates that wait."""
        return sum(count for _, count in self._backlog or ()) + len(self._conflated_frames or ())

    def enter(self, group: "Group[Outbound]") -> None:
        """The hub has put it into `group`."""
        self.group = group
        self._matched -= group.flushed + group.shed
        self._sent -= group.flushed
        self._shed -= group.shed

    def leave(self) -> None:
        """The hub has taken it out of its group."""
        group = self.group
        if group is not None:
            self._matched += group.flushed + group.shed
            self._sent += group.flushed
            self._shed += group.shed
            self.group = None

    def begin_stretch(self, interest: Interest, epoch: int | None, seq: int, *, is_limited: bool) -> None:
        """It is owed all of `interest` behind `seq` from now on, see `Account`; None is no epoch yet."""
        if self.account is not None and epoch is not None:
            self.account.begin(interest.patterns, epoch, seq, self.matched, is_limited=is_limited)

    def end_stretch(self, seq: int) -> None:
        """It is owed nothing behind `seq`, until another stretch begins."""
        if self.account is not None:
            self.account.end(seq, self.matched)

    def ends_with(self, how: str) -> None:
        """The session is being closed: by a code, by the `peer`, or the connection was `lost`."""
        self._counters.closes[how] += 1
        if self.account is not None:
            self.account.closed_with = how

    @property
    def is_free(self) -> bool:
        """Whether updates may be pushed: nothing waits."""
        return not self._blocked and not self.closing

    def push(self, chunk: bytes, count: int, *, is_snapshot: bool = False) -> None:
        """Write `count` updates past the hub; only while `is_free`."""
        self._matched += count
        if is_snapshot and self.account is not None:
            self.account.snapshot += count
        self._sent += count
        self._counters.matched += count
        self._counters.delivered += count
        self._write(chunk, count)

    def control(self, payload: bytes) -> None:
        """Send an event, as JSON, that must not be dropped."""
        self.raw(build(Opcode.TEXT, payload))

    def raw(self, data: bytes) -> None:
        """Send whole frames, or the handshake's answer, in their order."""
        if self.closing:
            return
        if self._blocked:
            self._spill()
            self._queue(self._take_gap() + data, 0)
        else:
            self._write(data)

    def close(self, code: int, reason: str = "", *, flush: bool = True) -> None:
        """Send a close frame, after what waits if `flush`, else instead of it."""
        if self.closing:
            return
        if not flush:
            self.discard()
        self._spill()
        frame = self._take_gap() + build_close(code, reason)
        self.closing = True
        if self._blocked:
            self._append(frame, 0)
        else:
            self._write(frame)
        self._set_door()

    def finish(self) -> None:
        """Half-close the socket behind the close frame: nothing the peer may answer is waited for."""
        self._finishing = True
        if not self._blocked:
            self._write_eof()

    def resume(self) -> None:
        """The transport has passed everything on: send what waited."""
        self._blocked = False
        self._set_door()
        while (self._backlog or self._conflated_frames) and not self._blocked:
            piece, count = self._take_piece()
            self._sent += count
            self._counters.delivered += count
            self._write(piece, count)
        if not self._blocked and self._gap is not None:
            self._write(self._take_gap())
        if self._finishing and not self._blocked:
            self._write_eof()

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait here; what the transport and the kernel hold is not counted."""
        return self._backlog_bytes

    def discard(self) -> None:
        """Let go of everything that waits."""
        self._spill()
        if self._backlog is None:
            return
        self._discarded(sum(count for _, count in self._backlog))
        self._budget.used -= self._backlog_bytes
        self._backlog = None
        self._backlog_bytes = 0

    def fell_short(self, written: int, chunk: bytes, count: int, first_seq: int, last_seq: int) -> bool:
        """The door did not take all of a chunk that the group has counted as written.

        Args:
            written: how many bytes it took, or why it took none: `NOT_TRIED` or `GONE`.
            chunk: holds `count` updates, `first_seq` to `last_seq`.
            count: see `chunk`.
            first_seq: see `chunk`.
            last_seq: see `chunk`.

        Returns:
            Whether the updates were sent or queued, not dropped.
        """
        if written >= 0:
            self._block(chunk, written)
            return True
        self._sent -= count
        self._counters.sent_bytes -= len(chunk)
        if written == GONE:
            self._lost(count)
            return False
        self._counters.delivered -= count
        if self.closing:
            self._discarded(count)
            return False
        if self.mode is Mode.ALL:
            self._queue(chunk, count)
            return True
        self._dropped += count
        self._counters.dropped += count
        self._widen_gap(count, first_seq, last_seq)
        return False

    def missed(self, written: int, frame: bytes, count: int, first_seq: int, last_seq: int) -> None:
        """The door did not take all of `frame`, the `gap` that stands for `count` updates; see `fell_short`."""
        if written >= 0:
            self._block(frame, written)
        elif written == GONE:
            self._lost(0)
        elif not self.closing:
            self._widen_gap(count, first_seq, last_seq)

    def _widen_gap(self, count: int, first_seq: int, last_seq: int) -> None:
        earlier = self._gap
        self._gap = (earlier[0], last_seq, earlier[2] + count) if earlier else (first_seq, last_seq, count)

    def conflate(self, names: Sequence[Name], frames: Sequence[bytes]) -> bool:
        """Keep the newest of each name until the socket takes more; the group has counted `frames` as written."""
        count = len(frames)
        self._sent -= count
        self._counters.delivered -= count
        self._counters.sent_bytes -= sum(map(len, frames))
        waiting = self._conflated_frames
        if waiting is None:
            waiting = self._conflated_frames = {}
        budget = self._budget
        for (topic, key, seq), frame in zip(names, frames, strict=True):
            name = (topic, key, 0) if key else (topic, key, seq)  # without a key an update stands for itself
            before = waiting.pop(name, None)  # in again at the end: in order of seq
            waiting[name] = frame
            growth = len(frame)
            if before is not None:
                growth -= len(before)
                self.conflated += 1
                self._counters.conflated += 1
            self._backlog_bytes += growth
            budget.used += growth
        if self._backlog_bytes > budget.session_limit or budget.used > budget.limit:
            self._close_slow()
            return False
        return True

    def _lost(self, count: int) -> None:
        # The peer is gone between queueing and sending: ordinary, and the transport will say so soon.
        self._counters.delivered -= count
        self._discarded(count)
        if not self.closing:
            self.closing = True
            self.ends_with("lost")
        self.discard()
        self._gap = None
        self._set_door()
        self._transport.abort()

    def _discarded(self, count: int) -> None:
        self.discarded += count
        self._counters.discarded += count

    def _write(self, data: bytes, count: int = 0) -> None:
        try:
            written = self._send(data)
        except BlockingIOError:
            written = 0
        except OSError:
            self._sent -= count
            self._lost(count)
            return
        self._counters.sent_bytes += len(data)
        if written != len(data):
            self._block(data, written)

    def _block(self, data: bytes, written: int) -> None:
        self._transport.write(memoryview(data)[written:])
        # It may have been taken at once; then no resume_writing will come.
        self._blocked = self._transport.get_write_buffer_size() > 0
        self._set_door()

    def _set_door(self) -> None:
        self.door = _shut if self._blocked or self.closing else self._send
        if self.group is not None:
            self.group.doors[self.position] = self.door

    def _queue(self, data: bytes, count: int) -> None:
        budget = self._budget
        if self._backlog_bytes + len(data) > budget.session_limit or budget.used + len(data) > budget.limit:
            self._discarded(count)
            self._close_slow()
            return
        self._append(data, count)

    def _close_slow(self) -> None:
        if self.owner is not None:
            self.owner.close(CloseCode.SLOW_CONSUMER, "slow consumer: resume", flush=False)

    def _spill(self) -> None:
        """What was conflated so far can't be replaced any more: it stands in the backlog before what comes."""
        waiting, self._conflated_frames = self._conflated_frames, None
        if waiting:
            for frame in waiting.values():
                self._backlog_bytes -= len(frame)
                self._budget.used -= len(frame)
                self._append(frame, 1)

    def _append(self, data: bytes, count: int) -> None:
        if self._backlog is None:
            self._backlog = deque()
        self._backlog.append((data, count))
        self._backlog_bytes += len(data)
        self._budget.used += len(data)

    def _take_piece(self) -> tuple[bytes, int]:
        """Return the next bytes of the backlog, and how many updates they hold.

        Behind it, of what is conflated no more than is written now: the rest can still be replaced.
        """
        chunks: list[bytes] = []
        size = updates = 0
        while self._backlog and size < _PIECE_BYTES:
            chunk, count = self._backlog.popleft()
            chunks.append(chunk)
            size += len(chunk)
            updates += count
        if not self._backlog:
            self._backlog = None
        waiting = self._conflated_frames
        if waiting and size < _PIECE_BYTES:
            names = []
            for name, frame in waiting.items():
                names.append(name)
                chunks.append(frame)
                size += len(frame)
                if size >= _PIECE_BYTES:
                    break
            updates += len(names)
            for name in names:
                del waiting[name]
            if not waiting:
                self._conflated_frames = None
        self._backlog_bytes -= size
        self._budget.used -= size
        return b"".join(chunks), updates

    def _write_eof(self) -> None:
        if not self._transport.is_closing():  # the close frame was written to a peer that had gone
            self._transport.write_eof()  # behind what the transport holds

    def _take_gap(self) -> bytes:
        if self._gap is None:
            return b""
        first, last, count = self._gap
        self._gap = None
        return _gap_frame(first, last, count)
