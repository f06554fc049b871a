"""Durations that are known only within bounds, held against sorting them all."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from execgate.measure.histogram import Histogram
from loadgen.core.timed import Timed, fields_of, lower

VALUES = st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 3_000)), max_size=50)


def histogram(buckets: dict[int, int]) -> Histogram:
    made = Histogram()
    made.add(buckets.items())
    return made


def values(found: Histogram) -> list[int]:
    """Below 2,048 a bucket is a value."""
    return [value for value, count in found.sparse().items() for _ in range(count)]


@given(VALUES)
def test_the_upper_and_the_lower_values_are_those_of_a_naive_model(given_us: list[tuple[int, int]]) -> None:
    timed = Timed()
    for value_us, doubt_us in given_us:
        timed.record(value_us, doubt_us)
    record: dict[str, Any] = timed.take("x")
    assert list(record) == ["x_us", "x_doubted_us", "x_least_us"] == list(fields_of("x"))
    fields = [histogram(record[name]) for name in fields_of("x")]
    assert values(fields[0]) == sorted(value for value, _ in given_us)
    assert values(lower(*fields)) == sorted(max(0, value - doubt) for value, doubt in given_us)
    assert timed.take("x") == {"x_us": {}, "x_doubted_us": {}, "x_least_us": {}}
