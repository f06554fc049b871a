"""How long a storm took, from the plan and the records: between two times, or not known."""

from typing import Any

import pytest

from loadgen.core.figures import MEASURE, RAMP, Figures
from loadgen.core.storms import storms_of, storms_table
from tests.unit.loadgen.core.making import histogram, record


def scenario(over_s: float | None, subscribers: int = 4) -> dict[str, Any]:
    ramp = {"name": "ramp", "storm_over_s": None, "subscribers": subscribers}
    return {"order_clients": 1, "stages": [ramp, {**ramp, "name": "storm", "storm_over_s": over_s}]}


def figures(connects: int, connected: int, *connect_us: int) -> dict[str, Any]:
    storm: dict[str, Any] = {"connects": connects, "connected": connected, "told_missing": 3}
    records = [
        record(RAMP, stage="ramp"),
        record(MEASURE, stage="storm", connect_response_us=histogram(connect_us), **storm),
    ]
    return Figures(records).as_dict()


@pytest.mark.parametrize(
    ("connects", "connected", "expected"),
    [
        (4, 3, (1.5, 1.75)),  # all came back, and one is away again
        (3, 5, (1.5, 1.75)),  # the record before has one of them
        (3, 4, (None, None)),
    ],
)
def test_all_were_back_between_when_the_last_was_due_and_the_longest_connection(
    connects: int, connected: int, expected: tuple[float | None, float | None]
) -> None:
    [storm] = storms_of(scenario(2.0), figures(connects, connected, 1_000, 250_000))
    assert storm["back_least_s"] == expected[0]
    assert storm["back_most_s"] == (expected[1] and pytest.approx(expected[1], rel=0.001))
    assert (storm["dropped"], storm["connects"], storm["lost"]) == (4, connects, 3)
    words = "not all in this stage" if expected[0] is None else "1.50 to 1.75"
    assert storms_table([storm]).rows[0] == ("storm", "4", "2", f"{connects}", words, "3")


def test_a_stage_that_is_none_or_was_not_reached_is_not_told_of() -> None:
    assert storms_of(scenario(None), figures(4, 5, 1_000)) == []
    assert storms_of(scenario(2.0), Figures([record(RAMP, stage="ramp")]).as_dict()) == []
    assert storms_of(scenario(2.0, subscribers=0), figures(4, 5, 1_000)) == []
