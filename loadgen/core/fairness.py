"""PURE: how far the subscribers of one process are apart: how long after the first the last one has an update.

Called by `group_subscriber.py` for each update of a group whose latencies are quoted. Bounded: `MAX_UPDATES` are
under way; one is over when everybody has had it, or a second after the first did.
"""

from collections.abc import Mapping, Sequence
from statistics import correlation, fmean, median
from typing import Any

from execgate.measure.histogram import Histogram

MAX_UPDATES = 4096
OVER_NS = 1_000_000_000
_TENTH = 10
_APART = 2.0
"""The last tenth is on average so many times as late as the first: it is the same ones that are first."""
_BY_JOINING = 0.8
"""Correlation of the ranks, by lateness and by joining, from which one is the other."""


class Fairness:
    """Updates under way, and how far apart those of this interval came that are over.

    Attributes:
        expected: how many subscribers there are: an update is over once so many have had it.
        is_counting: whether what comes is measured.
    """

    def __init__(self) -> None:
        self.expected = 0
        self.is_counting = False
        self._epoch = ""
        self._over = 0  # the last seq that is over: who resumes gets what the others had long ago
        self._updates: dict[int, list[int]] = {}  # seq -> first and last time, how many have had it
        self._spread = Histogram()

    def heard(self, epoch: str, seq: int, now_ns: int) -> int | None:
        """One subscriber has an update; return how long after the first, None where that does not count."""
        if not self.is_counting:
            return None
        if epoch != self._epoch:
            self._epoch, self._over = epoch, 0
            self._updates.clear()
        update = self._updates.get(seq)
        if update is None:
            if seq <= self._over:
                return None
            if len(self._updates) >= MAX_UPDATES:
                self._finish(next(iter(self._updates)))
            update = self._updates[seq] = [now_ns, now_ns, 0]
        update[1] = max(update[1], now_ns)
        update[2] += 1
        late_ns = now_ns - update[0]
        if update[2] >= self.expected:
            self._finish(seq)
        return late_ns

    def take(self, now_ns: int) -> dict[int, int]:
        """Return the buckets of the spreads, in us, of what is over since the last call."""
        for seq, update in list(self._updates.items()):
            if now_ns - update[0] < OVER_NS:
                break
            self._finish(seq)
        return self._spread.take()

    def _finish(self, seq: int) -> None:
        first_ns, last_ns, heard = self._updates.pop(seq)
        self._over = max(self._over, seq)
        if heard > 1:
            self._spread.record((last_ns - first_ns) // 1000)


def fairness_of(lateness_us: Sequence[float]) -> dict[str, Any] | None:
    """Return how the clients differ, from how late each was behind the first, on average; None for fewer than two.

    Args:
        lateness_us: in the order in which they joined.
    """
    if len(lateness_us) < 2:
        return None
    ranked = sorted(lateness_us)
    tenth = max(1, len(ranked) // _TENTH)
    figures = {
        "least": ranked[0],
        "first_tenth": fmean(ranked[:tenth]),
        "median": median(ranked),
        "last_tenth": fmean(ranked[-tenth:]),
        "most": ranked[-1],
        "who_joined_first": fmean(lateness_us[:tenth]),
        "who_joined_last": fmean(lateness_us[-tenth:]),
    }
    late_us = {name: round(value, 1) for name, value in figures.items()}
    by_lateness = sorted(range(len(lateness_us)), key=lateness_us.__getitem__)
    by_joining = round(correlation(by_lateness, range(len(ranked))), 3)
    return {"clients": len(ranked), "late_us": late_us, "by_joining": by_joining}


def who_is_first(fairness: Mapping[str, Any]) -> str:
    """Return whether it is always the same clients that have an update first, in words.

    Args:
        fairness: as `fairness_of` returned it.
    """
    late_us, by_joining = fairness["late_us"], fairness["by_joining"]
    if late_us["last_tenth"] < _APART * late_us["first_tenth"]:
        return "no: on average the last tenth is less than twice as late as the first"
    if abs(by_joining) < _BY_JOINING:
        return f"yes, the same ones, but not by when they joined (rank correlation {by_joining:+.2f})"
    first = "first" if by_joining > 0 else "last"
    return f"yes, those that joined {first} (rank correlation {by_joining:+.2f})"
