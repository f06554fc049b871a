"""The adversary's plan: all from its seed, every fault of a deck in it, none too early or too late."""

from collections import Counter

import pytest

from chaos.plan import FIRST_S, LAST_S, Fault, blows


def test_a_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert blows(1, 120, 3) == blows(1, 120, 3) != blows(2, 120, 3)


@pytest.mark.parametrize("seed", range(5))
def test_a_long_plan_has_every_fault_and_enough_kills(seed: int) -> None:
    planned = blows(seed, 20 * 60, 3)
    counts = Counter(blow.fault for blow in planned)
    assert set(counts) == set(Fault)
    assert counts[Fault.KILL_GATEWAY] >= 50
    assert counts[Fault.KILL_PUBLISHER] >= 50
    assert planned == sorted(planned, key=lambda blow: blow.at_s)
    assert planned[0].at_s >= FIRST_S
    assert planned[-1].at_s <= 20 * 60 - LAST_S
    assert {blow.gateway for blow in planned} == {0, 1, 2}


def test_what_can_not_be_done_here_is_left_out_and_nothing_else_moves() -> None:
    without = blows(1, 300, 3, frozenset({Fault.FULL_DISK}))
    assert without == [blow for blow in blows(1, 300, 3) if blow.fault is not Fault.FULL_DISK]
