"""What a program tells Prometheus: a table of metrics, and how the figures of several processes become one.

Pure. A program has a table of `Metric`s and makes *figures*: the value of each by its name. A value is a number;
numbers by label value, where the metric has a label; or what `Buckets.figures` returns. `execgate.service.metrics`
writes them as text; docs/metrics.md explains every row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

Figures: TypeAlias = dict[str, Any]


class Kind(StrEnum):
    """Of a metric, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Over(StrEnum):
    """What a gauge of several processes is; counters and histograms are always added."""

    SUM = "sum"
    MOST = "most"
    LEAST = "least"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of a table.

    Attributes:
        name: in full, with its unit and `_total`.
        kind: what it is.
        help: one sentence.
        label: the label whose values its figures are keyed by; None for one number.
        values: of the label, that stand from the start, at 0.
        over: what becomes of a gauge of several processes.
    """

    name: str
    kind: Kind
    help: str
    label: str | None = None
    values: tuple[str, ...] = ()
    over: Over = Over.SUM


def counter(name: str, sentence: str, label: str | None = None, values: Sequence[str] = ()) -> Metric:
    """Return a row for what only grows."""
    return Metric(name, Kind.COUNTER, sentence, label, tuple(values))


def gauge(
    name: str, sentence: str, over: Over = Over.SUM, label: str | None = None, values: Sequence[str] = ()
) -> Metric:
    """Return a row for what goes up and down."""
    return Metric(name, Kind.GAUGE, sentence, label, tuple(values), over)


def histogram(name: str, sentence: str) -> Metric:
    """Return a row for durations in `Buckets`."""
    return Metric(name, Kind.HISTOGRAM, sentence)


PROCESS = (
    gauge("execgate_build_info", "1, with the version that runs.", Over.MOST, "version"),
    counter("process_cpu_seconds_total", "User and system CPU time, in seconds."),
    gauge("process_resident_memory_bytes", "Resident memory, in bytes."),
    gauge("process_open_fds", "Open file descriptors; of several processes the most.", Over.MOST),
    gauge("process_max_fds", "File descriptors that may be open; of several processes the least.", Over.LEAST),
    gauge("process_start_time_seconds", "Start of the process, in seconds since 1970.", Over.LEAST),
)
"""What every program tells of itself, under the names that Prometheus' own clients use."""


def add_up(table: Iterable[Metric], reports: Sequence[Figures]) -> Figures:
    """Return the figures of several processes as one; a metric that none of them has is left out."""
    total: Figures = {}
    for metric in table:
        values = [report[metric.name] for report in reports if metric.name in report]
        if not values:
            continue
        if isinstance(values[0], Mapping):
            keys = dict.fromkeys(key for value in values for key in value)
            total[metric.name] = {key: _one(metric, [v[key] for v in values if key in v]) for key in keys}
        else:
            total[metric.name] = _one(metric, values)
    return total


def _one(metric: Metric, values: Sequence[float]) -> float:
    if metric.kind is not Kind.GAUGE or metric.over is Over.SUM:
        return sum(values)
    return max(values) if metric.over is Over.MOST else min(values)


def counted(table: Iterable[Metric], figures: Figures) -> Figures:
    """Return the figures that outlive their process: what it counted, and not how it was."""
    return {
        metric.name: figures[metric.name]
        for metric in table
        if metric.kind is not Kind.GAUGE and metric.name in figures
    }
