"""Asks the publisher what its clock says, every few seconds, over the channel that its history comes by.

Made by the worker. What is known is told to who asks for stamps, and as a metric; nothing here depends on it.
"""

import asyncio
import time

from execgate.measure.clocks import Reading, read_clock
from gateway.core.clock import ClockFilter
from gateway.history import HistoryClient

EVERY_S = 2.0
SELDOM_S = 30.0
"""A publisher that does not answer is asked half as often each time, and at last so often: it may be an older one,
which counts and logs what it does not know, or away, and then the questions wait for it."""


class PublisherClock:
    """How far the publisher's clock is ahead of ours.

    Args:
        history: what to ask by; None, and nothing is ever known.
    """

    def __init__(self, history: HistoryClient | None) -> None:
        self._history = history
        self._filter = ClockFilter()
        self._pause_s = EVERY_S
        self._is_answered = True
        self._timer: asyncio.TimerHandle | None = None

    @property
    def reading(self) -> Reading | None:
        """What is known now."""
        return self._filter.best(time.monotonic_ns())

    def start(self) -> None:
        """Begin to ask on the running loop."""
        if self._history is None:
            return
        self._pause_s = EVERY_S if self._is_answered else min(2 * self._pause_s, SELDOM_S)
        self._is_answered = False
        asked_ns = time.monotonic_ns()
        self._history.ask_clock(lambda now_us: self._take(now_us, asked_ns))
        self._timer = asyncio.get_running_loop().call_later(self._pause_s, self.start)

    def close(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take(self, told_us: int, asked_ns: int) -> None:
        heard_us = time.time_ns() // 1000
        heard_ns = time.monotonic_ns()  # behind the other: whatever came between is in the round trip
        self._is_answered = True
        self._filter.take(read_clock(told_us, heard_us, heard_ns - asked_ns), heard_ns)
