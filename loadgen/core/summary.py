"""PURE: the report of a run, made from its interval records and nothing else.

Called at the end of a run with the records as they were written; a stored interval log gives the same report.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from execgate.measure.histogram import Histogram
from loadgen.core.recorder import COUNTERS, HISTOGRAMS, Record

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
_ORDER_ENDS = ("answered", "rejected", "timed_out", "disconnected")


class Summary:
    """Interval records added up. Memory does not grow with the length of the run."""

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._counters: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._histograms = {name: Histogram() for name in HISTOGRAMS}
        self._seconds = 0.0
        self._cpu_s = 0.0
        self._peaks: Counter[str] = Counter()
        self._last: Mapping[str, Any] = {}
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add one interval; buckets may be numbers or, as JSON has them, text."""
        for name in COUNTERS:
            self._counters[name] += record.get(name, 0)  # a run that is kept may be older than a counter
        self._errors.update(record["errors"])
        for name in HISTOGRAMS:
            self._histograms[name].add((int(bucket), count) for bucket, count in record.get(name, {}).items())
        self._seconds += record["seconds"]
        self._cpu_s += record["cpu_s"]
        for name in ("clients", "connected", "rss_bytes", "loop_lag_us"):
            self._peaks[name] = max(self._peaks[name], record[name])
        self._last = record

    @property
    def seconds(self) -> float:
        """The length of all intervals together."""
        return self._seconds

    def histogram(self, name: str) -> Histogram:
        """Return one of `HISTOGRAMS`, to be read."""
        return self._histograms[name]

    def as_dict(self) -> Record:
        """Return the summary: counters of the whole run, percentiles in microseconds, peaks."""
        return {
            **self.counts(),
            **{name: percentiles(histogram) for name, histogram in self._histograms.items()},
        }

    def counts(self) -> Record:
        """Return the summary without its percentiles, which take the time to walk through all buckets."""
        return {
            "seconds": round(self._seconds, 3),
            "clients": self._peaks["clients"],
            "connected_peak": self._peaks["connected"],
            "connected_at_end": self._last.get("connected", 0),
            **{name: self._counters[name] for name in COUNTERS},
            "orders_outstanding": self._last.get("orders_outstanding", 0),
            "errors": dict(self._errors),
            "cpu_s": round(self._cpu_s, 3),
            "rss_bytes_peak": self._peaks["rss_bytes"],
            "loop_lag_us_peak": self._peaks["loop_lag_us"],
        }


def percentiles(histogram: Histogram) -> dict[str, int | None]:
    """Return the quoted percentiles of a histogram, None where it is empty, and its count."""
    found: dict[str, int | None] = {name: histogram.percentile(at) for name, at in PERCENTILES.items()}
    return {"count": histogram.count, **found}


def contiguity(summary: Mapping[str, Any], broken: Mapping[str, str]) -> str:
    """Say whether the streams were whole.

    Args:
        summary: of the run.
        broken: the first clients whose streams were not, by name, with what was wrong.
    """
    wrong = [
        f"{summary[count]} {what}"
        for count, what in (
            ("gaps", f"gaps ({summary['missing']} updates missing)"),
            ("duplicates", "duplicates"),
            ("reorders", "reorders"),
        )
        if summary[count]
    ]
    told = ""
    if summary["told_gaps"]:
        told = f"; the server told of {summary['told_gaps']} gaps ({summary['told_missing']} updates)"
    if not wrong:
        return f"streams: contiguous, {summary['delivered']} updates without gap, duplicate or reorder{told}"
    lines = [f"streams: NOT contiguous: {', '.join(wrong)}{told}"]
    lines += [f"  {name}: {what}" for name, what in broken.items()]
    return "\n".join(lines)


def describe(summary: Mapping[str, Any], broken: Mapping[str, str]) -> str:
    """Return the summary for people: a line each for connections, streams, orders, errors and cost."""
    lines = [
        f"ran {summary['seconds']:.1f} s; {summary['clients']} clients, {summary['connected_peak']} connected at "
        f"most, {summary['connected_at_end']} at the end; {summary['connects']} connects, "
        f"{summary['disconnects']} disconnects, {summary['given_up']} given up"
    ]
    if summary["delivered"] or not summary["orders_sent"]:
        lines.append(contiguity(summary, broken))
        lines.append(_times("delivery latency", summary["delivery_us"]))
    if summary["orders_sent"] or summary["orders_unsent"]:
        ends = ", ".join(f"{summary['orders_' + end]} {end.replace('_', ' ')}" for end in _ORDER_ENDS)
        lines.append(
            f"orders: {summary['orders_sent']} sent = {ends}, {summary['orders_outstanding']} outstanding; "
            f"{summary['orders_late']} late answers, {summary['orders_unexpected']} unexpected, "
            f"{summary['orders_unsent']} due but not sent"
        )
        lines.append(_times("order service time (from the real send)", summary["service_us"]))
        lines.append(_times("order response time (from when it was due)", summary["response_us"]))
    if summary["errors"]:
        lines.append("errors: " + ", ".join(f"{kind} {n}" for kind, n in sorted(summary["errors"].items())))
    lines.append(
        f"load generator: {summary['cpu_s']:.2f} s CPU, {summary['rss_bytes_peak'] / 2**20:.0f} MiB at most, "
        f"loop late by {summary['loop_lag_us_peak'] / 1000:.1f} ms at most"
    )
    return "\n".join(lines)


def _times(what: str, times: Mapping[str, int | None]) -> str:
    if not times["count"]:
        return f"{what}: nothing to measure"
    shown = ", ".join(f"{name} {(times[name] or 0) / 1000:.2f}" for name in PERCENTILES)
    return f"{what}, ms: {shown}"
