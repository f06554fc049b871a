"""The stitcher: makes one unbroken stream of what the feed brings and what was asked for again.

Pure. The shell (`gateway.recovery`) gives it every message of the feed, passes on what it returns, and asks the
publisher's history for `missing`. While something is missing, what comes later is held back, within bounds; so a
subscriber never sees a seq before the ones below it, unless those are lost for good. What there is no room for is
let go of, and missing behind what is held: a replay that is slower than the feed loses nothing.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from execgate.wire.update import MAX_SEQ, Kind, Update


class Missing(NamedTuple):
    """Seqs `first` to `last`, inclusive, that were published and did not arrive."""

    epoch: int
    first: int
    last: int


class Stitcher:
    """The position of what was passed on, and what waits behind a hole.

    Args:
        max_updates: that are held back; for what comes beyond, one heartbeat of each epoch is held, which says how
            far it went.
        max_bytes: of their payloads, the same.

    Attributes:
        missing: what is to be asked for; None while nothing is.
    """

    __slots__ = ("_epoch", "_held", "_held_bytes", "_max_bytes", "_max_updates", "_seq", "missing")

    def __init__(self, max_updates: int, max_bytes: int) -> None:
        self.missing: Missing | None = None
        self._max_updates = max_updates
        self._max_bytes = max_bytes
        self._epoch: int | None = None
        self._seq = 0
        self._held: deque[Update] = deque()
        self._held_bytes = 0

    @property
    def behind(self) -> int:
        """How many updates are known to be published and not passed on: the hole, and what waits behind it."""
        return 0 if self.missing is None else self.missing.last - self.missing.first + 1 + len(self._held)

    def follows(self, update: Update) -> bool:
        """Whether `update` is the next one, as nearly all are; it is taken then, and is to be passed on."""
        if update.seq == self._seq + 1 and update.epoch == self._epoch and not self.missing and update.kind == 1:
            self._seq += 1
            return True
        return False

    def take(self, message: Update) -> list[Update]:
        """Take a message of the feed; return what may be passed on now."""
        if self.missing is None:
            self._hold(message)
            return self._release()
        passed: list[Update] = []
        while self.missing and not self._has_room(message):
            if self._held[-1].epoch == message.epoch:
                self._note(message)
                return passed
            # Where epochs come faster than holes are filled, the oldest are not waited for.
            passed += self.give_up()
        self._hold(message)
        return passed if self.missing else passed + self._release()

    def fill(self, updates: Iterable[Update]) -> list[Update]:
        """Take the next of what is missing, in order; return what may be passed on now."""
        passed = []
        for update in updates:
            missing = self.missing
            if missing is None or update.epoch != missing.epoch or update.seq != missing.first:
                continue
            self._epoch, self._seq = update.epoch, update.seq
            passed.append(update)
            if update.seq == missing.last:
                self.missing = None
            else:
                self.missing = missing._replace(first=update.seq + 1)
        if self.missing is None:
            passed += self._release()
        return passed

    def give_up(self, until: int = MAX_SEQ) -> list[Update]:
        """What is missing, up to and including `until`, will not come; return what may be passed on now.

        The hole stands before it.
        """
        missing = self.missing
        if missing is not None:
            self._epoch, self._seq = missing.epoch, min(missing.last, until)
            self.missing = None if until >= missing.last else missing._replace(first=until + 1)
        return [] if self.missing is not None else self._release()

    def _has_room(self, message: Update) -> bool:
        size = self._held_bytes + len(message.payload)
        return len(self._held) < self._max_updates and size <= self._max_bytes

    def _hold(self, message: Update) -> None:
        self._held.append(message)
        self._held_bytes += len(message.payload)

    def _note(self, message: Update) -> None:
        """Let go of a message; a heartbeat, the last that is held, says that it was."""
        last = self._held[-1]
        if message.seq <= last.seq:
            return
        note = Update(Kind.HEARTBEAT, b"", message.epoch, message.seq, 0, message.ts_us, b"", b"")
        if last.kind == Kind.DATA:
            self._held.append(note)
        else:
            self._held[-1] = note

    def _release(self) -> list[Update]:
        """Take from what is held up to the next hole; the rest stays where it is, however many holes it has."""
        passed: list[Update] = []
        held = self._held
        while held:
            self.missing = self._hole_before(held[0])
            if self.missing is not None:
                break
            message = held.popleft()
            self._held_bytes -= len(message.payload)
            if message.epoch != self._epoch:
                self._epoch, self._seq = message.epoch, message.seq
            self._seq = max(self._seq, message.seq)
            passed.append(message)
        return passed

    def _hole_before(self, message: Update) -> Missing | None:
        if self._epoch is None:
            return None  # the first message of all: nobody was owed what came before
        before = message.seq - 1 if message.kind == Kind.DATA else message.seq
        first = self._seq + 1 if message.epoch == self._epoch else 1
        return Missing(message.epoch, first, before) if before >= first else None
