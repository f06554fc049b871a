"""The cases, in the order of the list and the page; those that take more words are in modules of their own."""

from benchmarks.case import Case, Column
from benchmarks.columns import ACCEPT, CORE, COST, FAILED, FANOUT, MEMORY, P50, P99, SHARE
from benchmarks.compression import COMPRESSION, COMPRESSION_UPDATE
from benchmarks.feeder import FULL_FROM_BYTES
from benchmarks.heritage import HERITAGE
from benchmarks.knee import KNEE
from benchmarks.lagging import SLOW, STUCK
from benchmarks.loadgen_cost import LOADGEN_COST
from benchmarks.overload import OVERLOAD
from benchmarks.rolling import ROLLING
from benchmarks.running import Work, take_only
from benchmarks.storm import STORM
from benchmarks.tls import TLS
from benchmarks.topics import TOPICS

_ORDERS = (COST, Column("orders_answered", "answered", "{:,.0f}"), P50, P99, CORE)


def _rate_of_size(size: int) -> float:
    return 4 if size > 10_000 else 20  # 64 KiB: 262 MB/s are what one core can send with room to spare


_SMALL = f"""\
Below {FULL_FROM_BYTES} B there is no room for all fields of an update: the data has only what the client checks
(`ts_us`, `seq`, `execs`). A gateway passes data on as it is."""

_ALL = (
    Case("fanout", "1,000 x 20 updates/s of 500 B: CPU a delivery", FANOUT, Work(1_000, 20, 8)),
    Case("fanout-100", "1,000 x 100/s: delivered, and how late", FANOUT, Work(1_000, 100, 8)),
    KNEE,
    Case(
        "orders-closed",
        "orders over 100 connections, each sends when it was answered: CPU an order",
        _ORDERS,
        Work(100, 0.5, 6, orders="closed"),
        reference="ws",
        needs_orders=True,
    ),
    Case(
        "orders-open",
        "5,000 orders/s over 1,000 connections on a schedule: CPU an order",
        _ORDERS,
        Work(1_000, 0.5, 6, orders="5000"),
        reference="ws",
        needs_orders=True,
    ),
    *(
        Case(
            f"idle-{count}",
            f"{count:,} idle connections: memory each, CPU an accept",
            (MEMORY, ACCEPT, FAILED),
            Work(count, 0.5, 4),
            reference="ws",
        )
        for count in (5_000, 15_000)
    ),
    Case(
        "crowd",
        "15,000 connections at 2,000/s new, 1 update/s to all: failures, losses, spread",
        (
            Column("spread_mean_us", "spread ms", "{:.1f}", 1000),
            FAILED,
            Column("missing", "lost", "{:.0f}"),
            SHARE,
            COST,
        ),
        Work(15_000, 1, 10),
    ),
    *(
        Case(
            f"subscribers-{count}",
            f"20,000 deliveries/s to {count:,} subscribers: does cost grow with the crowd?",
            FANOUT,
            Work(count, 20_000 / count, 6),
        )
        for count in (100, 1_000, 5_000, 15_000)
    ),
    TOPICS,
    STUCK,
    SLOW,
    OVERLOAD,
    STORM,
    ROLLING,
    Case(
        "feed",
        "50,000 updates/s of 250 B to 10 subscribers of 1 % of the topics each: CPU an update taken in",
        (Column("us_per_update", "CPU µs"), CORE, P50, P99),
        Work(10, 50_000, 5, size=250, topics=100, say=lambda _index: take_only(["ex.S7."])),
        only_ours=True,
        reference="",
    ),
    *(
        Case(
            f"size-{size}",
            f"1,000 x {_rate_of_size(size):g}/s of {size:,} B",
            FANOUT,
            Work(1_000, _rate_of_size(size), 6, size=size),
            note="" if size >= FULL_FROM_BYTES else _SMALL,
        )
        for size in (100, 500, 4_096, 65_536)
    ),
    TLS,
    COMPRESSION,
    COMPRESSION_UPDATE,
    LOADGEN_COST,
    HERITAGE,
)

CASES = {case.name: case for case in _ALL}
