"""The search for a knee, over simulated servers whose knee is known: sharp ones, and some with luck in them."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.core.search import (
    ALL_HELD,
    DISTURBED,
    DONE,
    FAILED,
    HELD,
    MAX_TRIALS,
    MOST_DISTURBED,
    TOO_BUSY,
    UNBELIEVABLE,
    UNTOLD,
    VOTES,
    Knee,
    Search,
)

WITHIN = 0.1


def search(trial: Callable[[int], str], start: int = 100, most: int = 1_000_000) -> tuple[Knee, Search]:
    found = Search(start, most, WITHIN)
    while (value := found.next_value()) is not None:
        assert 1 <= value <= most
        found.add(value, trial(value))
    assert found.trials <= MAX_TRIALS
    return found.knee(), found


def near(knee: Knee) -> bool:
    return knee.high is not None and (knee.high - knee.low <= 1 or knee.high <= knee.low * (1 + WITHIN))


@given(st.integers(1, 900_000), st.integers(1, 100_000))
def test_a_sharp_knee_is_found_between_two_edges_with_three_votes_each(limit: int, start: int) -> None:
    knee, found = search(lambda value: HELD if value <= limit else FAILED, start)
    assert knee.high is not None
    assert knee.low <= limit < knee.high
    assert near(knee)
    assert (knee.is_lower_bound, knee.confidence, knee.why_stopped) == (False, "high", DONE)
    assert found.votes[knee.low] == {HELD: VOTES}
    assert found.votes[knee.high] == {FAILED: VOTES}
    assert found.trials <= 30, "minutes, not hours"


@given(st.integers(2, 100_000), st.data())
def test_where_the_measuring_side_ends_first_the_knee_is_a_lower_bound(limit: int, data: st.DataObject) -> None:
    believable = data.draw(st.integers(1, limit - 1))

    def trial(value: int) -> str:
        return UNBELIEVABLE if value > believable else HELD

    knee, _ = search(trial)
    assert knee.low <= believable
    assert knee.is_lower_bound
    assert near(knee)


@given(st.integers(1, 2_000), st.integers(1, 2_000))
def test_a_server_that_holds_all_that_is_to_be_tried_is_told_so(start: int, most: int) -> None:
    knee, found = search(lambda _value: HELD, start, most)
    assert (knee.low, knee.high, knee.is_lower_bound, knee.why_stopped) == (most, None, True, ALL_HELD)
    assert found.votes[most] == {HELD: VOTES}


def test_a_server_that_holds_nothing_is_told_so_after_one_has_been_tried() -> None:
    knee, found = search(lambda _value: FAILED)
    assert (knee.low, knee.high, knee.is_lower_bound, knee.confidence) == (0, 1, False, "none")
    assert found.votes[1] == {FAILED: VOTES}


@given(st.integers(1, 50_000), st.integers(0, 2**32), st.floats(0.0, 0.5))
def test_whatever_luck_says_it_ends_and_its_edges_are_what_the_votes_say(
    limit: int, seed: int, noise: float
) -> None:
    random = Random(seed)

    def trial(value: int) -> str:
        return random.choice((HELD, FAILED)) if random.random() < noise else (HELD if value <= limit else FAILED)

    knee, found = search(trial)
    if knee.low:
        votes = found.votes[knee.low]
        assert votes[HELD] > votes[FAILED]
    if knee.high is not None:
        votes = found.votes[knee.high]
        assert votes[FAILED] > votes[HELD]
        assert knee.low < knee.high
    if knee.why_stopped == DONE:
        assert near(knee)
        assert all(found.votes[edge].total() >= VOTES for edge in (knee.low, knee.high) if edge)


def test_a_soft_knee_is_found_within_a_fifth_in_nearly_all_of_500_searches() -> None:
    """A trial at 5 % over or under the knee goes the other way every third time, at 10 % every ninth."""
    right = 0
    for seed in range(500):
        random = Random(seed)
        limit = random.randint(200, 20_000)

        def trial(value: int, random: Random = random, limit: int = limit) -> str:
            chance = 1 / (1 + (value / limit) ** 22)
            return HELD if random.random() < chance else FAILED

        knee, _ = search(trial)
        right += knee.high is not None and 0.8 * limit <= knee.low <= 1.2 * limit
    assert right >= 480


def test_one_bad_trial_far_below_the_knee_is_voted_down() -> None:
    """The first trial at 800 fails by accident, as it does on a machine that just then did something else."""
    accidents = {800}

    def trial(value: int) -> str:
        if value in accidents:
            accidents.remove(value)
            return FAILED
        return HELD if value <= 5_000 else FAILED

    knee, found = search(trial)
    assert found.votes[800] == {FAILED: 1, HELD: 2}
    assert knee.low <= 5_000 < (knee.high or 0)
    assert near(knee)


def test_a_load_that_tells_too_little_is_passed_and_never_the_answer() -> None:
    knee, _ = search(lambda value: UNTOLD if value < 300 else HELD if value <= 1_000 else FAILED)
    assert 900 < knee.low <= 1_000
    untold, _ = search(lambda value: UNTOLD if value <= 1_000 else FAILED)
    assert untold.confidence == "none"


def test_a_trial_that_was_disturbed_is_no_vote_and_is_tried_again() -> None:
    disturbed = iter([True, True, False] * MAX_TRIALS)
    knee, found = search(lambda value: DISTURBED if next(disturbed) else HELD if value <= 150 else FAILED)
    assert 130 < knee.low <= 150 < (knee.high or 0)
    assert all(DISTURBED not in votes for votes in found.votes.values())


def test_a_machine_that_stays_busy_ends_the_search_and_no_load_is_called_too_high() -> None:
    knee, found = search(lambda value: HELD if value < 400 else DISTURBED)
    assert (knee.low, knee.high, knee.is_lower_bound, knee.why_stopped) == (200, None, True, TOO_BUSY)
    assert found.trials == 2 + MOST_DISTURBED


def test_an_edge_at_which_the_client_ended_as_often_as_the_server_is_a_lower_bound() -> None:
    found = Search(1, 2, 0.1)
    for value, outcome in ((1, HELD), (2, UNBELIEVABLE), (2, FAILED), (2, HELD)):
        found.add(value, outcome)
    assert found.knee().is_lower_bound


@pytest.mark.parametrize(
    ("outcomes", "confidence", "votes"),
    [
        ([(1, HELD)] * 3 + [(2, FAILED)] * 3, "high", "1 held 3 of 3 and 2 failed 3 of 3"),
        (
            [(1, HELD)] * 3 + [(2, FAILED)] * 2 + [(2, HELD)],
            "fair",
            "1 held 3 of 3 and 2 failed 2 of 3, held 1 of 3",
        ),
        ([(1, HELD)] * 3 + [(2, FAILED)] * 2, "low", "1 held 3 of 3 and 2 failed 2 of 2"),
        ([(1, HELD)] * 3 + [(9, FAILED)] * 3, "low", "1 held 3 of 3 and 9 failed 3 of 3"),
        (
            [(1, HELD)] * 3 + [(3, HELD)] + [(2, FAILED)] * 3,  # what held by luck above it is no answer
            "high",
            "1 held 3 of 3 and 2 failed 3 of 3",
        ),
        ([(2, FAILED)] * 3, "none", "2 failed 3 of 3"),
        ([], "none", ""),
    ],
)
def test_confidence_is_told_with_the_votes(outcomes: list[tuple[int, str]], confidence: str, votes: str) -> None:
    found = Search(1, 1000, WITHIN)
    for value, outcome in outcomes:
        found.add(value, outcome)
    knee = found.knee("asked to end")
    assert (knee.confidence, knee.votes, knee.why_stopped) == (confidence, votes, "asked to end")
