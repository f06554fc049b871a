"""PURE: who asked for which part of the history, how much of it may be sent now, and whose turn it is.

`publisher.replay` hands in what gateways say, and sends what `turn` returns. All that costs something is done in a
turn, and each request gets one after the other, so that one gateway can't hold the others up, nor a turn the feed.

- A gateway has one request; the next one replaces it. An answered one is forgotten.
- At most MAX_CREDIT items, and MAX_UNGRANTED_BYTES but for a single item, are sent and not granted. Before the
  first grant of a request it is only FIRST_ITEMS: who never reads gets no more.
- A turn is only for one whose connection `has_room`: who does not read, whatever it grants, has none.
- At most `max_requests` are unanswered. One more, and the one that was silent longest is told so and forgotten;
  one that was silent for SILENCE_S is forgotten in any case.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from execgate.wire.replay import MAX_CREDIT, Answer, End, Failed, Gone, Replay, Snapshot
from execgate.wire.update import Update, fitting
from publisher.core.history import History

MAX_REQUESTS = 64
SILENCE_S = 30.0
FIRST_ITEMS = 32
MAX_UNGRANTED_BYTES = 1024 * 1024
"""Of payloads that are sent to one gateway and not granted."""
TURN_ITEMS = 32
"""Of 500 bytes they hold the loop for 0.4 ms. Twice as many are replayed 1.5 times as fast, and then what is live
waits twice as long (`benchmarks/replaying.py`)."""
TURN_BYTES = 64 * 1024
"""Of payloads in one turn; a single item may be larger."""


Connection: TypeAlias = tuple[int, int] | None
"""What a gateway is reached by, as the shell knows it: nothing here looks into it."""


class Turn(NamedTuple):
    """What is to be sent to one gateway now."""

    peer: bytes
    request_id: bytes
    parts: list[Answer]
    connection: Connection = None


class _Range:
    """What is left of a replay."""

    def __init__(self, asked: Replay) -> None:
        self._epoch, self._next, self._last = asked

    def take(self, log: History, max_items: int) -> list[Answer]:
        """Return the next items, and the end behind the last one."""
        first, last = self._next, self._last
        updates: Sequence[Update] = ()
        if self._epoch == log.epoch and first >= log.floor and last <= log.ceiling:
            updates = log.read(first, min(last, first + max_items - 1), TURN_BYTES)
        if not updates or updates[0].seq != first:  # the floor may rise behind our back
            return [Gone(log.epoch, log.floor, log.ceiling)]
        self._next = first + len(updates)
        return [*updates, End(self._epoch, last)] if self._next > last else [*updates]


class _Newest:
    """What is left of a snapshot. It is taken in its first turn: who asks often waits for a turn each time."""

    def __init__(self) -> None:
        self._updates: Sequence[Update] | None = None
        self._next = 0
        self._end = End(0, 0)

    def take(self, log: History, max_items: int) -> list[Answer]:
        """Return the next items, and the end behind the last one."""
        if self._updates is None:
            self._updates = log.newest()
            self._end = End(log.epoch, log.ceiling)
        parts: list[Answer] = [*fitting(self._updates[self._next : self._next + max_items], TURN_BYTES)]
        self._next += len(parts)
        return [*parts, self._end] if self._next == len(self._updates) else parts


class _Request:
    """One that is not answered yet."""

    __slots__ = (
        "connection",
        "heard_s",
        "is_proved",
        "is_queued",
        "left",
        "peer",
        "request_id",
        "ungranted",
        "ungranted_bytes",
    )

    def __init__(
        self, peer: bytes, request_id: bytes, left: _Range | _Newest, now_s: float, connection: Connection
    ) -> None:
        self.peer = peer
        self.connection = connection
        self.request_id = request_id
        self.left = left
        self.ungranted: deque[int] = deque()  # the sizes of items that were sent and not granted
        self.ungranted_bytes = 0
        self.is_proved = False  # whether it has granted anything, and so reads what it is sent
        self.is_queued = False
        self.heard_s = now_s

    @property
    def room_items(self) -> int:
        """How many items may be sent to it now."""
        if self.ungranted_bytes >= MAX_UNGRANTED_BYTES:
            return 0
        return (MAX_CREDIT if self.is_proved else FIRST_ITEMS) - len(self.ungranted)

    def sent(self, update: Update) -> None:
        """An item was sent to it."""
        self.ungranted.append(len(update.payload))
        self.ungranted_bytes += len(update.payload)

    def granted(self, items: int) -> None:
        """It has taken so many; more than it was sent are as many as it was."""
        self.is_proved = True
        for _ in range(min(items, len(self.ungranted))):
            self.ungranted_bytes -= self.ungranted.popleft()


class Replays:
    """All requests that are not answered.

    Attributes:
        counts: requests by their kind (`replay`, `snapshot`), `items` sent, and ends: `end`, `gone`, `replaced`,
            `forgotten`.
    """

    def __init__(self, max_requests: int = MAX_REQUESTS) -> None:
        self.counts: Counter[str] = Counter()
        self._max_requests = max_requests
        self._requests: OrderedDict[bytes, _Request] = OrderedDict()  # by peer, the one heard last at the end
        self._queue: deque[_Request] = deque()  # that something may be sent to, the next one first

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def is_ready(self) -> bool:
        """Whether there is something to send."""
        return bool(self._queue)

    def ask(
        self,
        peer: bytes,
        request_id: bytes,
        asked: Replay | Snapshot,
        now_s: float,
        connection: Connection = None,
    ) -> Turn | None:
        """Take a request; return what is to be told to the one that it pushed out."""
        self.counts["replay" if isinstance(asked, Replay) else "snapshot"] += 1
        self.drop(peer, "replaced")
        pushed_out = None
        if len(self._requests) >= self._max_requests:
            oldest = next(iter(self._requests.values()))
            self.drop(oldest.peer, "forgotten")
            why = Failed(f"more than {self._max_requests} requests: yours was silent longest; ask again")
            pushed_out = Turn(oldest.peer, oldest.request_id, [why], oldest.connection)
        left = _Range(asked) if isinstance(asked, Replay) else _Newest()
        request = self._requests[peer] = _Request(peer, request_id, left, now_s, connection)
        self._enqueue(request)
        return pushed_out

    def grant(self, peer: bytes, request_id: bytes, items: int, now_s: float) -> None:
        """Let a gateway be sent `items` more, as far as it has been sent them; no matter if it is answered."""
        request = self._requests.get(peer)
        if request is None or request.request_id != request_id:
            return
        self._requests.move_to_end(peer)
        request.heard_s = now_s
        request.granted(items)
        self._enqueue(request)

    def drop(self, peer: bytes, why: str) -> None:
        """Forget the request of a gateway, if it has one."""
        request = self._requests.pop(peer, None)
        if request is None:
            return
        self.counts[why] += 1
        if request.is_queued:
            self._queue.remove(request)

    def forget_silent(self, now_s: float) -> None:
        """Forget those that were silent for SILENCE_S."""
        while self._requests:
            oldest = next(iter(self._requests.values()))
            if now_s - oldest.heard_s < SILENCE_S:
                return
            self.drop(oldest.peer, "forgotten")

    def turn(self, log: History, has_room: Callable[[Connection], bool] = lambda _: True) -> Turn | None:
        """Return what the next one whose connection `has_room` is to be sent; None where there is none such."""
        for _ in range(len(self._queue)):
            request = self._queue.popleft()
            if has_room(request.connection):
                break
            self._queue.append(request)
        else:
            return None
        request.is_queued = False
        parts = request.left.take(log, min(request.room_items, TURN_ITEMS))
        for part in parts:
            if isinstance(part, Update):
                request.sent(part)
                self.counts["items"] += 1
            else:
                self.drop(request.peer, "gone" if isinstance(part, Gone) else "end")
                return Turn(request.peer, request.request_id, parts, request.connection)
        self._enqueue(request)
        return Turn(request.peer, request.request_id, parts, request.connection)

    def _enqueue(self, request: _Request) -> None:
        if not request.is_queued and request.room_items > 0:
            request.is_queued = True
            self._queue.append(request)
