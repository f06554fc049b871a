"""When things are due: infinite iterators of offsets in nanoseconds from a start that the caller chose.

A schedule knows nothing of how long the work takes, so it cannot drift: whoever falls behind it finds several
offsets in the past, and the difference between due and done is what coordinated omission would hide.
"""

from collections.abc import Iterator
from itertools import count
from random import Random

_NS = 1_000_000_000


def constant_rate(per_second: float) -> Iterator[int]:
    """Offsets of `per_second` evenly spaced events a second, the first one interval after the start."""
    return (round(n * _NS / per_second) for n in count(1))


def random_intervals(random: Random, low_ms: float, high_ms: float) -> Iterator[int]:
    """Offsets whose distances are drawn uniformly from `low_ms` to `high_ms`, anew each time."""
    offset = 0
    while True:
        offset += round(random.uniform(low_ms, high_ms) * 1e6)
        yield offset


def one_random_interval(random: Random, low_ms: float, high_ms: float) -> Iterator[int]:
    """Offsets at one distance, drawn once from `low_ms` to `high_ms`, as a 2012 process did."""
    interval = round(random.uniform(low_ms, high_ms) * 1e6)
    return (n * interval for n in count(1))
