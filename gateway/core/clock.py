"""PURE: how far the publisher's clock is ahead of ours: the surest of its last few answers.

`gateway.clock` asks, and hands in what comes. Half a round trip is how far off one answer can be, so the quickest
is the surest; but clocks drift, and what an answer said of them is less sure the longer ago it was.
"""

from collections import deque

from execgate.measure.clocks import Reading

KEPT = 8
"""Answers; the clock filter of RFC 5905 keeps as many."""
MAX_AGE_S = 60.0
"""Older than this an answer says nothing: the publisher has not answered since."""
DRIFT_PPM = 15
"""How fast two clocks move apart at most, in us a second: RFC 5905's PHI, for clocks that are kept in time. Two
that move faster come to contradict their earlier answers, which are let go of."""


class ClockFilter:
    """The last answers."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Reading]] = deque(maxlen=KEPT)  # when it came, and what it said

    def take(self, reading: Reading, now_ns: int) -> None:
        """Take what an answer said.

        Args:
            reading: the publisher's clock against ours.
            now_ns: monotonic.
        """
        known = self.best(now_ns)
        if known is not None and known.contradicts(reading):
            self._kept.clear()
        self._kept.append((now_ns, reading))

    def best(self, now_ns: int) -> Reading | None:
        """Return the surest as it stands now; None where nothing is known."""
        return min(
            (
                Reading(reading.uncertainty_us + round(age_s * DRIFT_PPM), reading.offset_us)
                for came_ns, reading in self._kept
                if (age_s := (now_ns - came_ns) / 1e9) <= MAX_AGE_S
            ),
            default=None,
        )
