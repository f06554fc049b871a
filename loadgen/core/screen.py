"""PURE: what `run` shows while it goes: a screen on a terminal, else a line. Called by `live.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from execgate.measure.histogram import Histogram
from loadgen.core.figures import Figures, latency_figures, lost
from loadgen.core.summary import PERCENTILES

UNKNOWN = "-"
_SHOWN_ERRORS = 4
_LABEL, _COLUMN = 24, 9
_LEFT_OUT = ("p90", "p99.9", "p50")
"""Columns that a narrow terminal goes without, in this order."""
_ROWS = (("delivery", "delivery_us", "delivery"), ("order", "response_us", "order response"))


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    name: str
    phase: str
    phase_s: float
    of_s: float
    clients: int


def screen(progress: Progress, record: Mapping[str, Any], figures: Figures, width: int) -> list[str]:
    """Return the lines of the live view, none longer than `width`.

    Args:
        progress: where the run stands.
        record: of the interval that has just ended: "now".
        figures: of everything until now: "so far" is what was measured.
        width: of the terminal.
    """
    whole, measured = figures.whole.counts(), figures.measured.counts()
    seconds = figures.measured.seconds
    lines = [
        f"run {progress.name}: {progress.phase}, {progress.phase_s:.0f} of {progress.of_s:.0f} s",
        f"connected {record['connected']} of {progress.clients}; {whole['disconnects']} ended, "
        f"{whole['given_up']} given up",
        "",
        f"{'':<24}{'now':>12}{'so far':>12}",
    ]
    for what, name in (
        ("updates delivered/s", "delivered"),
        ("orders sent/s", "orders_sent"),
        ("orders answered/s", "orders_answered"),
    ):
        now = _rate(record[name], record["seconds"])
        lines.append(f"{what:<24}{now:>12}{_rate(measured[name], seconds):>12}")
    names = list(PERCENTILES)
    for name in _LEFT_OUT:
        if _LABEL + _COLUMN * len(names) > width:
            names.remove(name)
    lines += ["", f"{'ms':<{_LABEL}}" + "".join(f"{name:>{_COLUMN}}" for name in names)]
    for latency, field, what in _ROWS:
        so_far = figures.histogram(latency)
        if record[field] or so_far.count:
            lines.append(_latency_row(f"{what}, now", _histogram(record[field]), names))
            lines.append(_latency_row(f"{what}, so far", so_far, names))
    checked = (
        f"{whole['gaps']} gaps ({whole['missing']} missing), {whole['told_gaps']} told "
        f"({whole['told_missing']} missing), {whole['duplicates']} duplicates, {whole['reorders']} reorders"
    )
    lines += [
        "",
        f"streams: {'not checked' if whole['unnumbered'] else checked}, {whole['stale']} stale",
        f"errors: {_errors(whole['errors'])}",
        f"client: CPU {record['cpu_share']:.0%} of a core, waited for one {record['cpu_wait_share']:.1%}, "
        f"loop late {record['loop_lag_us'] / 1000:.1f} ms, "
        f"behind schedule {record['behind_us'] / 1000:.1f} ms, steal {record['steal_share']:.1%}, "
        f"read late {_ms(_histogram(record['unread_us']).percentile(99))} ms",
    ]
    return [part for line in lines for part in _folded(line, width)]


def line(progress: Progress, record: Mapping[str, Any], figures: Figures) -> str:
    """Return the same in one line, for a log."""
    whole = figures.whole.counts()
    words = [
        f"{progress.phase} {progress.phase_s:.0f}/{progress.of_s:.0f} s",
        f"connected={record['connected']}",
        f"delivered/s={_rate(record['delivered'], record['seconds'])}",
    ]
    for latency, field, _ in _ROWS:
        if record[field]:
            now = latency_figures(_histogram(record[field]))
            for name in ("p50", "p99", "max"):
                value = _ms(now[name])
                words.append(f"{latency}_{name}={value}" + ("" if value == UNKNOWN else "ms"))
    if whole["orders_sent"]:
        words.append(f"orders/s={_rate(record['orders_sent'], record['seconds'])}")
    words += [
        f"lost={'unknown' if whole['unnumbered'] else lost(whole)}",
        f"errors={sum(whole['errors'].values())}",
        f"cpu={record['cpu_share']:.0%}",
    ]
    return " ".join(words)


def _folded(line: str, width: int) -> list[str]:
    """Return a line as so many as it takes; one of a table has no sentence to fold and is cut."""
    if len(line) <= width or "  " in line:
        return [line[:width]]
    return wrap(line, width, subsequent_indent="  ")


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds:,.0f}" if seconds else UNKNOWN


def _ms(value_us: int | None) -> str:
    return UNKNOWN if value_us is None else f"{value_us / 1000:.2f}"


def _histogram(buckets: Mapping[int, int]) -> Histogram:
    histogram = Histogram()
    histogram.add(buckets.items())
    return histogram


def _latency_row(what: str, histogram: Histogram, names: Sequence[str]) -> str:
    figures = latency_figures(histogram)
    return f"{what:<{_LABEL}}" + "".join(f"{_ms(figures[name]):>{_COLUMN}}" for name in names)


def _errors(errors: Mapping[str, int]) -> str:
    most: Sequence[tuple[str, int]] = sorted(errors.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{kind} {count}" for kind, count in most[:_SHOWN_ERRORS])
    more = len(most) - _SHOWN_ERRORS
    return (shown or "none") + (f" and {more} more kinds" if more > 0 else "")
