"""The cases: which work each is, what is read off a run, and what a row of its table shows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.running import Work, run
from benchmarks.servers import Server

Figures = dict[str, Any]

# A run is void when the measuring side was the bottleneck: its numbers would be the client's, not the server's.
CLIENT_BUSY_MOST = 0.92
CLIENT_BEHIND_MOST_US = 20_000


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
        name, question: as the list shows them.
        work: what a server is put through.
        columns: of its table; the first is what ratios are taken of (less is better unless `more_is_better`).
        reference: the server that ratios refer to.
        needs_orders: whether a server must take our orders.
        only_ours: whether it makes sense for our gateway alone.
        search: finds the figures by several runs, where one of `work` does not answer the question.
    """

    name: str
    question: str
    work: Work
    columns: tuple[Column, ...]
    reference: str = "limit"
    needs_orders: bool = False
    only_ours: bool = False
    more_is_better: bool = False
    search: Callable[[Server, Work], Figures] | None = None

    def measure(self, server: Server) -> Figures:
        """Measure `server` once."""
        return self.search(server, self.work) if self.search is not None else run(server, self.work)


def is_void(figures: Figures) -> str:
    """Return why a run must not be believed, "" if it may."""
    if figures["spins"]:  # it waits for its schedule without sleeping, so only being late tells
        if figures["behind_us"] > CLIENT_BEHIND_MOST_US:
            return f"the client fell {figures['behind_us'] / 1000:.0f} ms behind its schedule"
    elif figures["client_busy"] > CLIENT_BUSY_MOST and figures["server_busy"] < figures["client_busy"]:
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
_HIGHEST_RATE = 6_400
_ONE_TOPIC = '{"event":"subscribe-execs","data":{"topics":["ex.S7."]}}'
_ORDERS = (_COST, Column("orders_answered", "answered", "{:,.0f}"), _P50, _P99, _CORE)


def find_knee(server: Server, work: Work) -> Figures:
    """Return the figures of the highest rate with >= 99.9 % delivered and p99 <= 50 ms, within 10 %.

    Doubles from the rate of `work` until one fails (twice, since one hiccup is not a limit), then halves the
    distance in between.
    """

    def holds(rate: float) -> Figures | None:
        for _ in range(2):
            figures = run(server, replace(work, rate=rate))
            good = figures["delivered_share"] >= 0.999 and figures["p99_us"] <= 50_000
            if good and not figures["closed_by_server"]:
                return figures
        return None

    low, best, rate = 0.0, None, work.rate
    while rate <= _HIGHEST_RATE:
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
        raise RuntimeError(f"{server.name} does not even hold {work.rate:g} updates/s")
    return {**best, "deliveries_per_s": low * work.connections}


def _topics(count: int) -> Work:
    """Every subscriber takes the same 10 of `count` topics; deliveries stay at 20,000/s."""
    names = ",".join(f'"ex.S{n}."' for n in range(min(10, count)))
    topics = f'{{"event":"subscribe-execs","data":{{"topics":[{names}]}}}}'
    subscribe = ('{"event":"unsubscribe-execs"}', topics if count > 1 else '{"event":"subscribe-execs"}')
    return Work(1_000, 20.0 * max(1, count // 10), 5, topics=count, taken=10, say=subscribe)


CASES = {
    case.name: case
    for case in (
        Case(
            "fanout",
            "1,000 x 20 updates/s of 500 B: CPU a delivery",
            Work(1_000, 20, 8),
            _FANOUT,
        ),
        Case("fanout-100", "1,000 x 100/s: delivered, and how late", Work(1_000, 100, 8), _FANOUT),
        Case(
            "knee",
            "the highest fan-out to 1,000 with 99.9 % delivered and p99 <= 50 ms",
            Work(1_000, 50, 4),
            (Column("deliveries_per_s", "deliveries/s", "{:,.0f}"), *_FANOUT),
            more_is_better=True,
            search=find_knee,
        ),
        Case(
            "orders-closed",
            "orders over 100 connections, each sends when it was answered: CPU an order",
            Work(100, 0.5, 6, orders="closed"),
            _ORDERS,
            reference="ws",
            needs_orders=True,
        ),
        Case(
            "orders-open",
            "5,000 orders/s over 1,000 connections on a schedule: CPU an order",
            Work(1_000, 0.5, 6, orders="5000"),
            _ORDERS,
            reference="ws",
            needs_orders=True,
        ),
        *(
            Case(
                f"idle-{count}",
                f"{count:,} idle connections: memory each, CPU an accept",
                Work(count, 0.5, 4),
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
            Work(15_000, 1, 10),
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
                Work(count, 20_000 / count, 6),
                _FANOUT,
            )
            for count in (100, 1_000, 5_000, 15_000)
        ),
        *(
            Case(
                f"topics-{count}",
                f"{count:,} topics of which 1,000 subscribers take 10: does cost grow with topics?",
                _topics(count),
                _FANOUT,
                only_ours=True,
            )
            for count in (1, 100, 1_000)
        ),
        *(
            Case(
                f"stuck-{count}",
                f"1,000 x 100/s while {count:,} more never read: are the others late?",
                Work(1_000 + count, 100, 6, stuck=count),
                _FANOUT,
                only_ours=True,
            )
            for count in (0, 1, 100)
        ),
        Case(
            "feed",
            "50,000 updates/s of 250 B to 10 subscribers of 1 % of the topics each: CPU an update taken in",
            Work(10, 50_000, 5, size=250, topics=100, say=(*_topics(100).say[:1], _ONE_TOPIC)),
            (Column("us_per_update", "CPU µs"), Column("server_busy", "core", "{:.0%}"), _P50, _P99),
            only_ours=True,
        ),
        *(
            Case(f"size-{size}", f"1,000 x 20/s of {size:,} B", Work(1_000, 20, 5, size=size), _FANOUT)
            for size in (250, 500, 4_096, 65_536)
        ),
    )
}
