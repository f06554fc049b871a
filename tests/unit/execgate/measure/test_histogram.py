"""The histogram against the sorted list of everything recorded: never more than 0.1 % off."""

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.measure.histogram import MAX_VALUE, Histogram

values = st.one_of(
    st.integers(0, 5000),
    st.integers(0, MAX_VALUE),
    st.sampled_from([0, 1, 2047, 2048, 2049, 4095, 4096, MAX_VALUE - 1, MAX_VALUE]),
    st.integers(1, 31).map(lambda power: 1 << power),
    st.integers(1, 32).map(lambda power: (1 << power) - 1),
)
percents = st.sampled_from([0, 0.1, 1, 10, 25, 33.3, 50, 75, 90, 95, 99, 99.7, 99.9, 99.99, 100])


def recorded(numbers: list[int]) -> Histogram:
    histogram = Histogram()
    for number in numbers:
        histogram.record(number)
    return histogram


def exact(numbers: list[int], percent: float) -> int:
    """The smallest value that `percent` % of all do not exceed; per mille of a percent are whole numbers."""
    rank = ceil(round(percent * 1000) * len(numbers) / 100_000)
    return sorted(numbers)[max(rank, 1) - 1]


@settings(max_examples=300, deadline=None)
@given(numbers=st.lists(values, min_size=1, max_size=60), percent=percents)
def test_a_percentile_is_the_exact_one_or_at_most_a_thousandth_more(numbers: list[int], percent: float) -> None:
    found = recorded(numbers).percentile(percent)
    wanted = exact(numbers, percent)
    assert found is not None
    assert wanted <= found <= wanted * 1.001
    assert wanted >= 2048 or found == wanted


@pytest.mark.parametrize(("percent", "rank"), [(16.1, 161), (32.7, 327), (64.4, 644), (99.9, 999)])
def test_floating_point_does_not_ask_for_one_value_more(percent: float, rank: int) -> None:
    """16.1 * 1000 comes out a little over 16100."""
    assert recorded(list(range(1, 1001))).percentile(percent) == rank


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-5, 0),
        (0, 0),
        (2047, 2047),
        (2048, 2049),  # buckets of two begin
        (2049, 2049),
        (2050, 2051),
        (4095, 4095),
        (4096, 4099),  # buckets of four
        (MAX_VALUE, MAX_VALUE),
        (MAX_VALUE + 1, MAX_VALUE),
        (1 << 70, MAX_VALUE),
    ],
)
def test_the_edges_of_buckets(value: int, shown: int) -> None:
    assert recorded([value]).percentile(50) == shown


@settings(max_examples=50, deadline=None)
@given(one=st.lists(values, max_size=30), other=st.lists(values, max_size=30))
def test_merged_is_as_if_all_were_recorded_in_one_and_sparse_goes_round(one: list[int], other: list[int]) -> None:
    merged = recorded(one)
    merged.merge(recorded(other))
    everything = recorded(one + other)
    assert merged.count == everything.count == len(one) + len(other)
    assert merged.sparse() == everything.sparse()
    again = Histogram()
    again.add(everything.sparse().items())
    assert (again.count, again.sparse()) == (everything.count, everything.sparse())


def test_add_adds_to_what_is_there() -> None:
    histogram = recorded([5, 7])
    histogram.add([(5, 2), (9, 1)])
    assert histogram.count == 5
    assert histogram.sparse() == {5: 3, 7: 1, 9: 1}
    histogram.merge(histogram)
    assert histogram.count == 10


@pytest.mark.parametrize(("bucket", "count"), [(-1, 1), (1 << 20, 1), (5, -1)])
def test_a_log_that_names_no_bucket_is_refused(bucket: int, count: int) -> None:
    histogram = Histogram()
    with pytest.raises(ValueError, match="expected a bucket below"):
        histogram.add([(bucket, count)])
    assert histogram.count == 0


def test_nothing_recorded_has_no_percentile_and_clear_forgets_all() -> None:
    histogram = recorded([1, 2, 3])
    histogram.clear()
    assert histogram.count == 0
    assert histogram.sparse() == {}
    assert histogram.percentile(50) is None


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan")])
def test_a_percent_that_is_none_is_our_bug(percent: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 100"):
        Histogram().percentile(percent)
