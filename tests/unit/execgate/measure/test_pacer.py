"""Pacers: no drift however long they run, distances within their bounds, and seeds that repeat."""

from itertools import islice, pairwise
from random import Random

import pytest

from execgate.measure.pacer import constant_rate, one_random_interval, random_intervals

MS = 1_000_000


@pytest.mark.parametrize("per_second", [0.01, 1, 3, 7.3, 1000, 30_000, 999_999])
def test_a_constant_rate_does_not_drift_over_a_million_events(per_second: float) -> None:
    last = 0
    for n, offset in enumerate(islice(constant_rate(per_second), 1_000_000), 1):
        last = offset
        if n % 99_991 == 1:
            assert offset == pytest.approx(n * 1e9 / per_second, abs=1, rel=1e-15)
    assert last == pytest.approx(1_000_000 * 1e9 / per_second, abs=1, rel=1e-15)


def test_a_constant_rate_is_even_and_begins_one_interval_after_the_start() -> None:
    offsets = list(islice(constant_rate(3), 1000))
    assert offsets[0] == 333_333_333
    assert {after - before for before, after in pairwise(offsets)} <= {333_333_333, 333_333_334}


def test_random_intervals_lie_within_their_bounds_and_are_drawn_anew_and_evenly() -> None:
    offsets = [0, *islice(random_intervals(Random(1), 10, 110), 100_000)]
    distances = [after - before for before, after in pairwise(offsets)]
    assert all(10 * MS <= distance <= 110 * MS for distance in distances)
    assert len(set(distances)) > 90_000
    assert sum(distances) / len(distances) == pytest.approx(60 * MS, rel=0.01)
    assert min(distances) < 11 * MS
    assert max(distances) > 109 * MS


def test_one_random_interval_is_drawn_once_and_does_not_drift() -> None:
    """As each 2012 process drew its own."""
    offsets = list(islice(one_random_interval(Random(1), 10, 110), 1000))
    assert 10 * MS <= offsets[0] <= 110 * MS
    assert offsets == [n * offsets[0] for n in range(1, 1001)]
    drawn = {next(one_random_interval(Random(seed), 10, 110)) for seed in range(20)}
    assert len(drawn) == 20


@pytest.mark.parametrize("pacer", [random_intervals, one_random_interval])
def test_a_seed_repeats_a_schedule_and_equal_bounds_are_a_constant_one(pacer: type) -> None:
    first, second, other = (list(islice(pacer(Random(seed), 10, 110), 100)) for seed in (7, 7, 8))
    assert first == second != other
    assert list(islice(pacer(Random(1), 20, 20), 3)) == [20 * MS, 40 * MS, 60 * MS]
