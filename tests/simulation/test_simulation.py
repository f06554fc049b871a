"""The simulation in the suite: each history is exact, every fault strikes, planted defects are found."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulation.bookkeeping import audit
from tests.simulation.mutations import MUTATIONS, Mutation, planted
from tests.simulation.plan import make
from tests.simulation.running import explain, outcome, play

HISTORIES = 1_200
PARTS = 6
BUDGET = 600
"""Histories within which each planted defect must be found; most are found by one of the first twenty."""
_TRACE = """
import zlib
from tests.simulation.plan import make
from tests.simulation.running import outcome
print([zlib.crc32(chr(10).join(outcome(make(seed), traces=True)[1].lines).encode()) for seed in range(20)])
"""


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_between_two_steps_each_update_has_one_fate(part: int) -> None:
    for seed in range(part, HISTORIES, PARTS):
        if play(seed) is not None:
            pytest.fail(explain(seed), pytrace=False)


def test_every_fault_is_done_to_somebody() -> None:
    done = Counter(step.kind for seed in range(HISTORIES // PARTS) for step in make(seed).steps)
    assert len(done) == 22
    assert min(done.values()) >= 10, done


def test_faults_strike_and_what_follows_from_them_is_seen() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        error, world = outcome(make(seed), traces=True)
        assert error is None
        assert world is not None
        seen.update(word for line in world.lines for word in SIGNS if word in line)
        seen["another epoch"] += len(world.disk.begun) > 1
    assert not [word for word in (*SIGNS, "another epoch") if not seen[word]], seen


SIGNS = (
    "gateway-0 is dead",
    "publisher is dead",
    " lost",
    "closed with 4108",
    "closed with 1012",
    "'recovered': True",
    "'why': 'slow'",
    "'why': 'evicted'",
    "'why': 'epoch'",
    "epoch-changed",
    "'state': 'stale'",
    "'reason': 'max_messages'",
)


def test_the_books_judge_as_well_and_find_what_is_taken_out() -> None:
    judged = 0
    for seed in range(30):
        error, world = outcome(make(seed))
        assert error is None
        assert world is not None
        for client in world.clients:
            book = client.notebook
            if book is None or client.plan.mode != "all" or len(world.truth.epochs) > 1:
                continue
            received = [line for line in book.lines if line["is"] == "received"]
            if received:
                book.lines.remove(received[-1])
                assert audit(world.truth, [client]) != []
                judged += 1
    assert judged >= 5


def test_a_history_depends_on_its_seed_alone() -> None:
    traces = set()
    for hashes in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": hashes}
        traces.add(subprocess.run([sys.executable, "-c", _TRACE], env=env, capture_output=True, check=True).stdout)
    assert len(traces) == 1


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_defect_is_found(mutation: Mutation) -> None:
    with planted(mutation):
        assert any(play(seed) is not None for seed in range(BUDGET)), "not found"


def test_a_failing_seed_is_explained_in_short_and_can_be_played_again() -> None:
    with planted(next(each for each in MUTATIONS if each.name.startswith("seam: "))):
        seed = next(seed for seed in range(BUDGET) if play(seed) is not None)
        said = explain(seed)
        assert said == explain(seed)
    assert f"again: python -m tests.simulation --seed {seed}" in said
    assert said.count("\n  ") <= 12 < len(make(seed).steps), said
