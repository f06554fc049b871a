"""PURE: the figures of a run, from its records alone: what is quoted, and what there are too few samples for.

`run.py` adds each record as it is made, for the live view and the verdict; `report.py` adds those of a run folder
and gets the same. Which records make which figure:

- latencies and rates of deliveries: those of phase `measure`;
- latencies of orders: `measure` and `drain`, in which the last orders are answered (without them the slowest
  answers would be left out);
- latencies of connections, counts of faults, errors and ends: the whole run.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from execgate.measure.clocks import Reading
from execgate.measure.histogram import Histogram
from loadgen.core.recorder import Record
from loadgen.core.summary import PERCENTILES, Summary
from loadgen.core.tally import COUNTED, GroupSum, StageSum
from loadgen.core.timed import fields_of, lower

RAMP, WARM_UP, MEASURE, DRAIN = "ramp", "warm-up", "measure", "drain"
BEYOND = 10
"""A percentile is quoted if so many samples are beyond it: 20 for p50, 1,000 for p99, 10,000 for p99.9."""
SAMPLES_NOTE = f"-: too few samples; a percentile is quoted if {BEYOND} samples are beyond it"

LATENCIES = {  # name -> (histogram of a record, what it is)
    "delivery": ("delivery_us", "delivery latency, from the publisher's stamp"),
    "order": ("response_us", "order response time, from when it was due"),
    "order_service": ("service_us", "order service time, from the real send"),
    "connect": ("connect_response_us", "time to connect, from when it was due"),
    "connect_service": ("connect_us", "time to connect, from the attempt that succeeded"),
    "hop_in": ("hop_in_us", "publisher's stamp to gateway"),
    "hop_wait": ("hop_wait_us", "in the gateway, until its writing began"),
    "hop_out": ("hop_out_us", "from there until the client had it, the fan-out's turn included"),
    "hop_writing": ("hop_writing_us", "for comparison: the gateway's writing to all, from first to last"),
}
BOUNDED = {"delivery": "delivery", "order": "response", "order_service": "service"}
"""Latency -> the `Timed` of a recorder that it is made from: how much lower it may be is known."""
HOPS = ("hop_in", "hop_wait", "hop_out", "hop_writing")
"""Of updates that were sampled: the first three make up a delivery's latency."""
_GREATEST = ("behind_us", "loop_lag_us", "clock_step_us", "cpu_share", "rss_bytes", "server_rss_bytes")
_TIME_SHARES = (
    *("cpu_share", "cpu_wait_share", "steal_share", "softirq_share", "machine_busy_share"),
    "server_thread_share",
)
_CHECKED = ("gaps", "missing", "told_gaps", "told_missing", "duplicates", "reorders", "epoch_changes")
"""What is known of a stream whose updates have a sequence, and of no other."""
_ENDS = ("answered", "rejected", "timed_out", "disconnected")


def samples_needed(percent: float) -> int:
    """Return how many samples it takes to quote a percentile; the greatest of all is quoted with one."""
    return 1 if percent == 100 else round(BEYOND * 100 / (100 - percent))


def quoted(histogram: Histogram, percent: float) -> int | None:
    """Return a percentile in microseconds, None where there are too few samples for it."""
    return histogram.percentile(percent) if histogram.count >= samples_needed(percent) else None


def latency_figures(histogram: Histogram) -> dict[str, int | None]:
    """Return the count and the percentiles that can be quoted; None for those that can't."""
    figures: dict[str, int | None] = {name: quoted(histogram, percent) for name, percent in PERCENTILES.items()}
    return {"count": histogram.count, **figures}


def furthest(clocks: Mapping[str, Mapping[str, int]]) -> tuple[str, Reading]:
    """Return which clock differs most for sure or, where none does, is known least: its URL, and by what.

    Args:
        clocks: `offset_us` and `uncertainty_us` by the gateway's URL; at least one.
    """
    known = ((url, Reading(**told)) for url, told in clocks.items())
    return max(known, key=lambda one: (one[1].certain_us, one[1].uncertainty_us))


def clock_offset(clocks: Mapping[str, Mapping[str, int]]) -> str:
    """Return what is known of clocks against ours: the furthest, which is named where there are several."""
    url, reading = furthest(clocks)
    told = f"{reading.offset_us / 1000:+.3f} ms, give or take {reading.uncertainty_us / 1000:.3f}"
    told = told if reading.certain_us else f"{told}: no difference"
    return told if len(clocks) == 1 else f"{told} (by {url}, the furthest of {len(clocks)})"


class _Clock:
    """What a run's records say of one clock."""

    def __init__(self, reading: Reading) -> None:
        self._surest = self._furthest = reading

    def add(self, reading: Reading) -> None:
        self._surest = min(self._surest, reading)
        self._furthest = max(self._furthest, reading, key=lambda one: one.certain_us)

    @property
    def told(self) -> Reading:
        """The surest, unless another contradicts it: then the clock was set, or drifts, and was so far off."""
        return self._furthest if self._furthest.contradicts(self._surest) else self._surest


class Figures:
    """Records added up. Memory does not grow with the length of the run.

    Attributes:
        whole, measured: sums of all records, and of those of phase `measure`.
        connected_low: the fewest that were connected while it was measured; None before that.
        lagging: measured records whose loop was late by more than `LAGGING_US`.
        records: how many were measured.
        groups, stages: sums of a scenario's, by their names.
        spread: how long after the first client the last one had an update, in us, where that was looked at.
    """

    LAGGING_US = 20_000

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self.whole = Summary()
        self.measured = Summary()
        self._answered = Summary()  # measured and drained
        self._time: Counter[str] = Counter()
        self._greatest: dict[str, float] = {}
        self._server_cpu_s: float | None = None
        self._clocks: dict[str, dict[str, _Clock]] = {"gateway": {}, "publisher": {}}  # by URL
        self.connected_low: int | None = None
        self._silence_us = 0
        self.lagging = 0
        self.records = 0
        self.groups: dict[str, GroupSum] = {}
        self.stages: dict[str, StageSum] = {}
        self.spread = Histogram()
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add one record of a run."""
        self.whole.add(record)
        self._silence_us = max(self._silence_us, record["silence_us"])
        for whose, known in self._clocks.items():
            for url, told in record.get(f"{whose}_clock_us", {}).items():
                known.setdefault(url, _Clock(Reading(*told))).add(Reading(*told))
        phase = record["phase"]
        if phase in (MEASURE, DRAIN):
            self._answered.add(record)
        if phase == MEASURE:
            self.measured.add(record)
            self._add_health(record)
            self.spread.add((int(bucket), count) for bucket, count in record.get("spread_us", {}).items())
        for name, part in record.get("groups", {}).items():
            self.groups.setdefault(name, GroupSum()).add(part, is_measured=phase == MEASURE)
        if "stage" in record:
            stage = record["stage"]
            self.stages.setdefault(stage, StageSum(phase)).add(record)

    def _add_health(self, record: Mapping[str, Any]) -> None:
        self.records += 1
        for name in _TIME_SHARES:
            self._time[name] += record.get(name, 0) * record["seconds"]
        for name in _GREATEST:
            if record.get(name) is not None:
                self._greatest[name] = max(self._greatest.get(name, 0), abs(record[name]))
        self.lagging += record["loop_lag_us"] > self.LAGGING_US
        low = record["connected_low"]
        self.connected_low = low if self.connected_low is None else min(self.connected_low, low)
        if record.get("server_cpu_s") is not None:
            self._server_cpu_s = (self._server_cpu_s or 0.0) + record["server_cpu_s"]

    def histogram(self, latency: str) -> Histogram:
        """Return the histogram of one of `LATENCIES`."""
        field = LATENCIES[latency][0]
        if latency.startswith("connect"):
            return self.whole.histogram(field)
        return self._counted(latency).histogram(field)

    def lower_histogram(self, latency: str) -> Histogram:
        """Return the same of one of `BOUNDED`, each value as short as it may have been."""
        of, fields = self._counted(latency), fields_of(BOUNDED[latency])
        return lower(*(of.histogram(field) for field in fields))

    def _counted(self, latency: str) -> Summary:
        return self.measured if latency == "delivery" or latency in HOPS else self._answered

    def greatest(self, name: str) -> float:
        """Return the greatest of a record's field while it was measured, 0 where it was never told."""
        return self._greatest.get(name, 0)

    def mean(self, name: str) -> float:
        """Return a record's field, averaged over the time that was measured."""
        return self._time[name] / self.measured.seconds if self.measured.seconds else 0.0

    def as_dict(self) -> Record:
        """Return everything that a report shows: latencies in microseconds, counts, rates a second."""
        whole, measured = self.whole.counts(), self.measured.counts()
        seconds = self.measured.seconds

        def rate(name: str) -> float:
            return round(measured[name] / seconds, 3) if seconds else 0.0

        return {
            "seconds": round(seconds, 3),
            "latencies": {name: latency_figures(self.histogram(name)) for name in LATENCIES},
            "at_least": {name: latency_figures(self.lower_histogram(name)) for name in BOUNDED},
            "rates": {
                "delivered_per_s": rate("delivered"),
                "data_bytes_per_s": rate("data_bytes"),
                "orders_sent_per_s": rate("orders_sent"),
                "orders_answered_per_s": rate("orders_answered"),
            },
            "streams": {
                "delivered": whole["delivered"],
                **{name: None if whole["unnumbered"] else whole[name] for name in _CHECKED},
                "lost": None if whole["unnumbered"] else lost(whole),
                "stale": whole["stale"],
                "other": whole["other"],
                "silence_us": int(self._silence_us),
            },
            "orders": {
                name: whole[f"orders_{name}"]
                for name in ("sent", *_ENDS, "outstanding", "late", "unexpected", "unsent")
            },
            "connections": {
                "clients": whole["clients"],
                "connects": whole["connects"],
                "disconnects": whole["disconnects"],
                "given_up": whole["given_up"],
                "connected_low": self.connected_low,
            },
            "errors": whole["errors"],
            "client": {
                "cpu_share": round(self.mean("cpu_share"), 4),
                "cpu_share_greatest": round(self.greatest("cpu_share"), 4),
                "cpu_wait_share": round(self.mean("cpu_wait_share"), 4),
                "rss_bytes": int(self.greatest("rss_bytes")),
                "loop_lag_us": int(self.greatest("loop_lag_us")),
                "behind_us": int(self.greatest("behind_us")),
                "unread_us": latency_figures(self.measured.histogram("unread_us")),
                "clock_step_us": int(self.greatest("clock_step_us")),
                "steal_share": round(self.mean("steal_share"), 4),
                "softirq_share": round(self.mean("softirq_share"), 4),
                "machine_busy_share": round(self.mean("machine_busy_share"), 4),
            },
            "clocks": {
                whose: {url: clock.told._asdict() for url, clock in known.items()}
                for whose, known in self._clocks.items()
            },
            "server": None
            if self._server_cpu_s is None or not seconds
            else {
                "cpu_share": round(self._server_cpu_s / seconds, 4),
                "thread_share": round(self.mean("server_thread_share"), 4),
                "rss_bytes": int(self.greatest("server_rss_bytes")),
            },
            **self._of_scenario(),
        }

    def _of_scenario(self) -> Record:
        """Return what only a scenario has."""
        found: Record = {}
        if any(name != stage.phase for name, stage in self.stages.items()):
            found["stages"] = {name: self._stage(stage) for name, stage in self.stages.items()}
        if self.groups:
            found["groups"] = {
                name: {
                    "connected": group.connected,
                    **{count: group.counts[count] for count in COUNTED},
                    "closed": dict(group.closed),
                    "delivery": latency_figures(group.delivery),
                }
                for name, group in self.groups.items()
            }
        if self.spread.count:
            found["spread"] = latency_figures(self.spread)
        return found

    @staticmethod
    def _stage(stage: StageSum) -> Record:
        latencies = {"delivery": stage.delivery, "order": stage.response, "connect": stage.connect_response}
        return {
            **stage.as_dict(),
            "latencies": {name: latency_figures(histogram) for name, histogram in latencies.items()},
        }


def lost(counters: Mapping[str, int]) -> int:
    """Return the updates that did not come, whether or not the server told."""
    return counters["missing"] + counters["told_missing"]


SCALARS = (
    *("delivered", *_CHECKED, "lost", "stale", "other"),
    *("connects", "disconnects", "given_up", "errors"),
    *(f"orders_{end}" for end in ("sent", *_ENDS, "outstanding", "late", "unexpected", "unsent", "unanswered")),
    *("delivered_per_s", "data_bytes_per_s", "orders_sent_per_s", "orders_answered_per_s"),
)
"""What `scalars` has a number for."""
CHECKED_SCALARS = (*_CHECKED, "lost")
"""Of them, what is known only where updates have a sequence."""


def scalars(figures: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the single numbers that a requirement may name (`SCALARS`), None where it was not checked.

    Args:
        figures: `Figures.as_dict`.
    """
    orders = figures["orders"]
    due = orders["sent"] + orders["unsent"]
    return {
        **{name: count for name, count in figures["streams"].items() if name != "silence_us"},
        **{name: figures["connections"][name] for name in ("connects", "disconnects", "given_up")},
        "errors": sum(figures["errors"].values()),
        **{f"orders_{name}": count for name, count in orders.items()},
        "orders_unanswered": due - orders["answered"] - orders["rejected"],
        **figures["rates"],
    }
