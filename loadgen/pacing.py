"""The event loop's side of an open loop: does what a schedule says when it is due, and knows how late it was.

Made by `run.py`, one for its connections and one for its orders. What was due while the loop was held up is all
done at once when it is back, each with the time at which it was due: the wait is in the response times, and
nothing is left out.
"""

import time
from collections.abc import Callable, Iterator

from loadgen.timer import ExactTimer

MOST_A_TURN = 200
"""What is done before the loop gets to its sockets again; each takes some 50 us."""


class Paced:
    """Calls `action` with the intended monotonic time for each offset of `schedule`.

    Attributes:
        due: how many have come due.
    """

    def __init__(self, schedule: Iterator[int], action: Callable[[int], None]) -> None:
        self._schedule = schedule
        self._action = action
        self._start_ns = 0
        self._due_ns = 0
        self._worst_ns = 0
        self._timer: ExactTimer | None = None
        self.due = 0

    def start(self, start_ns: int) -> None:
        """Begin: the schedule's offsets count from `start_ns`."""
        self._start_ns = start_ns
        if self._advance():
            self._timer = ExactTimer(self._turn)
            self._timer.set(self._due_ns)

    def stop(self) -> None:
        """Do nothing any more."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def take_worst_us(self) -> int:
        """Return the greatest lateness since the last call, also of what is overdue now, in microseconds."""
        overdue_ns = time.monotonic_ns() - self._due_ns if self._timer is not None else 0
        worst_ns, self._worst_ns = max(self._worst_ns, overdue_ns), 0
        return worst_ns // 1000

    def _turn(self) -> None:
        for _ in range(MOST_A_TURN):
            late_ns = time.monotonic_ns() - self._due_ns
            if late_ns < 0:
                break
            self._worst_ns = max(self._worst_ns, late_ns)
            self.due += 1
            self._action(self._due_ns)
            if self._timer is None:  # the action ended it
                return
            if not self._advance():
                self.stop()
                return
        if self._timer is not None:
            self._timer.set(self._due_ns)

    def _advance(self) -> bool:
        """Go on to the next event; return whether there is one."""
        offset_ns = next(self._schedule, None)
        if offset_ns is None:
            return False
        self._due_ns = self._start_ns + offset_ns
        return True
