"""Figures of several processes as one: counts are added, gauges as their row says, and no count ever falls."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from execgate.measure.metrics import PROCESS, Figures, Kind, Over, add_up, counted, counter, gauge, histogram
from gateway.core import metrics as of_gateway
from publisher.core import metrics as of_publisher

TABLE = (
    counter("c_total", "."),
    counter("l_total", ".", "label", ["x"]),
    histogram("h_seconds", "."),
    gauge("g", "."),
    gauge("worst", ".", Over.MOST),
    gauge("least", ".", Over.LEAST),
)
ONE: Figures = {
    "c_total": 1,
    "l_total": {"x": 1},
    "h_seconds": {"0.1": 2, "sum": 0.5},
    "g": 5,
    "worst": 1,
    "least": 7,
}
OTHER: Figures = {
    "c_total": 2,
    "l_total": {"y": 3},
    "h_seconds": {"0.1": 1, "+Inf": 1, "sum": 99.5},
    "g": 6,
    "worst": 4,
    "least": 3,
}


def test_two_processes_become_one() -> None:
    assert add_up(TABLE, [ONE, OTHER]) == {
        "c_total": 3,
        "l_total": {"x": 1, "y": 3},
        "h_seconds": {"0.1": 3, "+Inf": 1, "sum": 100.0},
        "g": 11,
        "worst": 4,
        "least": 3,
    }


def test_what_nobody_tells_is_left_out() -> None:
    assert add_up(TABLE, [{}, {"g": 1}]) == {"g": 1}
    assert add_up(TABLE, []) == {}


def test_what_outlives_a_process_is_what_it_counted() -> None:
    assert counted(TABLE, ONE) == {name: ONE[name] for name in ("c_total", "l_total", "h_seconds")}


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["count", "die"])), max_size=40))
def test_no_sum_falls_whoever_dies_and_whenever(steps: list[tuple[int, str]]) -> None:
    """Three places, each with a process that counts up from 0 and may be replaced; the dead are buried once."""
    living: list[Figures] = [{"c_total": 0} for _ in range(3)]
    buried: list[Figures] = [{} for _ in range(3)]
    seen = [0]
    counts = 0
    for place, what in steps:
        if what == "count":
            living[place]["c_total"] += 1
            counts += 1
        else:
            buried[place] = add_up(TABLE, [buried[place], counted(TABLE, living[place])])
            living[place] = {"c_total": 0}
        seen.append(add_up(TABLE, [*living, *buried])["c_total"])
    assert all(before <= after for before, after in pairwise(seen))
    assert seen[-1] == counts


def test_names_and_units_are_as_prometheus_guide_asks() -> None:
    for metric in (*of_gateway.TABLE, *of_publisher.TABLE):
        assert re.fullmatch(r"(execgate|process)_[a-z_]+[a-z]", metric.name), metric.name
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert not re.search(r"_(ms|us|ns|kib|mib|kb|mb|percent|minutes)(_|$)", metric.name), metric.name
        assert metric.kind is not Kind.HISTOGRAM or metric.name.endswith("_seconds"), metric.name
        assert metric.help.endswith("."), metric.name
    for table in (of_gateway.TABLE, of_publisher.TABLE):
        names = [metric.name for metric in table]
        assert len(names) == len(set(names))
        assert table[-len(PROCESS) :] == PROCESS
