"""The plan of a drain: everybody is told, evenly over the time, and nobody without time to leave."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.drain import BATCH_S, CLOSES_S, batches, grace_s, longest_s

CLIENTS = st.integers(0, 20_000)
DRAIN_S = st.floats(0.01, 600)


@given(CLIENTS, DRAIN_S)
def test_everybody_is_told_once_and_has_a_grace_within_the_drain(clients: int, drain_s: float) -> None:
    plan = batches(clients, drain_s)
    assert sum(batch.size for batch in plan) == clients
    assert all(batch.at_s + grace_s(drain_s) <= drain_s * 1.000_001 for batch in plan)


@given(CLIENTS, DRAIN_S)
def test_batches_are_as_large_as_each_other_and_as_far_apart(clients: int, drain_s: float) -> None:
    plan = batches(clients, drain_s)
    sizes = {batch.size for batch in plan}
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert 0 not in sizes
    apart = [after.at_s - before.at_s for before, after in pairwise(plan)]
    assert all(gap == pytest.approx(apart[0]) and gap >= BATCH_S * 0.999 for gap in apart)


def test_the_first_are_told_at_once_and_2000_in_steps_of_a_twentieth_of_a_second() -> None:
    plan = batches(2_000, 5.0)
    assert plan[0].at_s == 0
    assert len(plan) == 75  # over 3.75 s: the last has the other 1.25 s
    assert {batch.size for batch in plan} == {26, 27}


def test_the_longest_end_has_each_of_its_parts() -> None:
    assert longest_s(3.0, 5.0) - longest_s(0.0, 5.0) == 3.0
    assert longest_s(3.0, 5.0) > 3.0 + 5.0 + CLOSES_S
