"""PURE: the rows of the live table, and the text of the summary. Called by `show.py` once a second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from execgate.demo.verdict import Check
from execgate.measure.histogram import Histogram

_COLUMNS = ("clients", "delivered/s", "orders/s", "p50 ms", "p99 ms", "gaps", "cpu %", "memory MiB")
_MIB = 1024 * 1024
_WIDTHS = tuple(max(8, len(name)) for name in _COLUMNS)


@dataclass(frozen=True, slots=True)
class Load:
    """What the daemons (publisher and gateways with their workers) cost: CPU of one core, resident memory."""

    cpu_percent: float
    memory_mib: float


def load_of(cpu_s: float, rss_bytes: int, seconds: float) -> Load:
    """Return the load of processes that used `cpu_s` in `seconds` and have `rss_bytes` now."""
    return Load(100 * cpu_s / seconds if seconds else 0.0, rss_bytes / _MIB)


def latency_of(records: Sequence[Mapping[str, Any]]) -> Histogram:
    """Return the delivery latencies of interval records, in microseconds."""
    histogram = Histogram()
    for record in records:
        histogram.add((int(bucket), count) for bucket, count in record["delivery_us"].items())
    return histogram


def heading() -> str:
    """Return the table's heading."""
    return "  ".join(name.rjust(width) for name, width in zip(_COLUMNS, _WIDTHS, strict=True))


def row(
    pubsub: Mapping[str, Any],
    orders: Sequence[Mapping[str, Any]],
    order_clients: int,
    gaps: int,
    load: Load,
) -> str:
    """Return one row.

    Args:
        pubsub: the subscribers' record of this second.
        orders: the order clients' records since the last row; two programs' seconds drift, so maybe none.
        order_clients: how many of them are connected.
        gaps: of all subscribers since the start, told or not.
        load: of the daemons since the last row.
    """
    latency = latency_of([pubsub])
    orders_s = sum(record["seconds"] for record in orders)
    answered = sum(record["orders_answered"] for record in orders)
    cells = (
        f"{pubsub['connected'] + order_clients}",
        f"{pubsub['delivered'] / pubsub['seconds']:.0f}",
        f"{answered / orders_s:.0f}" if orders_s else "-",
        milliseconds(latency.percentile(50)),
        milliseconds(latency.percentile(99)),
        f"{gaps}",
        f"{load.cpu_percent:.0f}",
        f"{load.memory_mib:.0f}",
    )
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))


def milliseconds(value_us: int | None) -> str:
    """Return microseconds as text in milliseconds, "-" where nothing was measured."""
    return "-" if value_us is None else f"{value_us / 1000:.2f}"


def summary_text(summary: Mapping[str, Any], checks: Sequence[Check]) -> str:
    """Return the summary for people, its verdict last."""
    latency, orders = summary["delivery_us"], summary["orders"]
    lines = [
        "",
        f"measured {summary['steady_s']:.1f} s with all {summary['subscribers']} subscribers connected: "
        f"{summary['delivered_per_s']:,.0f} updates/s delivered",
        f"delivery latency: p50 {milliseconds(latency['p50'])} ms, p99 {milliseconds(latency['p99'])} ms, "
        f"max {milliseconds(latency['max'])} ms",
        f"orders: {orders['sent']:,} sent, {orders['answered']:,} answered, {orders['rejected']:,} rejected, "
        f"{orders['timed_out']:,} timed out, {orders['disconnected']:,} disconnected",
        f"publisher and gateways: {summary['cpu_percent']:.0f} % of a core, "
        f"{summary['memory_mib_peak']:.0f} MiB at most",
        *(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.found}" for check in checks),
        "verdict: " + ("PASS" if all(check.passed for check in checks) else "FAIL"),
    ]
    return "\n".join(lines)
