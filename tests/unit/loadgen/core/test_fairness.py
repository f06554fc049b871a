"""How far clients are apart: when an update is over, and what the ranks are."""

import pytest

from loadgen.core.fairness import MAX_UPDATES, OVER_NS, Fairness, fairness_of, who_is_first


def counting(expected: int) -> Fairness:
    fairness = Fairness()
    fairness.expected, fairness.is_counting = expected, True
    return fairness


def test_an_update_is_over_once_everybody_has_it_or_after_a_second() -> None:
    fairness = counting(3)
    assert [fairness.heard("e", 1, at) for at in (1_000, 4_000, 9_000)] == [0, 3_000, 8_000]
    assert fairness.take(9_000) == {8: 1}
    fairness.heard("e", 2, 10_000)
    fairness.heard("e", 2, 12_000)
    assert fairness.take(10_000 + OVER_NS - 1) == {}
    assert fairness.take(10_000 + OVER_NS) == {2: 1}


def test_who_resumes_is_not_the_first_to_have_what_is_long_over() -> None:
    fairness = counting(2)
    for at in (0, 5_000):
        fairness.heard("e", 7, at)
    assert fairness.heard("e", 6, 9_000) is None
    assert fairness.heard("e", 7, 9_000) is None
    assert fairness.heard("f", 1, 9_000) == 0, "another epoch begins anew"


def test_updates_under_way_are_bounded() -> None:
    fairness = counting(3)
    for seq in range(1, 2 * MAX_UPDATES):
        fairness.heard("e", seq, 0)
        fairness.heard("e", seq, 1_000)
    assert sum(fairness.take(0).values()) == MAX_UPDATES - 1


def test_an_update_that_one_alone_has_had_tells_nothing() -> None:
    fairness = counting(2)
    fairness.heard("e", 1, 0)
    assert fairness.take(OVER_NS) == {}


def test_the_ranks_and_who_joined_when() -> None:
    told = fairness_of([40.0, 0.0, 10.0, 30.0, 20.0])
    assert told == {
        "clients": 5,
        "by_joining": -0.1,
        "late_us": {
            "least": 0.0,
            "first_tenth": 0.0,
            "median": 20.0,
            "last_tenth": 40.0,
            "most": 40.0,
            "who_joined_first": 40.0,
            "who_joined_last": 20.0,
        },
    }
    twenty = fairness_of([float(late) for late in range(20)])
    assert twenty is not None
    assert twenty["late_us"]["first_tenth"] == pytest.approx(0.5)
    assert twenty["by_joining"] == 1.0
    assert fairness_of([1.0]) is None


@pytest.mark.parametrize(
    ("lateness_us", "expected"),
    [
        ([float(late) for late in range(20)], "yes, those that joined first (rank correlation +1.00)"),
        ([float(late) for late in range(20, 0, -1)], "yes, those that joined last (rank correlation -1.00)"),
        ([float(late * 7 % 20) for late in range(20)], "yes, the same ones, but not by when they joined"),
        ([100.0 + late for late in range(20)], "no: on average the last tenth is less than twice as late"),
    ],
)
def test_whether_it_is_always_the_same_ones_is_said_in_words(lateness_us: list[float], expected: str) -> None:
    told = fairness_of(lateness_us)
    assert told is not None
    assert who_is_first(told).startswith(expected)
