"""Counts of durations by upper bounds, as a Prometheus histogram has them; cheap enough for every flush and order.

`execgate.measure.histogram` has three digits and 180 KB; this has a few dozen numbers, which processes add up.
"""

from bisect import bisect_left
from collections.abc import Mapping

BOUNDS_S = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds in seconds, inclusive: from a flush to one subscriber to a feed that hangs. Longer is `+Inf`."""

INFINITY = "+Inf"
SUM = "sum"
_KEYS = (*map(repr, BOUNDS_S), INFINITY)


class Buckets:
    """How many durations were up to each bound and over the one before, and their sum.

    Attributes:
        sum_s: of all, in seconds.
    """

    __slots__ = ("_counts", "sum_s")

    def __init__(self) -> None:
        self._counts = [0] * len(_KEYS)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; a negative one (two clocks) counts as 0."""
        if seconds < 0:
            seconds = 0.0
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def figures(self) -> dict[str, float]:
        """Return the counts that are not 0 by their bound, and the `sum`: what adds up, key by key."""
        counts = {key: count for key, count in zip(_KEYS, self._counts, strict=True) if count}
        return {**counts, SUM: self.sum_s}


def cumulative(figures: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return (bound, how many were up to it) for each bound, from what `Buckets.figures` returns."""
    reached = 0.0
    return [(key, reached := reached + figures.get(key, 0)) for key in _KEYS]
