"""PURE: what the clients saw, added up to one raw record an interval; `summary.py` reports from these alone.

Called by the clients for each message (the hot road: attributes are bumped in place) and by the tick of
`crowd.py`, which passes what only it knows. It reads no clock and writes no file.
"""

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

from execgate.measure.clocks import Reading
from execgate.measure.histogram import Histogram
from loadgen.core.timed import Timed, fields_of

Record: TypeAlias = dict[str, Any]
"""JSON-able. `COUNTERS` are of this interval alone; `HISTOGRAMS` map buckets of `execgate.measure.histogram`
to counts; `docs/loadgen.md` has the meaning of each field."""

STREAM_COUNTERS = (
    "gaps",
    "missing",
    "told_gaps",
    "told_missing",
    "duplicates",
    "reorders",
    "epoch_changes",
)
"""What `loadgen.core.stream_check` counts of a client's stream, by its names there."""

COUNTERS = (
    "connects",
    "disconnects",
    "given_up",
    "resumes",
    "recovered",
    "delivered",
    "data_bytes",
    "heartbeats",
    "negative_latencies",
    "other",
    "unnumbered",
    "stale",
    "orders_sent",
    "orders_answered",
    "orders_rejected",
    "orders_timed_out",
    "orders_disconnected",
    "orders_late",
    "orders_unexpected",
    "orders_unsent",
    *STREAM_COUNTERS,
)
STALE_AFTER_S = 15.0
"""A stream that says nothing for so long is stale; our gateway sends a heartbeat every 10 s at the latest."""

TIMED = ("delivery", "service", "response")
"""What a client hears of, so that its time may be doubtful: `loadgen.core.timed`."""
_PLAIN = ("connect", "connect_response", "unread", "hop_in", "hop_wait", "hop_out", "hop_writing")
HISTOGRAMS = (*(field for name in TIMED for field in fields_of(name)), *(f"{name}_us" for name in _PLAIN))


class Merge(Enum):
    """How a field of several processes' records of one interval becomes one."""

    ADD = "what happened in the interval: added up"
    ADD_STANDS = "what stands at its end: added up, and who has no record of it stands where it stood"
    ADD_COUNTS = "counts by name or bucket: added up, name by name"
    ADD_GROUPS = "a part for each group: added up, group by group and field by field"
    WORST = "the greatest, by its amount: health is judged by the process that is worst off"
    MEAN = "the mean over all processes, 0 for who has no record"
    SAME = "the same in all"
    LEAST_BY_NAME = "by name: the least of those that have it"


MERGES: dict[str, Merge] = {
    "t": Merge.WORST,
    "phase": Merge.SAME,
    "stage": Merge.SAME,
    "seconds": Merge.MEAN,
    **dict.fromkeys(COUNTERS, Merge.ADD),
    **dict.fromkeys(HISTOGRAMS, Merge.ADD_COUNTS),
    "errors": Merge.ADD_COUNTS,
    "clients": Merge.ADD_STANDS,
    "connected": Merge.ADD_STANDS,
    "connected_low": Merge.ADD_STANDS,
    "orders_outstanding": Merge.ADD_STANDS,
    "cpu_s": Merge.ADD,
    "rss_bytes": Merge.ADD_STANDS,
    "loop_lag_us": Merge.WORST,
    "silence_us": Merge.WORST,
    "gateway_clock_us": Merge.LEAST_BY_NAME,
    "publisher_clock_us": Merge.LEAST_BY_NAME,
    "cpu_share": Merge.WORST,
    "cpu_wait_share": Merge.WORST,
    "machine_busy_share": Merge.WORST,
    "steal_share": Merge.WORST,
    "softirq_share": Merge.WORST,
    "behind_us": Merge.WORST,
    "clock_step_us": Merge.WORST,
    # One process alone watches the servers.
    "server_cpu_s": Merge.ADD,
    "server_rss_bytes": Merge.ADD_STANDS,
    "server_thread_share": Merge.WORST,
    # Of a scenario.
    "groups": Merge.ADD_GROUPS,
    "spread_us": Merge.ADD_COUNTS,
}
"""Every field of a record has its rule here: a record with another one is not merged but refused."""


class Recorder:
    """One interval under way.

    Args:
        unread: `unread_us` of the connector whose clients' times are quoted.

    What the stream checks and the order book count since the run began is passed in as it stands; the recorder
    takes the difference.
    """

    __slots__ = (
        "_before",
        "connect",
        "connect_response",
        "connected",
        "connected_low",
        "connects",
        "data_bytes",
        "delivered",
        "delivery",
        "disconnects",
        "errors",
        "gateway_clock_us",
        "given_up",
        "heartbeats",
        "hop_in",
        "hop_out",
        "hop_wait",
        "hop_writing",
        "negative_latencies",
        "orders_unsent",
        "other",
        "publisher_clock_us",
        "recovered",
        "response",
        "resumes",
        "service",
        "stale",
        "unnumbered",
        "unread",
    )

    def __init__(self, unread: Histogram) -> None:
        self._before: dict[str, int] = {}
        self.connected = 0
        self.connected_low = 0
        self.delivery, self.service, self.response = Timed(), Timed(), Timed()
        self.unread = unread
        self.connect = Histogram()
        self.connect_response = Histogram()
        self.hop_in, self.hop_wait, self.hop_out, self.hop_writing = (Histogram() for _ in range(4))
        self.gateway_clock_us: dict[str, Reading] = {}
        self.publisher_clock_us: dict[str, Reading] = {}
        self.errors: Counter[str] = Counter()
        # Totals of the run.
        self.connects = 0
        self.disconnects = 0
        self.given_up = 0
        self.resumes = 0
        self.recovered = 0
        self.delivered = 0
        self.data_bytes = 0
        self.heartbeats = 0
        self.negative_latencies = 0
        self.orders_unsent = 0
        self.other = 0
        self.unnumbered = 0
        self.stale = 0

    def opened(self) -> None:
        """A client is connected."""
        self.connects += 1
        self.connected += 1

    def closed(self) -> None:
        """A client that was connected is not any more."""
        self.disconnects += 1
        self.connected -= 1
        self.connected_low = min(self.connected_low, self.connected)

    def update(self, latency_us: int | None, data_bytes: int, doubt_us: int = 0) -> None:
        """One update reached one client.

        Args:
            latency_us: after the publisher stamped it; None without a stamp.
            data_bytes: of its `data`.
            doubt_us: it may have been there so much earlier.
        """
        self.delivered += 1
        self.data_bytes += data_bytes
        if latency_us is None:
            return
        if latency_us < 0:
            self.negative_latencies += 1  # another host's clock; recorded as 0
        self.delivery.record(latency_us, doubt_us)

    def clock(self, url: str, gateway: Reading, publisher: Reading | None) -> None:
        """What an answer of the gateway at `url` says of its clock and the publisher's, both against ours."""
        self.gateway_clock_us[url] = min(gateway, self.gateway_clock_us.get(url, gateway))
        if publisher is not None:
            self.publisher_clock_us[url] = min(publisher, self.publisher_clock_us.get(url, publisher))

    def hops(self, latency_us: int, ts_us: int, fed_us: int, began_us: int, written_us: int) -> None:
        """One update that reached a client after `latency_us`: when it passed the stations before."""
        self.hop_in.record(fed_us - ts_us)
        self.hop_wait.record(began_us - fed_us)
        self.hop_out.record(latency_us - (began_us - ts_us))
        self.hop_writing.record(written_us - began_us)

    def take(self, t: float, seconds: float, totals: Mapping[str, int], gauges: Mapping[str, Any]) -> Record:
        """Return the interval's record and begin the next.

        Args:
            t: wall-clock seconds since 1970 at its end.
            seconds: its length by the monotonic clock.
            totals: counters of `COUNTERS` that live elsewhere, as they stand.
            gauges: anything else that stands in the record (clients, cpu_s, ...).
        """
        now = {name: totals[name] if name in totals else getattr(self, name, 0) for name in COUNTERS}
        record: Record = {"t": round(t, 6), "seconds": round(seconds, 6), **gauges}
        record["connected"] = self.connected
        record["connected_low"] = self.connected_low
        for name, value in now.items():
            record[name] = value - self._before.get(name, 0)
        record["errors"] = dict(self.errors)
        for name, clocks in (
            ("gateway_clock_us", self.gateway_clock_us),
            ("publisher_clock_us", self.publisher_clock_us),
        ):
            record[name] = {url: list(reading) for url, reading in clocks.items()}
            clocks.clear()
        for name in TIMED:
            record |= getattr(self, name).take(name)
        for name in _PLAIN:
            record[f"{name}_us"] = getattr(self, name).take()
        self._before = now
        self.errors.clear()
        self.connected_low = self.connected
        return record
