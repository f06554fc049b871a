"""Records of a run, as `run.py` writes them, for tests of what is made from them."""

from collections.abc import Iterable
from typing import Any

from execgate.measure.histogram import Histogram
from loadgen.core.figures import MEASURE
from loadgen.core.recorder import Recorder

CALM = {
    "cpu_share": 0.2,
    "cpu_wait_share": 0.002,
    "machine_busy_share": 0.3,
    "steal_share": 0.0,
    "softirq_share": 0.02,
    "behind_us": 900,
    "clock_step_us": 1,
}
"""The load generator's health, in a record of a run that may be believed."""
GAUGES = {"clients": 2, "orders_outstanding": 0, "cpu_s": 0.2, "rss_bytes": 1 << 25, "loop_lag_us": 300}


def histogram(values_us: Iterable[int]) -> dict[int, int]:
    """The buckets of some values."""
    made = Histogram()
    for value in values_us:
        made.record(value)
    return dict(made.sparse())


def record(phase: Any = MEASURE, seconds: Any = 1.0, **fields: Any) -> dict[str, Any]:
    """One record; two clients are connected unless `fields` says otherwise."""
    gauges = {**GAUGES, "silence_us": 0, **CALM}
    made = Recorder(Histogram()).take(1000.0, seconds, {}, gauges)
    return {"phase": phase, **made, "connected": 2, "connected_low": 2, "connects": 2, **fields}
