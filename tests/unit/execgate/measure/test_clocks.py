"""How far another clock is ahead: the truth is always within what is said, whichever way took how long."""

from hypothesis import given
from hypothesis import strategies as st

from execgate.measure.clocks import Reading, read_clock

SPANS_NS = st.integers(0, 10**10)


@given(st.integers(-(10**15), 10**15), SPANS_NS, SPANS_NS, SPANS_NS, st.integers(10**15, 10**18))
def test_the_truth_is_within_what_is_said_however_uneven_the_ways_are(
    ahead_ns: int, there_ns: int, back_ns: int, late_ns: int, began_ns: int
) -> None:
    told_us = (began_ns + there_ns + ahead_ns) // 1000
    heard_us = (began_ns + there_ns + back_ns) // 1000
    reading = read_clock(told_us, heard_us, there_ns + back_ns + late_ns)
    assert abs(reading.offset_us * 1000 - ahead_ns) <= reading.uncertainty_us * 1000
    assert reading.uncertainty_us <= (there_ns + back_ns + late_ns) // 2_000 + 3


def test_what_is_certain_is_beyond_the_uncertainty() -> None:
    assert [Reading(5, offset).certain_us for offset in (-6, -5, 0, 5, 7)] == [1, 0, 0, 0, 2]


def test_readings_contradict_each_other_where_no_offset_is_within_both() -> None:
    assert [Reading(5, 2_000_000).contradicts(Reading(3, offset)) for offset in (1_999_991, 1_999_992, 0)] == [
        *(True, False, True)
    ]


def test_a_clock_beyond_another_adds_what_it_is_ahead_and_what_is_not_known() -> None:
    assert Reading(5, -20).plus(Reading(3, 90)) == Reading(8, 70)
