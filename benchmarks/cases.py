"""The cases: which work each is, what is read off a run, and what a row of its table shows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.running import Work, run
from benchmarks.servers import Server

Figures = dict[str, Any]

# A run is void when the measuring side was the bottleneck: its numbers would be the client's, not the server's.
CLIENT_BUSY_MOST = 0.92


@dataclass(frozen=True)
class Column:
    """A figure of a table: its key in the figures, its heading, its format."""

    key: str
    heading: str
    form: str = "{:.2f}"


@dataclass(frozen=True)
class Case:
    """One question.

    Attributes:
        name, question: as `list` shows them.
        measure: runs it once against one server.
        columns: of its table; the first is what ratios are taken of (less is better unless `more_is_better`).
        reference: the server that ratios refer to.
        needs_orders: whether a server must take our orders.
    """

    name: str
    question: str
    measure: Callable[[Server], Figures]
    columns: tuple[Column, ...]
    reference: str = "limit"
    needs_orders: bool = False
    more_is_better: bool = False


def is_void(figures: Figures) -> str:
    """Return why a run must not be believed, "" if it may."""
    if figures["client_busy"] > CLIENT_BUSY_MOST and figures["server_busy"] < figures["client_busy"]:
        return f"the client was the bottleneck ({figures['client_busy']:.0%} busy)"
    if figures["content_differs"]:
        return f"{figures['content_differs']} copies of an update differed"
    return ""


_COST = Column("us_per_item", "CPU µs")
_SHARE = Column("delivered_share", "delivered", "{:.2%}")
_P50 = Column("p50_us", "p50 ms", "{:.1f}")
_P99 = Column("p99_us", "p99 ms", "{:.1f}")
_CORE = Column("server_busy", "core", "{:.0%}")
_FANOUT = (_COST, _SHARE, _P50, _P99, _CORE)
_ORDERS = (_COST, Column("orders_answered", "answered", "{:,.0f}"), _P50, _P99, _CORE)


def _one(work: Work) -> Callable[[Server], Figures]:
    return lambda server: run(server, work)


def find_knee(server: Server, subscribers: int = 1_000, seconds: float = 4.0) -> Figures:
    """Return the figures of the highest rate with >= 99.9 % delivered and p99 <= 50 ms, within 10 %.

    Doubles until a rate fails (twice, since one hiccup is not a limit), then halves the distance in between.
    """

    def holds(rate: float) -> Figures | None:
        for _ in range(2):
            figures = run(server, Work(subscribers, rate, seconds))
            good = figures["delivered_share"] >= 0.999 and figures["p99_us"] <= 50_000
            if good and not figures["closed_by_server"]:
                return figures
        return None

    low, best, rate = 0.0, None, 50.0
    while rate <= 6_400:
        figures = holds(rate)
        if figures is None:
            break
        low, best, rate = rate, figures, rate * 2
    high = rate
    while best is not None and high / low > 1.1:
        middle = (low * high) ** 0.5
        figures = holds(middle)
        if figures is None:
            high = middle
        else:
            low, best = middle, figures
    if best is None:
        raise RuntimeError(f"{server.name} does not even hold 50 updates/s")
    return {**best, "deliveries_per_s": low * subscribers}


def _per_topic(topics: int) -> Callable[[Server], Figures]:
    """Subscribers of 10 topics each of `topics`; the total of deliveries stays 20,000/s."""
    names = ",".join(f'"ex.S{n}."' for n in range(min(10, topics)))
    say = '{"event":"unsubscribe-execs"}', f'{{"event":"subscribe-execs","data":{{"topics":[{names}]}}}}'
    rate = 20.0 * max(1, topics // 10)
    return lambda server: run(server, Work(1_000, min(rate, 20_000.0), 5, topics=topics, say=say))


CASES = {
    case.name: case
    for case in (
        Case(
            "fanout",
            "1,000 x 20 updates/s of 500 B: CPU a delivery",
            _one(Work(1_000, 20, 8)),
            _FANOUT,
        ),
        Case("fanout-100", "1,000 x 100/s: delivered, and how late", _one(Work(1_000, 100, 8)), _FANOUT),
        Case(
            "knee",
            "the highest fan-out to 1,000 with 99.9 % delivered and p99 <= 50 ms",
            find_knee,
            (Column("deliveries_per_s", "deliveries/s", "{:,.0f}"), *_FANOUT),
            more_is_better=True,
        ),
        Case(
            "orders-closed",
            "orders over 100 connections, each sends when it was answered: CPU an order",
            _one(Work(100, 0.5, 6, orders="closed")),
            _ORDERS,
            reference="ws",
            needs_orders=True,
        ),
        Case(
            "orders-open",
            "5,000 orders/s over 1,000 connections on a schedule: CPU an order",
            _one(Work(1_000, 0.5, 6, orders="5000")),
            _ORDERS,
            reference="ws",
            needs_orders=True,
        ),
        *(
            Case(
                f"idle-{count}",
                f"{count:,} idle connections: memory each, CPU an accept",
                _one(Work(count, 0.5, 4)),
                (
                    Column("kib_per_connection", "KiB each"),
                    Column("accept_us", "accept CPU µs", "{:.0f}"),
                    Column("failed", "failed", "{:.0f}"),
                ),
                reference="ws",
            )
            for count in (5_000, 15_000)
        ),
        Case(
            "crowd",
            "15,000 connections at 2,000/s new, 1 update/s to all: failures, losses, spread",
            _one(Work(15_000, 1, 10)),
            (
                Column("spread_mean_us", "spread ms", "{:.1f}"),
                Column("failed", "failed", "{:.0f}"),
                Column("missing", "lost", "{:.0f}"),
                _SHARE,
                _COST,
            ),
        ),
        *(
            Case(
                f"subscribers-{count}",
                f"20,000 deliveries/s to {count:,} subscribers: does cost grow with the crowd?",
                _one(Work(count, 20_000 / count, 6)),
                _FANOUT,
            )
            for count in (100, 1_000, 5_000, 15_000)
        ),
        *(
            Case(
                f"topics-{count}",
                f"{count:,} topics, each of 1,000 subscribers takes up to 10: does cost grow with topics?",
                _per_topic(count),
                _FANOUT,
                reference="execgate",
            )
            for count in (1, 100, 10_000)
        ),
        *(
            Case(f"size-{size}", f"1,000 x 20/s of {size:,} B", _one(Work(1_000, 20, 5, size=size)), _FANOUT)
            for size in (250, 500, 4_096, 65_536)
        ),
    )
}
