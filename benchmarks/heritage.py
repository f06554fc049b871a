"""2012's experiment: its updates, to more and more connections, past the 17,000 at which it ended."""

from benchmarks.case import Case, Column
from benchmarks.columns import COST, FAILED, MEMORY, P50, P99, SHARE
from benchmarks.running import Work

_MEAN_INTERVAL_S = 0.060
"""An update came every 10 to 110 ms."""
_FILES = 20_000
"""That a process may open on the reference machine; a few are the gateway's own."""


def _work(connections: int, rate: float = 1 / _MEAN_INTERVAL_S) -> Work:
    flags = ("--max-connections", str(_FILES - 200))
    return Work(connections, rate, 10, rows=2, connect_rate=1_000, flags=flags)


HERITAGE = Case(
    "experiment-2012",
    "the updates of 2012 to 2,000 and up to 19,500 connections, next to socket.io",
    (
        COST,
        FAILED,
        Column("missing", "lost", "{:,.0f}"),
        SHARE,
        P50,
        P99,
        Column("server_busy", "core", "{:.0%}"),
        MEMORY,
    ),
    _work(17_500),
    variants={
        **{f"{count:,}": _work(count) for count in (2_000, 5_000, 10_000, 17_500, 19_500)},
        "19,500, 1/s": _work(19_500, 1),
    },
    note="""\
Two random rows of 2012 every 60 ms, which is the mean of its 10 to 110 ms. `lost` is what clients missed between
two updates that they got; `delivered` is what came within the measured time: what a server has not sent then, it
has only promised.""",
    beside="socketio",
)
