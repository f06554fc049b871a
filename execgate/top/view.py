"""PURE: two looks at the metrics of many processes, as rows of figures and as a screen. Called by `app.py`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from execgate.measure.buckets import BOUNDS_S

Samples = Mapping[tuple[str, str], float]
"""(name, the label's value or "") -> value."""
Row = dict[str, Any]

OVER_S = 1_000_000.0
"""Stands for a duration over the last bound, 10 s: JSON knows no infinity."""
SLOWEST_SHOWN = 10
_GATEWAY, _PUBLISHER = "execgate_gateway_", "execgate_publisher_"


@dataclass(frozen=True, slots=True)
class Look:
    """What one process said.

    Attributes:
        name: its address.
        at_s: monotonic time.
        samples: empty where it did not answer.
        failure: why it did not.
    """

    name: str
    at_s: float
    samples: Samples
    failure: str | None


class Between:
    """Figures of one process between two looks; None where one of them lacks it, or a counter began anew."""

    def __init__(self, before: Look, after: Look) -> None:
        self._before, self._after = before, after
        self._seconds = after.at_s - before.at_s

    def now(self, name: str) -> float | None:
        """Return the sum of a metric over its label, now."""
        found = [value for (one, _), value in self._after.samples.items() if one == name]
        return sum(found) if found else None

    def rate(self, name: str, label: str | None = None) -> float | None:
        """Return the growth of a counter a second, over all values of its label or of one."""
        sums = [
            [value for (one, value_of), value in look.samples.items() if one == name and label in (None, value_of)]
            for look in (self._before, self._after)
        ]
        if not all(sums) or self._seconds <= 0:
            return None
        grown = sum(sums[1]) - sum(sums[0])
        return grown / self._seconds if grown >= 0 else None

    def p99(self, name: str) -> float | None:
        """Return the least bound, in seconds, that 99 % of what was observed in between keep; None of nothing.

        What none of the bounds holds is told as `OVER_S`.
        """
        bucket = f"{name}_bucket"
        grown = {
            bound: value - self._before.samples.get((name_of, bound), 0.0)
            for (name_of, bound), value in self._after.samples.items()
            if name_of == bucket
        }
        count = grown.get("+Inf", 0.0)
        if count <= 0:
            return None
        return next((s for s in BOUNDS_S if grown.get(repr(s), 0.0) >= 0.99 * count), OVER_S)


def rows(before: Sequence[Look], after: Sequence[Look]) -> dict[str, list[Row]]:
    """Return the figures of each gateway, each publisher, and what gave none (`silent`)."""
    found: dict[str, list[Row]] = {"gateways": [], "publishers": [], "silent": []}
    for first, last in zip(before, after, strict=True):
        between = Between(first, last)
        common: Row = {"name": last.name}
        if last.failure is not None:
            found["silent"].append({**common, "why": last.failure})
        elif between.now(f"{_GATEWAY}ready") is not None:
            found["gateways"].append(common | {key: figure(between) for key, figure, _, _ in _OF_GATEWAY})
        elif between.now(f"{_PUBLISHER}ready") is not None:
            found["publishers"].append(common | {key: figure(between) for key, figure, _, _ in _OF_PUBLISHER})
        else:
            found["silent"].append({**common, "why": "its metrics are not of execgate"})
    return found


def screen(found: Mapping[str, Sequence[Row]], width: int) -> list[str]:
    """Return the lines of the view, none longer than `width`."""
    lines: list[str] = []
    for title, kind, columns in (("gateway", "gateways", _OF_GATEWAY), ("publisher", "publishers", _OF_PUBLISHER)):
        if found[kind]:
            shown = [(key, heading, show) for key, _, heading, show in columns]
            lines += [*_table(title, found[kind], shown), ""]
    if slow := sorted(found.get("slowest", ()), key=lambda row: -row["queued_bytes"])[:SLOWEST_SHOWN]:
        lines += [*_table("slowest consumers", [{**row, "name": row["session"]} for row in slow], _OF_SESSION), ""]
    lines += [f"{row['name']}: {row['why']}" for row in found["silent"]]
    return [line[:width].rstrip() for line in lines]


def _table(title: str, of: Sequence[Row], columns: "Sequence[Shown]") -> list[str]:
    cells = [[title, *(heading for _, heading, _ in columns)]]
    cells += [[str(row["name"]), *(_text(row[key], show) for key, _, show in columns)] for row in of]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(size) for cell, size in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]


def _text(value: Any, show: Callable[[Any], str]) -> str:
    return "-" if value is None else show(value)


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _ms(value_s: float) -> str:
    return f">{BOUNDS_S[-1]:g} s" if value_s == OVER_S else f"{value_s * 1000:,.3g}"


def _mib(value: float) -> str:
    return f"{value / 2**20:,.0f}" if value >= 10 * 2**20 or value == 0 else f"{value / 2**20:.1f}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


Figure = Callable[[Between], float | None]
Column = tuple[str, Figure, str, Callable[[Any], str]]
"""Key for programs, figure, heading, how it is shown."""
Shown = tuple[str, str, Callable[[Any], str]]
"""Key, heading, how it is shown."""


def _now(name: str) -> Figure:
    return lambda between: between.now(name)


def _rate(name: str, label: str | None = None) -> Figure:
    return lambda between: between.rate(name, label)


def _p99(name: str) -> Figure:
    return lambda between: between.p99(name)


_OF_SESSION: tuple[Shown, ...] = (
    ("address", "address", str),
    ("mode", "mode", str),
    ("age_s", "age s", _count),
    ("queued_updates", "waiting", _count),
    ("queued_bytes", "KiB", lambda size: f"{size / 1024:,.0f}"),
    ("dropped", "dropped", _count),
    ("conflated", "merged", _count),
)
_OF_PROCESS: tuple[Column, ...] = (
    ("cpu_cores", _rate("process_cpu_seconds_total"), "cpu", _percent),
    ("rss_bytes", _now("process_resident_memory_bytes"), "MiB", _mib),
)
_OF_GATEWAY: tuple[Column, ...] = (
    ("ready", _now(f"{_GATEWAY}ready"), "ready", _count),
    ("workers", _now(f"{_GATEWAY}workers"), "of", _count),
    ("connections", _now(f"{_GATEWAY}connections"), "conns", _count),
    ("subscribers", _now(f"{_GATEWAY}subscribers"), "subs", _count),
    ("deliveries_per_s", _rate(f"{_GATEWAY}deliveries_total"), "deliv/s", _count),
    ("age_p99_s", _p99(f"{_GATEWAY}delivery_age_seconds"), "age p99 ms", _ms),
    ("lag_updates", _now(f"{_GATEWAY}feed_lag_updates"), "behind", _count),
    ("lag_s", _now(f"{_GATEWAY}feed_lag_seconds"), "lag ms", _ms),
    ("silence_s", _now(f"{_GATEWAY}feed_silence_seconds"), "silent ms", _ms),
    ("lost_per_s", _rate(f"{_GATEWAY}feed_missing_total"), "lost/s", _count),
    ("queue_bytes", _now(f"{_GATEWAY}queue_bytes"), "queue MiB", _mib),
    ("drops_per_s", _rate(f"{_GATEWAY}drops_total"), "drops/s", _count),
    ("conflated_per_s", _rate(f"{_GATEWAY}conflated_total"), "merged/s", _count),
    ("slow_closes_per_s", _rate(f"{_GATEWAY}closes_total", "4108"), "4108/s", _count),
    ("orders_per_s", _rate(f"{_GATEWAY}orders_total"), "orders/s", _count),
    ("loop_lag_p99_s", _p99(f"{_GATEWAY}loop_lag_seconds"), "loop p99 ms", _ms),
    *_OF_PROCESS,
)
_OF_PUBLISHER: tuple[Column, ...] = (
    ("ready", _now(f"{_PUBLISHER}ready"), "ready", _count),
    ("seq", _now(f"{_PUBLISHER}seq"), "seq", _count),
    ("updates_per_s", _rate(f"{_PUBLISHER}updates_total"), "updates/s", _count),
    ("refused_per_s", _rate(f"{_PUBLISHER}refusals_total"), "refused/s", _count),
    ("waiting_updates", _now(f"{_PUBLISHER}journal_waiting_updates"), "unkept", _count),
    ("commit_p99_s", _p99(f"{_PUBLISHER}journal_commit_duration_seconds"), "commit p99 ms", _ms),
    ("subscriptions", _now(f"{_PUBLISHER}subscriptions"), "gateways", _count),
    ("replayed_per_s", _rate(f"{_PUBLISHER}replayed_updates_total"), "replayed/s", _count),
    ("loop_lag_p99_s", _p99(f"{_PUBLISHER}loop_lag_seconds"), "loop p99 ms", _ms),
    *_OF_PROCESS,
)
