"""Records of several processes as one: each field by its rule, and each boundary once nobody can add to it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.core.figures import Figures
from loadgen.core.merging import Merger, merge
from loadgen.core.recorder import COUNTERS, HISTOGRAMS, MERGES, Merge
from tests.unit.loadgen.core.making import histogram, record


def test_counts_add_up_and_health_is_that_of_the_process_that_is_worst_off() -> None:
    one = record(seconds=1.0, delivered=7, delivery_us=histogram([5, 5, 900]), errors={"x": 1}, cpu_share=0.2)
    other = record(
        seconds=1.2, delivered=3, delivery_us=histogram([5]), errors={"x": 2, "y": 1}, cpu_share=0.9, connected=1
    )
    one |= {"clock_step_us": 4, "loop_lag_us": 9_000, "t": 1000.5, "connected_low": 1}
    other |= {"clock_step_us": -7, "loop_lag_us": 30, "cpu_s": 0.05}
    merged = merge([one, other])
    assert merged["delivered"] == 10
    assert merged["delivery_us"] == histogram([5, 5, 5, 900])
    assert merged["errors"] == {"x": 3, "y": 1}
    assert (merged["connected"], merged["connected_low"], merged["clients"]) == (3, 3, 4)
    assert (merged["cpu_share"], merged["clock_step_us"], merged["loop_lag_us"]) == (0.9, -7, 9_000)
    assert (merged["cpu_s"], merged["rss_bytes"]) == (0.25, 2 << 25)
    assert (merged["seconds"], merged["t"], merged["phase"]) == (1.1, 1000.5, "measure")


def test_of_what_several_know_the_least_stands_by_name_and_who_knows_nothing_has_no_say() -> None:
    clocks = [{}, {"a": [90, 5], "b": [7, 7]}, {"a": [80, -3]}]
    merged = merge([record(gateway_clock_us=clock) for clock in clocks])
    assert merged["gateway_clock_us"] == {"a": [80, -3], "b": [7, 7]}
    assert merge([record(publisher_clock_us={})] * 2)["publisher_clock_us"] == {}


def test_one_process_alone_has_its_own_record() -> None:
    only = record(delivered=3, delivery_us=histogram([1, 2]), server_cpu_s=0.5, server_rss_bytes=77)
    assert merge([only]) == only


def test_what_one_process_alone_measures_stands_as_it_is() -> None:
    merged = merge([record(server_cpu_s=0.25, server_rss_bytes=77), record()])
    assert (merged["server_cpu_s"], merged["server_rss_bytes"]) == (0.25, 77)


def test_groups_add_up_field_by_field() -> None:
    ours = {"connected": 2, "closed": {"4108": 1}, "delivery_us": histogram([5])}
    theirs = {"connected": 1, "closed": {"4108": 2, "1006": 1}, "delivery_us": histogram([5, 9])}
    merged = merge([record(groups={"a": ours, "b": theirs}), record(groups={"a": theirs})])
    together = {"connected": 3, "closed": {"4108": 3, "1006": 1}, "delivery_us": histogram([5, 5, 9])}
    assert merged["groups"] == {"a": together, "b": theirs}


def test_a_field_without_a_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="no rule says how these fields merge: brightness"):
        merge([record(), record(brightness=1)])


def test_counters_and_histograms_have_the_rule_of_their_kind() -> None:
    assert {MERGES[name] for name in COUNTERS} == {Merge.ADD}
    assert {MERGES[name] for name in HISTOGRAMS} == {Merge.ADD_COUNTS}


def test_a_boundary_is_whole_once_every_process_has_reached_it() -> None:
    merger = Merger(2)
    assert merger.add(0, 1, record(delivered=1)) == []
    assert merger.add(0, 2, record(delivered=2)) == []
    [(boundary, first)] = merger.add(1, 1, record(delivered=10))
    assert (boundary, first["delivered"]) == (1, 11)
    [(boundary, second)] = merger.add(1, 2, record(delivered=20))
    assert (boundary, second["delivered"]) == (2, 22)


def test_a_process_that_left_a_boundary_out_adds_nothing_there_and_stands_where_it_stood() -> None:
    merger = Merger(2)
    merger.add(0, 1, record())
    merger.add(1, 1, record(connected=5))
    merger.add(0, 2, record(delivered=1))
    merger.add(0, 3, record(delivered=1))
    (_, second), (_, third) = merger.add(1, 3, record(seconds=2.0, delivered=9, connected=4))
    assert (second["delivered"], third["delivered"]) == (1, 10)
    assert (second["connected"], third["connected"]) == (7, 6)
    # The time of both boundaries together is that which has passed.
    assert (second["seconds"], third["seconds"]) == (0.5, 1.5)


def test_nobody_waits_for_a_process_that_has_ended() -> None:
    merger = Merger(2)
    merger.add(0, 1, record())
    assert [boundary for boundary, _ in merger.end(1)] == [1]
    assert [boundary for boundary, _ in merger.add(0, 2, record())] == [2]
    assert merger.end(0) == []


@pytest.mark.parametrize("boundary", [1, 2])
def test_a_boundary_that_comes_again_is_refused(boundary: int) -> None:
    merger = Merger(2)
    merger.add(0, 2, record())
    with pytest.raises(ValueError, match=f"process 0: a record up to {boundary} after one up to 2"):
        merger.add(0, boundary, record())


PARTS = st.lists(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9)), unique_by=lambda item: item[0], max_size=6),
    min_size=1,
    max_size=4,
)


@given(PARTS, st.randoms(use_true_random=False))
def test_nothing_is_lost_and_nothing_twice_however_the_records_come(
    parts: list[list[tuple[int, int]]], random: Any
) -> None:
    merger = Merger(len(parts))
    waiting = [[*sorted(part), None] for part in parts]
    whole: list[tuple[int, Any]] = []
    while any(waiting):
        index = random.choice([index for index, rest in enumerate(waiting) if rest])
        item = waiting[index].pop(0)
        if item is None:
            whole += merger.end(index)
        else:
            whole += merger.add(index, item[0], record(delivered=item[1]))
    boundaries = [boundary for boundary, _ in whole]
    assert boundaries == sorted({boundary for part in parts for boundary, _ in part})
    delivered = Figures(merged for _, merged in whole).as_dict()["streams"]["delivered"]
    assert delivered == sum(count for part in parts for _, count in part)
