"""The columns that several cases have in common."""

from benchmarks.case import Column

COST = Column("us_per_item", "CPU µs")
SHARE = Column("delivered_share", "delivered", "{:.2%}")
P50 = Column("p50_us", "p50 ms", "{:.1f}", 1000)
P99 = Column("p99_us", "p99 ms", "{:.1f}", 1000)
CORE = Column("server_busy", "core", "{:.0%}")
MEMORY = Column("kib_per_connection", "KiB each")
ACCEPT = Column("accept_us", "accept CPU µs", "{:.0f}")
FAILED = Column("failed", "failed", "{:.0f}")
FANOUT = (COST, SHARE, P50, P99, CORE)
