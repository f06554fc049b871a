"""Recovery: between the feed and the fan-out, fills holes from the publisher's history before what is later.

    feed -> recovery (stitcher decides, history is asked) -> fan-out

Without a history (`--replay none`) every message goes straight on, and a hole is told as a gap.
"""

import logging
from functools import partial

from execgate.service.logs import Throttle
from execgate.wire.replay import End, Failed, Gone
from execgate.wire.update import Update, epoch_text
from gateway.core.stitcher import Missing, Stitcher
from gateway.fanout import Fanout
from gateway.history import HistoryClient, Outcome, TimedOut

log = logging.getLogger("gateway.recovery")

TRIES = 3
"""Requests in a row that may bring nothing before a hole is given up: a publisher that was killed with the first
under way is silent until it times out, and is back for the second. One in whose time the feed was silent too is
none of them: the publisher is away, nothing new waits behind the hole, and it may come back with all of it."""


class Recovery:
    """What stands between the feed and the fan-out of one process.

    Args:
        fanout: gets an unbroken stream, as far as it can be had.
        history: the publisher's; None if there is none.
        stitcher: decides.

    Attributes:
        is_joined: whether the snapshot that belongs to joining has come, or will not.
    """

    def __init__(self, fanout: Fanout, history: HistoryClient | None, stitcher: Stitcher) -> None:
        self.is_joined = history is None
        self._fanout = fanout
        self._history = history
        self._stitcher = stitcher
        self._asked: Missing | None = None
        self._failures = 0  # requests in a row that brought nothing
        self._heard = False  # whether the feed brought anything since the last of them
        self._snapshot_of: int | None = None  # the epoch
        self._lines = Throttle(log)

    @property
    def behind(self) -> int:
        """How many updates are known to be published and have not reached the fan-out."""
        return self._stitcher.behind

    def take(self, message: Update) -> None:
        """Take one message of the feed, in its order."""
        if self._history is None:
            self._fanout.take(message)
            return
        if self._stitcher.follows(message):
            self._fanout.take(message)
            return
        self._heard = True
        self._pass_on(self._stitcher.take(message))
        if message.epoch != self._snapshot_of:
            self._ask_snapshot(message.epoch)

    def _pass_on(self, updates: list[Update]) -> None:
        for update in updates:
            self._fanout.take(update)
        missing = self._stitcher.missing
        if missing is None:
            self._asked = None
        elif self._asked is None or missing.last != self._asked.last or missing.epoch != self._asked.epoch:
            self._failures = 0
            self._ask(missing)

    def _ask(self, missing: Missing) -> None:
        assert self._history is not None  # without one nothing is ever missing
        self._asked = missing
        self._heard = False
        self._fanout.counters.upstream["replays"] += 1
        self._lines.warning(
            "feed hole epoch=%s from=%s to=%s: asking the publisher",
            epoch_text(missing.epoch),
            missing.first,
            missing.last,
        )
        items, end = partial(self._take_items, missing), partial(self._take_end, missing)
        self._history.replay(missing.epoch, missing.first, missing.last, items, end)

    def _take_items(self, asked: Missing, items: list[Update]) -> None:
        if asked is self._asked:
            self._fanout.counters.upstream["replayed"] += len(items)
            self._pass_on(self._stitcher.fill(items))
            self._fanout.flush()

    def _take_end(self, asked: Missing, outcome: Outcome) -> None:
        if asked is not self._asked:  # filled, or given up
            return
        left = self._stitcher.missing
        if left is None or left.first != asked.first:
            self._failures = 0
        elif self._heard or not isinstance(outcome, TimedOut):
            self._failures += 1
        if left is not None and isinstance(outcome, TimedOut | Failed) and self._failures < TRIES:
            self._ask(left)
            return
        self._asked, self._failures = None, 0
        self._lines.warning("feed hole stays epoch=%s to=%s why=%s", epoch_text(asked.epoch), asked.last, outcome)
        if isinstance(outcome, Gone) and left and outcome.epoch == left.epoch and left.first < outcome.first:
            self._pass_on(self._stitcher.give_up(outcome.first - 1))  # the rest of it may be held: asked anew
        else:
            passed = self._stitcher.give_up()
            # Silence was no answer to the holes behind it either: they get no tries of their own.
            while isinstance(outcome, TimedOut) and self._stitcher.missing:
                passed += self._stitcher.give_up()
            self._pass_on(passed)
        self._fanout.flush()

    def _ask_snapshot(self, epoch: int) -> None:
        assert self._history is not None  # see `take`
        self._snapshot_of = epoch
        self._history.snapshot(self._fanout.learn, self._take_snapshot_end)

    def _take_snapshot_end(self, outcome: Outcome) -> None:
        if not isinstance(outcome, End):
            self._lines.warning("no snapshot from the publisher why=%s: asked again later", outcome)
            self._snapshot_of = None  # the next heartbeat asks
        self.is_joined = True
        self._fanout.on_progress()
