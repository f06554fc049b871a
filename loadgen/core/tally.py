"""PURE: what a group of subscribers saw, added up to its part of a record, and such parts added up to its figures.

Called by the members of the group for each message and by `crowd.py` at the end of an interval.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from execgate.measure.histogram import Histogram
from loadgen.core.recorder import STREAM_COUNTERS
from loadgen.core.stream_check import StreamCheck

ALLOWED = ("dropped", "conflated")
"""What a check counts that is left out by right: see `sparse_check.py`."""
COUNTED = ("connects", "disconnects", "returns", "delivered", "data_bytes", *STREAM_COUNTERS, *ALLOWED)
"""What stands in a group's part of a record and can be added up, besides `closed` (by code) and `delivery_us`."""


class Tally:
    """One interval of one group under way.

    Attributes:
        connected: members that are.
        streams: what the checks of its members have counted in all; the crowd adds them anew for each record.
        returns: times that a member dropped its connection itself, to come back.
        closed: connections that the server, or the network, ended, by code.
    """

    __slots__ = (
        "_before",
        "closed",
        "connected",
        "connects",
        "data_bytes",
        "delivered",
        "delivery",
        "disconnects",
        "returns",
        "streams",
    )

    def __init__(self) -> None:
        self._before: Counter[str] = Counter()
        self.connected = 0
        self.connects = 0
        self.disconnects = 0
        self.returns = 0
        self.delivered = 0
        self.data_bytes = 0
        self.closed: Counter[str] = Counter()
        self.streams: Counter[str] = Counter()
        self.delivery = Histogram()

    def opened(self) -> None:
        """A member is connected."""
        self.connects += 1
        self.connected += 1

    def lost(self) -> None:
        """A member that was connected is not any more."""
        self.disconnects += 1
        self.connected -= 1

    def update(self, latency_us: int, data_bytes: int) -> None:
        """One update reached one member."""
        self.delivered += 1
        self.data_bytes += data_bytes
        self.delivery.record(latency_us)

    def add(self, check: StreamCheck) -> None:
        """Add what the check of one member has counted."""
        for name in STREAM_COUNTERS:
            self.streams[name] += getattr(check, name)
        for name in ALLOWED:
            self.streams[name] += getattr(check, name, 0)

    def take(self) -> dict[str, Any]:
        """Return the group's part of the interval's record and begin the next."""
        now = Counter(
            {name: self.streams[name] if name in self.streams else getattr(self, name, 0) for name in COUNTED}
        )
        part = {
            "connected": self.connected,
            **{name: now[name] - self._before[name] for name in COUNTED},
            "closed": dict(self.closed),
            "delivery_us": self.delivery.take(),
        }
        self._before = now
        self.closed.clear()
        return part


class GroupSum:
    """Parts of records added up: counts of the whole run, latencies of what was measured.

    Attributes:
        connected: at the end of the last record.
        counts: `COUNTED`.
        closed: by code.
        delivery: latencies.
    """

    def __init__(self) -> None:
        self.connected = 0
        self.counts: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.delivery = Histogram()

    def add(self, part: Mapping[str, Any], *, is_measured: bool) -> None:
        """Add one; buckets may be numbers or, as JSON has them, text."""
        self.connected = part["connected"]
        for name in COUNTED:
            self.counts[name] += part[name]
        self.closed.update(part["closed"])
        if is_measured:
            self.delivery.add((int(bucket), count) for bucket, count in part["delivery_us"].items())


class StageSum:
    """The records of one stage added up.

    Attributes:
        phase: what they count for.
        connected: at the end of the last record.
        delivery, response, connect_response: latencies of quoted deliveries, of orders, of connections.
    """

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self.connected = 0
        self.delivery = Histogram()
        self.response = Histogram()
        self.connect_response = Histogram()
        self._counts: Counter[str] = Counter()
        self._seconds = 0.0
        self._memory: dict[str, list[int]] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Add one."""
        self._seconds += record["seconds"]
        self.connected = record["connected"]
        for name in _OF_STAGE:
            self._counts[name] += record[name]
        self._counts["errors"] += sum(record["errors"].values())
        for name in ("delivery", "response", "connect_response"):
            getattr(self, name).add((int(bucket), count) for bucket, count in record[f"{name}_us"].items())
        for name in ("rss_bytes", "server_rss_bytes"):
            if name in record:
                self._memory[name] = [self._memory.get(name, [record[name]])[0], record[name]]

    def as_dict(self) -> dict[str, Any]:
        """Return its counts, and memory as it was at its beginning and end; latencies are the caller's."""
        return {
            "phase": self.phase,
            "seconds": round(self._seconds, 3),
            "connected": self.connected,
            **self._counts,
            **self._memory,
        }


_OF_STAGE = ("delivered", "missing", "told_missing", "connects", "disconnects", "resumes", "orders_answered")
