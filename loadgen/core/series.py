"""PURE: a run's records as lines of a chart and rows of a CSV file. Called by `report.py`."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from math import log10
from typing import Any

from loadgen.core.figures import BEYOND, HOPS, LATENCIES, Figures, latency_figures, lost, quoted
from loadgen.core.summary import PERCENTILES, Summary

MOST_POINTS = 1000
"""That a chart is given: a longer run's records are added up, several to a point."""
_STEPS_A_DECADE = 20
_US_PER_MS = 1000
_LEAST_S = 0.1
"""A shorter record, such as that of a drain in which every answer was there at once, says nothing of rates."""


def points(records: Iterable[Mapping[str, Any]], together: int, start_s: float) -> Iterator[dict[str, Any]]:
    """Yield what is charted and written as CSV.

    Args:
        records: of a run, in order.
        together: how many are added up to one point.
        start_s: wall-clock seconds since 1970 from which times count.
    """
    rest = iter(records)
    while group := list(islice(rest, together)):
        yield _point(group, start_s)


def _point(group: list[Mapping[str, Any]], start_s: float) -> dict[str, Any]:
    """Add records up to one point: counts of a second, percentiles in ms, the greatest of what is a greatest."""
    counts, last = Summary(group), group[-1]
    told, seconds = counts.counts(), counts.seconds
    point: dict[str, Any] = {
        "t_s": round(last["t"] - start_s, 3),
        "seconds": round(seconds, 3),
        "phase": last["phase"],
        "stage": last.get("stage"),
        "connected": last["connected"],
        "clients": last["clients"],
    }
    for name in ("delivered", "orders_sent", "orders_answered"):
        point[f"{name}_per_s"] = _ratio(told[name], seconds)
    for latency in ("delivery", "order", "order_service"):
        figures = latency_figures(counts.histogram(LATENCIES[latency][0]))
        for name in PERCENTILES:
            value = figures[name]
            point[f"{latency}_{name}_ms"] = None if value is None else value / _US_PER_MS
    is_checked = not told["unnumbered"]
    point["lost"] = lost(told) if is_checked else None
    for name in ("duplicates", "reorders"):
        point[name] = told[name] if is_checked else None
    for name in ("stale", "orders_timed_out", "orders_disconnected", "disconnects"):
        point[name] = told[name]
    point["errors"] = sum(told["errors"].values())
    point["client_cpu"] = _ratio(told["cpu_s"], seconds)
    for name in ("loop_lag_us", "behind_us"):
        point[name.replace("_us", "_ms")] = max(record[name] for record in group) / _US_PER_MS
    unread_us = quoted(counts.histogram("unread_us"), 99)
    point["unread_p99_ms"] = None if unread_us is None else unread_us / _US_PER_MS
    point["client_rss_mib"] = _mebibytes(max(record["rss_bytes"] for record in group))
    if "server_cpu_s" in last:
        point["server_cpu"] = _ratio(sum(record["server_cpu_s"] for record in group), seconds)
        point["server_rss_mib"] = _mebibytes(max(record["server_rss_bytes"] for record in group))
    point["machine_busy"] = _ratio(sum(r["machine_busy_share"] * r["seconds"] for r in group), seconds)
    return point


def curves(figures: Figures) -> dict[str, list[tuple[float, float]]]:
    """Return the percentile curve of each latency: (percent, ms), as far as there are samples for it."""
    found = {}
    for name in (name for name in LATENCIES if name not in HOPS):
        histogram = figures.histogram(name)
        if histogram.count < 2 * BEYOND:
            continue
        steps = int(log10(histogram.count / BEYOND) * _STEPS_A_DECADE + 1e-9)
        percents = [100 * (1 - 10 ** (-step / _STEPS_A_DECADE)) for step in range(steps + 1)]
        found[name] = [(percent, (histogram.percentile(percent) or 0) / _US_PER_MS) for percent in percents]
    return found


def _ratio(amount: float, seconds: float) -> float | None:
    return round(amount / seconds, 4) if seconds >= _LEAST_S else None


def _mebibytes(value: int) -> float:
    return round(value / 2**20, 2)
