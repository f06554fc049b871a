"""PURE: durations of which some are known only to lie between two values.

Fed by the clients for each message. What is quoted is never too low: of a doubtful one the upper value counts. The
bounds say how much lower the truth may be, percentile by percentile.
"""

from collections import Counter

from execgate.measure.histogram import Histogram


class Timed:
    """Durations in us.

    Attributes:
        upper: all of them, each as long as it may have been.
    """

    __slots__ = ("_doubted", "_least", "upper")

    def __init__(self) -> None:
        self.upper = Histogram()
        # Of the doubtful ones alone; most runs have none.
        self._doubted: Histogram | None = None
        self._least: Histogram | None = None

    def record(self, value_us: int, doubt_us: int = 0) -> None:
        """Count one that took `value_us`, or less by up to `doubt_us`."""
        self.upper.record(value_us)
        if doubt_us > 0:
            if self._doubted is None or self._least is None:
                self._doubted, self._least = Histogram(), Histogram()
            self._doubted.record(value_us)
            self._least.record(value_us - doubt_us)

    def take(self, name: str) -> dict[str, dict[int, int]]:
        """Return a record's three fields for it (`fields_of`), and forget everything."""
        parts = (self.upper, self._doubted, self._least)
        return {
            field: {} if part is None else part.take() for field, part in zip(fields_of(name), parts, strict=True)
        }


def fields_of(name: str) -> tuple[str, str, str]:
    """Return the names of the fields that a record has for a `Timed`: all, the doubtful, these at their least."""
    return f"{name}_us", f"{name}_doubted_us", f"{name}_least_us"


def lower(upper: Histogram, doubted: Histogram, least: Histogram) -> Histogram:
    """Return all durations, each as short as it may have been."""
    if not doubted.count:
        return upper
    counts = Counter(upper.sparse())
    counts.subtract(doubted.sparse())
    counts.update(least.sparse())
    found = Histogram()
    found.add((bucket, count) for bucket, count in counts.items() if count)
    return found
