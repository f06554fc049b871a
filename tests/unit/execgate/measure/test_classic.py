"""The 2012 measurements: a true top and bottom N, and the CSV to the letter."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.measure.classic import (
    CLIENT_HEADING,
    SERVER_HEADING,
    ClassicMetrics,
    Hardware,
    Outliers,
    Summary,
    csv_line,
)

durations = st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float)


@settings(max_examples=300, deadline=None)
@given(numbers=st.lists(durations, max_size=40), size=st.integers(0, 12))
def test_outliers_are_the_true_highest_and_lowest(numbers: list[float], size: int) -> None:
    """The 2012 code overwrote the first smaller slot, so that its list was not the top N."""
    outliers = Outliers(size)
    for number in numbers:
        outliers.record(number)
    assert outliers.highest() == sorted(numbers, reverse=True)[:size]
    assert outliers.lowest() == sorted(numbers)[:size]


@pytest.mark.parametrize("order", [sorted, lambda numbers: sorted(numbers, reverse=True)])
def test_outliers_do_not_depend_on_the_order(order: Callable[[list[float]], list[float]]) -> None:
    outliers = Outliers(3)
    for number in order([float(n) for n in range(100)]):
        outliers.record(number)
    assert (outliers.highest(), outliers.lowest()) == ([99, 98, 97], [0, 1, 2])


@settings(max_examples=100, deadline=None)
@given(
    records=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 1000).map(float), st.integers(0, 999)), max_size=30
    ),
    size=st.integers(0, 4),
)
def test_a_summary_counts_keys_and_averages_messages(records: list[tuple[str, float, int]], size: int) -> None:
    def average(numbers: list[float]) -> float:
        return sum(numbers) / len(numbers) if numbers else 0.0

    metrics = ClassicMetrics(size)
    for key, response_ms, message_size in records:
        metrics.record(key, response_ms, message_size)
    times = sorted(response_ms for _, response_ms, _ in records)
    assert metrics.take() == Summary(
        count=len({key for key, _, _ in records}),
        average_ms=average(times),
        average_high_ms=average(times[::-1][:size]),
        average_low_ms=average(times[:size]),
        average_size=average([float(message_size) for _, _, message_size in records]),
        messages=len(records),
    )


def test_take_begins_a_new_interval_and_an_empty_one_is_zeros() -> None:
    metrics = ClassicMetrics(2)
    metrics.record("a", 5.0, 100)
    assert metrics.take().messages == 1
    assert metrics.take() == Summary(0, 0.0, 0.0, 0.0, 0.0, 0)


def test_the_headings_are_those_of_2012_to_the_letter() -> None:
    assert CLIENT_HEADING == (
        "clients,connected,cpu time, load avg, total memory (M), used memory(M),count, average response (ms),"
        " average outlier high response (ms), average outlier low response (ms), average message size,"
        " messages received"
    )
    assert SERVER_HEADING == (
        "sockets, clients, cpu time, load avg, total memory (M), used memory(M),count, average response (ms),"
        " average outlier high response (ms), average outlier low response (ms), average message size,"
        " messages received"
    )


def test_a_line_has_a_value_for_each_heading_counts_whole_and_the_rest_with_two_decimals() -> None:
    line = csv_line(100, 99, Hardware(1.5, 0.256, 7979.0, 1024.125), Summary(98, 1.005, 20.0, 0.1, 512.5, 12345))
    assert line == "100,99,1.50,0.26,7979.00,1024.12,98,1.00,20.00,0.10,512.50,12345"
    for heading in (CLIENT_HEADING, SERVER_HEADING):
        assert len(line.split(",")) == len(heading.split(",")) == 12
