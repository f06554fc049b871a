"""The 2012 measurements: response time a key (client), summed up for an interval into one CSV line.

Both the server (`gateway --csv`) and the classic load generator print it, with the headings of 2012 to the
letter. Where the 2012 code kept a wrong list of outliers, these are the true N highest and N lowest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappush, heappushpop

SERVER_HEADING = (
    "sockets, clients, cpu time, load avg, total memory (M), used memory(M),count, "
    "average response (ms), average outlier high response (ms), average outlier low response (ms), "
    "average message size, messages received"
)
CLIENT_HEADING = (
    "clients,connected,cpu time, load avg, total memory (M), used memory(M),count, "
    "average response (ms), average outlier high response (ms), average outlier low response (ms), "
    "average message size, messages received"
)


class Outliers:
    """The `size` highest and the `size` lowest of all values seen."""

    __slots__ = ("_high", "_low", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._high: list[float] = []  # a heap whose head is the smallest of the highest
        self._low: list[float] = []  # the same of negated values

    def record(self, value: float) -> None:
        """Take one value into account."""
        if len(self._high) < self._size:
            heappush(self._high, value)
            heappush(self._low, -value)
            return
        if self._size:
            if value > self._high[0]:
                heappushpop(self._high, value)
            if -value > self._low[0]:
                heappushpop(self._low, -value)

    def highest(self) -> list[float]:
        """The highest values, the highest first."""
        return sorted(self._high, reverse=True)

    def lowest(self) -> list[float]:
        """The lowest values, the lowest first."""
        return sorted(-value for value in self._low)


@dataclass(frozen=True, slots=True)
class Summary:
    """One interval: `count` keys; times in ms, sizes in bytes of JSON; 0 where nothing was received."""

    count: int
    average_ms: float
    average_high_ms: float
    average_low_ms: float
    average_size: float
    messages: int


class ClassicMetrics:
    """What one interval recorded. `take` sums it up and begins the next.

    Memory is bounded by the number of keys in one interval, which are connections.
    """

    def __init__(self, outlier_size: int) -> None:
        self._outlier_size = outlier_size
        self._begin()

    def _begin(self) -> None:
        self._keys: set[str] = set()
        self._outliers = Outliers(self._outlier_size)
        self._total_ms = 0.0
        self._total_size = 0
        self._messages = 0

    def record(self, key: str, response_ms: float, size: int) -> None:
        """Count one message of `size` bytes that took `response_ms` for client `key`."""
        self._keys.add(key)
        self._outliers.record(response_ms)
        self._total_ms += response_ms
        self._total_size += size
        self._messages += 1

    def take(self) -> Summary:
        """Return the interval's summary and forget it."""
        messages = self._messages
        summary = Summary(
            count=len(self._keys),
            average_ms=self._total_ms / messages if messages else 0.0,
            average_high_ms=_average(self._outliers.highest()),
            average_low_ms=_average(self._outliers.lowest()),
            average_size=self._total_size / messages if messages else 0.0,
            messages=messages,
        )
        self._begin()
        return summary


def _average(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine's part of a CSV line: seconds of CPU time, 1-minute load average, memory in MiB."""

    cpu_s: float
    load_average: float
    total_mib: float
    used_mib: float


def csv_line(first: int, second: int, hardware: Hardware, summary: Summary) -> str:
    """Return one line under either heading: `first` and `second` are its first two columns."""
    columns: list[int | float] = [
        first,
        second,
        hardware.cpu_s,
        hardware.load_average,
        hardware.total_mib,
        hardware.used_mib,
        summary.count,
        summary.average_ms,
        summary.average_high_ms,
        summary.average_low_ms,
        summary.average_size,
        summary.messages,
    ]
    return ",".join(str(value) if isinstance(value, int) else f"{value:.2f}" for value in columns)
