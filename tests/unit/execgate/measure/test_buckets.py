"""Buckets: every duration is counted once, under the first bound that it does not pass."""

from hypothesis import given
from hypothesis import strategies as st

from execgate.measure.buckets import BOUNDS_S, INFINITY, SUM, Buckets, cumulative


@given(st.lists(st.floats(0, 100), max_size=50))
def test_what_was_up_to_each_bound_is_what_a_naive_count_says(durations: list[float]) -> None:
    buckets = Buckets()
    for duration in durations:
        buckets.observe(duration)
    reached = dict(cumulative(buckets.figures()))
    for bound in BOUNDS_S:
        assert reached[repr(bound)] == sum(duration <= bound for duration in durations)
    assert reached[INFINITY] == len(durations)
    assert abs(buckets.figures()[SUM] - sum(durations)) < 1e-6


def test_a_negative_duration_counts_as_none() -> None:
    buckets = Buckets()
    buckets.observe(-5.0)
    assert buckets.figures() == {repr(BOUNDS_S[0]): 1, SUM: 0.0}


def test_the_figures_of_two_add_up_to_those_of_one_that_saw_both() -> None:
    first, second, both = Buckets(), Buckets(), Buckets()
    for buckets, durations in ((first, (0.5, 2.0)), (second, (0.5, 64.0))):
        for duration in durations:
            buckets.observe(duration)
            both.observe(duration)
    one, other = first.figures(), second.figures()
    assert {key: one.get(key, 0) + other.get(key, 0) for key in {*one, *other}} == both.figures()
