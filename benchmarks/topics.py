"""Topics: whether a delivery costs more where there are more topics, or fewer subscribers to each."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from benchmarks.case import Case, Column
from benchmarks.columns import CORE, P50, P99, SHARE
from benchmarks.running import Figures, Work, run, take_only
from benchmarks.servers import Server
from benchmarks.validity import why_void

_SUBSCRIBERS, _TAKEN = 1_000, 10
_DELIVERIES = 20_000  # a second


def beside_intake(server: Server, work: Work) -> Figures:
    """Return the figures of `work`, and what a delivery costs without taking the updates in.

    A second run has the same feed and the same connections, which take a topic that never comes.
    """
    figures = run(server, work)
    intake = run(server, replace(work, say=lambda _index: take_only(["ex.NONE."])))
    delivered = max(1, figures["messages"])
    return {
        **figures,
        "intake_us_per_item": intake["server_cpu_us"] / delivered,
        "fanout_us_per_item": (figures["server_cpu_us"] - intake["server_cpu_us"]) / delivered,
        "void": why_void(figures) or why_void(intake),
    }


def taken_by(index: int, topics: int, groups: int) -> Sequence[int]:
    """Return the 10 of `topics` that a subscriber takes: its group's, or random ones if it is a group by itself.

    Groups have no topic in common. A group's are far apart, so that they come evenly and not ten in a row.
    """
    if groups == _SUBSCRIBERS:
        return Random(index).sample(range(topics), _TAKEN)
    return range(index % groups, topics, topics // _TAKEN)


def _work(topics: int, groups: int = 1) -> Work:
    def say(index: int) -> tuple[str, ...]:
        return take_only([f"ex.S{number}." for number in taken_by(index, topics, groups)])

    rate = _DELIVERIES / _SUBSCRIBERS * topics / _TAKEN
    return Work(_SUBSCRIBERS, rate, 6, topics=topics, taken=_TAKEN, say=say)


TOPICS = Case(
    "topics",
    "20,000 deliveries/s, 1,000 subscribers to 10 of N topics: does cost grow with topics?",
    (
        Column("fanout_us_per_item", "CPU µs"),
        Column("intake_us_per_item", "intake µs"),
        Column("us_per_item", "both µs"),
        SHARE,
        P50,
        P99,
        CORE,
    ),
    _work(10_000, _SUBSCRIBERS),
    variants={
        "1": Work(_SUBSCRIBERS, _DELIVERIES / _SUBSCRIBERS, 6),
        "100": _work(100),
        "10,000": _work(10_000),
        "100, 10 groups": _work(100, 10),
        "100 spread": _work(100, _SUBSCRIBERS),
        "10,000 spread": _work(10_000, _SUBSCRIBERS),
    },
    note="""\
All figures are a delivery's. Taking an update in costs something even if nobody wants it, and with 10,000
topics that is 20,000 updates/s: `intake` is the CPU of a second run with the same feed and connections, where
nobody takes any of it; `CPU` is the rest, which is what matching subscribers cost. It errs to the low side
where the feed is fast, since updates that came during a write are taken in together, which is cheaper.

In the first three rows all take the same topics: 20 updates/s go to 1,000 subscribers each. With 10 groups, 200
updates/s go to 100 each, who have all their topics in common. With `spread` each subscriber takes 10 at random,
so that none is served together with another: 200 updates/s go to 100 each, or 20,000 to 1 on average.

Each variant is put to the bare loop too, which sends to the same connections in the same order, and its cost moves
as well: a client that sleeps between small bursts is woken for each, in the sender's time. So the ratio is to the
bare loop at the same pattern, and `CPU` of the variants among each other says what the pattern itself costs.""",
    beside="limit",
    measure=beside_intake,
)
