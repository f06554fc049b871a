"""The knee: the highest fan-out that a server holds, searched for by runs at rising rates."""

from dataclasses import replace

from benchmarks.case import Case, Column
from benchmarks.columns import FANOUT
from benchmarks.running import Figures, Work, run
from benchmarks.servers import Server
from benchmarks.validity import why_void

_HIGHEST_RATE = 25_600
_DELIVERED_LEAST, _P99_MOST_US = 0.999, 50_000
_NEAR = 1.1  # the knee is found when what holds and what does not are so close


def find_knee(server: Server, work: Work) -> Figures:
    """Return the figures of the highest rate with >= 99.9 % delivered and p99 <= 50 ms, within 10 %.

    Doubles from the rate of `work` until one fails (twice, since one hiccup is not a limit), then halves the
    distance in between. It is void where the measuring side had failed rather than the server.

    Raises:
        RuntimeError: the rate of `work` itself fails.
    """
    failed: Figures = {}

    def holds(rate: float) -> Figures | None:
        for _ in range(2):
            figures = run(server, replace(work, rate=rate))
            good = figures["delivered_share"] >= _DELIVERED_LEAST and figures["p99_us"] <= _P99_MOST_US
            if good and not figures["closed_by_server"]:
                return figures
        failed.clear()
        failed.update(figures)
        return None

    low, best, rate = 0.0, None, work.rate
    while rate <= _HIGHEST_RATE:
        figures = holds(rate)
        if figures is None:
            break
        low, best, rate = rate, figures, rate * 2
    high = rate
    while best is not None and high / low > _NEAR:
        middle = (low * high) ** 0.5
        figures = holds(middle)
        if figures is None:
            high = middle
        else:
            low, best = middle, figures
    if best is None:
        raise RuntimeError(f"{server.name} does not even hold {work.rate:g} updates/s")
    most = low * work.connections
    why = why_void(failed) if failed else f"more than {_HIGHEST_RATE:,} updates/s were not tried"
    return {**best, "deliveries_per_s": most, "void": f"at least {most:,.0f} deliveries/s: {why}" if why else ""}


KNEE = Case(
    "knee",
    "the highest fan-out to 1,000 with 99.9 % delivered and p99 <= 50 ms",
    (Column("deliveries_per_s", "deliveries/s", "{:,.0f}"), *FANOUT),
    Work(1_000, 50, 4, skimmed=900),
    note="""\
900 of the subscribers are read without being looked into, so that the client is not what is short; latencies are
those of the other 100, spread among them.""",
    more_is_better=True,
    measure=find_knee,
)
