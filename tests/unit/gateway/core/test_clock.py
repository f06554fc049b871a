"""What is known of the publisher's clock: by the surest of its last answers, each for a bounded time."""

from execgate.measure.clocks import Reading
from gateway.core.clock import DRIFT_PPM, KEPT, MAX_AGE_S, ClockFilter

S = 1_000_000_000


def filled(*readings: tuple[float, int, int]) -> ClockFilter:
    """A filter that has taken answers: when, uncertainty, offset."""
    made = ClockFilter()
    for at_s, uncertainty_us, offset_us in readings:
        made.take(Reading(uncertainty_us, offset_us), round(at_s * S))
    return made


def test_nothing_is_known_before_the_first_answer_and_that_is_not_0() -> None:
    assert ClockFilter().best(5 * S) is None


def test_the_quickest_answer_stands_until_it_is_so_old_that_another_is_surer() -> None:
    known = filled((0, 100, 7), (2, 300, 150), (4, 160, 30))
    assert known.best(4 * S) == Reading(100 + 4 * DRIFT_PPM, 7)
    known = filled((0, 100, 7), (4, 150, 30))
    assert known.best(5 * S) == Reading(150 + DRIFT_PPM, 30)


def test_only_the_last_few_have_a_say_so_that_drift_is_followed() -> None:
    """Two clocks that go 10 us a second apart, and one lucky answer at the start."""
    known = filled((0, 10, 0))
    for turn in range(1, KEPT + 1):
        known.take(Reading(500, 20 * turn), 2 * turn * S)
    assert known.best(2 * KEPT * S) == Reading(500, 20 * KEPT)


def test_an_answer_that_contradicts_the_earlier_ones_stands_alone() -> None:
    """A clock was set: half an average is nobody's clock."""
    known = filled((0, 50, 0), (2, 400, 2_000_000))
    assert known.best(2 * S) == Reading(400, 2_000_000)
    known.take(Reading(60, 2_000_100), 4 * S)
    assert known.best(4 * S) == Reading(60, 2_000_100)


def test_an_answer_that_differs_within_what_is_not_known_contradicts_nothing() -> None:
    for ahead_us in (0, 2_000_000):
        assert filled((0, 50, ahead_us), (0, 400, ahead_us + 450)).best(0) == Reading(50, ahead_us)


def test_a_publisher_that_answers_no_more_is_unknown_in_the_end() -> None:
    known = filled((0, 50, 3))
    assert known.best(round(MAX_AGE_S * S)) == Reading(50 + round(MAX_AGE_S * DRIFT_PPM), 3)
    assert known.best(round(MAX_AGE_S * S) + 1) is None
