"""A histogram of durations with three significant digits, cheap enough for every message.

The buckets are HdrHistogram's (2,048 of one unit, then 1,024 for each doubling), so a percentile is never
more than 0.1 % off. Recording costs about 0.2 us where hdrhistogram's Python package costs 1.3.
"""

from array import array
from collections.abc import Iterable
from itertools import accumulate
from math import ceil

_LINEAR = 2048  # values below it have a bucket each
_HALF = _LINEAR // 2
_SHIFT_FROM = _LINEAR.bit_length() - 1  # 11 significant bits are kept
MAX_VALUE = (1 << 32) - 1
"""Over an hour in microseconds; greater values are counted in the last bucket."""


def _bucket_of(value: int) -> int:
    """The bucket of a value from `_LINEAR` up."""
    shift = value.bit_length() - _SHIFT_FROM
    return shift * _HALF + (value >> shift)


def _highest_value_in(bucket: int) -> int:
    if bucket < _LINEAR:
        return bucket
    shift = bucket // _HALF - 1
    return ((bucket - shift * _HALF + 1) << shift) - 1


_BUCKETS = _bucket_of(MAX_VALUE) + 1
_NONE = array("Q", bytes(8 * _BUCKETS))
_STRETCH = 128
_EMPTY = bytes(8 * _STRETCH)


class Histogram:
    """Counts of whole, non-negative values (microseconds, as a rule). Negative values count as 0.

    Attributes:
        count: how many values were recorded.
    """

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts = _NONE[:]
        self.count = 0

    def record(self, value: int) -> None:
        """Count one value."""
        if value < _LINEAR:
            bucket = value if value > 0 else 0
        else:
            bucket = _bucket_of(value if value < MAX_VALUE else MAX_VALUE)
        self._counts[bucket] += 1
        self.count += 1

    def percentile(self, percent: float) -> int | None:
        """Return the value that `percent` (0 to 100) % of all values do not exceed; None without values."""
        if not 0 <= percent <= 100:
            raise ValueError(f"percentile {percent}: expected 0 to 100")
        if not self.count:
            return None
        # Rounded first: 16.1 * 1000 is a little over 16100 in floating point, yet asks for no 162nd value.
        wanted = max(1, ceil(round(self.count * percent / 100, 6)))
        for bucket, reached in enumerate(accumulate(self._counts)):
            if reached >= wanted:
                return _highest_value_in(bucket)
        raise AssertionError("the counts do not add up to `count`")

    def merge(self, other: "Histogram") -> None:
        """Add the counts of `other`."""
        self.add(other.sparse().items())

    def add(self, buckets: Iterable[tuple[int, int]]) -> None:
        """Add (bucket, count) pairs, as `sparse` gives them.

        Raises:
            ValueError: no such bucket, or a count below 0; the pairs before it were added.
        """
        for bucket, count in buckets:
            if not 0 <= bucket < _BUCKETS or count < 0:
                raise ValueError(f"bucket {bucket}, count {count}: expected a bucket below {_BUCKETS}")
            self._counts[bucket] += count
            self.count += count

    def sparse(self) -> dict[int, int]:
        """Return the buckets that are not empty: what an interval log keeps."""
        counts, found = self._counts, dict[int, int]()
        # An event loop waits for this: a stretch of buckets that are all empty is passed over in one comparison,
        # which takes a quarter of the time that looking at each of them does.
        data = counts.tobytes()
        for first in range(0, _BUCKETS, _STRETCH):
            if data[8 * first : 8 * (first + _STRETCH)] != _EMPTY:
                for bucket in range(first, min(first + _STRETCH, _BUCKETS)):
                    if counts[bucket]:
                        found[bucket] = counts[bucket]
        return found

    def take(self) -> dict[int, int]:
        """Return what `sparse` does, and forget everything."""
        if not self.count:
            return {}
        found = self.sparse()
        self.clear()
        return found

    def clear(self) -> None:
        """Forget everything, for the next interval."""
        self._counts = _NONE[:]
        self.count = 0
