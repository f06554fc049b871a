"""What is read off a run under overload: pure functions of what its clients and its watch have noted."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.running import Figures
from benchmarks.watching import Answer, Sample
from execgate.wire.events import PLAIN

INTERVAL_US = 100_000
_SETTLED_INTERVALS = 10
_NORMAL_US = 10_000  # a p99 up to it is normal, whatever it was before


@dataclass(frozen=True, slots=True)
class Interval:
    """What came in the tenth of a second that ended at `wall_us`; latencies are those of the measured ones.

    `arrived_p99_us` and `arrived_max_us` are until the kernel had it, where the client notes that (`stamps`).
    """

    wall_us: int
    measured: int
    p99_us: float
    max_us: float
    skimmed_bytes: int
    arrived_p99_us: float = 0
    arrived_max_us: float = 0


@dataclass(frozen=True, slots=True)
class OrderAnswer:
    """An order, from when it was due to its answer."""

    due_us: int
    took_us: int


@dataclass(frozen=True, slots=True)
class Phases:
    """When, on the wall clock in µs, the calm before begins, the load begins, and the load ends."""

    calm_us: int
    load_us: int
    after_us: int


def intervals_in(lines: Iterable[str]) -> list[Interval]:
    """Read the client's `interval` lines."""
    found = [line.split(" ")[1:] for line in lines if line.startswith("interval ")]
    return [
        Interval(int(wall), int(n), float(p99), float(most), int(size), *map(float, arrived))
        for wall, n, p99, most, size, *arrived in found
    ]


def answers_in(lines: Iterable[str]) -> list[OrderAnswer]:
    """Read the client's `order` lines."""
    found = [line.split(" ")[1:] for line in lines if line.startswith("order ")]
    return [OrderAnswer(int(wall) - int(took), int(took)) for wall, took in found]


def of_subscribers(intervals: Sequence[Interval], phases: Phases, size: int) -> Figures:
    """Return what subscribers got under load, how late, and how soon it was as before."""
    wire_bytes = len(PLAIN.frame(bytes(size)))
    calm = [each for each in intervals if phases.calm_us < each.wall_us <= phases.load_us]
    load = [each for each in intervals if phases.load_us < each.wall_us <= phases.after_us]
    later = [each for each in intervals if each.wall_us > phases.after_us]
    delivered = sum(each.measured + each.skimmed_bytes / wire_bytes for each in load[1:])
    seconds = (load[-1].wall_us - load[0].wall_us) / 1e6 if load else 0
    before_us = max((each.p99_us for each in calm), default=0)
    return {
        "deliveries_per_s": delivered / seconds if seconds else None,
        "p99_before_us": before_us,
        "latest_us": max((each.max_us for each in [*load, *later]), default=None),
        "recover_s": recovery_s(later, phases.after_us, max(_NORMAL_US, 2 * before_us)),
    }


def recovery_s(later: Sequence[Interval], after_us: int, normal_us: float) -> float | None:
    """Return the seconds from the end of the load until p99 was normal for a second on end; None: it never was."""
    in_a_row = 0
    for each in later:
        in_a_row = in_a_row + 1 if each.measured and each.p99_us <= normal_us else 0
        if in_a_row == _SETTLED_INTERVALS:
            return max(0.0, (each.wall_us - after_us - _SETTLED_INTERVALS * INTERVAL_US) / 1e6)
    return None


def of_orders(answers: Sequence[OrderAnswer], phases: Phases) -> Figures:
    """Return how long the orders of the load took."""
    took = [each.took_us for each in answers if phases.load_us <= each.due_us < phases.after_us]
    return {"orders_answered": len(took), **_spread("order", took)}


def of_gateway(samples: Sequence[Sample], answers: Sequence[Answer], phases: Phases) -> Figures:
    """Return how long health took under load, and the gateway's memory and CPU."""
    health = [each for each in answers if phases.load_us <= each.due_us < phases.after_us]
    load = [each for each in samples if phases.load_us <= each.wall_us < phases.after_us]
    before = [each for each in samples if each.wall_us < phases.load_us]
    first, last = load[0], load[-1]
    wall_ns = (last.wall_us - first.wall_us) * 1000
    return {
        **_spread("health", [each.took_us for each in health]),
        "health_failed": sum(not each.is_good for each in health),
        "rss_before": before[-1].rss,
        "rss_peak": max(each.rss for each in samples),
        "rss_after": samples[-1].rss,
        "server_busy": (last.server_ns - first.server_ns) / wall_ns,
        "client_core_busy": (last.client_ns - first.client_ns) / wall_ns,
    }


def _spread(name: str, took: Sequence[int]) -> Figures:
    ranked = sorted(took)

    def percentile(percent: float) -> int | None:
        return ranked[math.ceil(len(ranked) * percent / 100) - 1] if ranked else None

    return {f"{name}_p50_us": percentile(50), f"{name}_p99_us": percentile(99), f"{name}_max_us": percentile(100)}
