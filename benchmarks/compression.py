"""What permessage-deflate costs and saves: with clients that offer it or not, and for an update by itself."""

import time

from benchmarks.case import Case, Column
from benchmarks.columns import COST, SHARE
from benchmarks.feeder import full, random_execs
from benchmarks.running import Figures, Work
from benchmarks.servers import Server
from execgate.wire.deflate import DEFLATED, WINDOW_BITS
from execgate.wire.events import PLAIN, Envelope

_TS_US, _TOPIC = 1_795_000_000_000_000, "ex.QQQ."


def measure_update(_server: Server, work: Work) -> Figures:
    """Frame updates of `work.rows` rows, plain and compressed; return bytes and CPU of one."""
    rows = work.rows or 0
    execs = random_execs(rows)
    updates = [full(seq, _TS_US + seq, text, _TOPIC, rows).encode() for seq, text in enumerate(execs, 1)]
    plain, plain_us = _cost(PLAIN, updates)
    compressed, compressed_us = _cost(DEFLATED[WINDOW_BITS], updates)
    return {
        "plain_bytes": plain,
        "compressed_bytes": compressed,
        "saved_share": 1 - compressed / plain,
        "plain_us": plain_us,
        "compressed_us": compressed_us,
        "void": "",
    }


def _cost(envelope: Envelope, updates: list[bytes]) -> tuple[float, float]:
    """Return the bytes on the wire and the microseconds of one update."""
    start_s = time.process_time()
    size = sum(len(envelope.frame(data)) for data in updates)
    return size / len(updates), (time.process_time() - start_s) / len(updates) * 1e6


def _work(rows: int, *, deflate: bool) -> Work:
    return Work(300, 200, 4, rows=rows, deflate=deflate, flags=("--deflate",))


COMPRESSION = Case(
    "compression",
    "300 x 200/s of random rows of 2012, some by permessage-deflate: CPU and bytes a delivery",
    (
        COST,
        Column("us_per_update", "CPU µs/update", "{:,.0f}"),
        Column("bytes_per_item", "bytes", "{:,.0f}"),
        SHARE,
    ),
    _work(10, deflate=True),
    variants={
        f"{rows} rows{', deflate' if deflate else ''}": _work(rows, deflate=deflate)
        for rows in (3, 10, 40)
        for deflate in (False, True)
    },
    note="Every gateway runs with `--deflate`; a row's clients offer it or not.",
    reference="3 rows",
)

COMPRESSION_UPDATE = Case(
    "compression-update",
    "an update of random rows of 2012, framed plain and compressed: CPU and bytes, without a gateway",
    (
        Column("compressed_us", "CPU µs", "{:.1f}"),
        Column("plain_us", "plain", "{:.1f}"),
        Column("compressed_bytes", "bytes", "{:,.0f}"),
        Column("plain_bytes", "plain", "{:,.0f}"),
        Column("saved_share", "saved", "{:.0%}"),
    ),
    None,
    variants={
        "1 row" if rows == 1 else f"{rows} rows": Work(0, 0, 0, rows=rows) for rows in (0, 1, 2, 3, 10, 40, 100)
    },
    reference="",
    measure=measure_update,
)
