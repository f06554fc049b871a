"""Recorded pace: differences of the rows' own times, never back, never for ever."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.core.recorded import MAX_STEP_NS, RecordedPace

MS = 1_000_000


@pytest.mark.parametrize(
    ("rows", "offsets_ms"),
    [
        ([{"timestamp": 1000}, {"timestamp": 1250}, {"timestamp": 1250}], [0, 250, 250]),
        ([{"timestamp": 1000}, {"timestamp": 900}, {"timestamp": 950}], [0, 0, 50]),
        ([{}, {"timestamp": 5}, {}, {"timestamp": 25}], [0, 0, 0, 20]),
        ([{"ts_us": 1000, "timestamp": 77}, {"ts_us": 3000}], [0, 2]),
        ([{"timestamp": 1}, {"timestamp": "2"}, {"timestamp": True}, {"timestamp": 1.5}], [0, 0, 0, 0.5]),
        ([{"timestamp": 0}, {"timestamp": 10**9}], [0, MAX_STEP_NS / MS]),
        ([{"timestamp": 0}, {"timestamp": 10**300}, {"timestamp": -1e300}], [0, 0, 0]),
    ],
)
def test_offsets_follow_the_recorded_times(rows: list[dict[str, Any]], offsets_ms: list[float]) -> None:
    pace = RecordedPace()
    assert [pace.offset_ns(row) / MS for row in rows] == offsets_ms


TIMES = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.text()


@given(st.lists(TIMES))
def test_offsets_never_go_back_or_jump(times: list[Any]) -> None:
    pace = RecordedPace()
    last = 0
    for time in times:
        offset = pace.offset_ns({"timestamp": time})
        assert last <= offset <= last + MAX_STEP_NS
        last = offset
