"""The tracker against a stream of which everything is known: what was published and what was lost."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.wire.tracking import NEXT, Gap, Observation, SequenceTracker, Verdict


def test_the_first_message_joins_and_owes_nothing() -> None:
    tracker = SequenceTracker()
    assert tracker.observe(7, 100) == Observation(Verdict.JOINED, None)
    assert (tracker.epoch, tracker.seq) == (7, 100)


def test_a_heartbeat_may_be_the_first_and_sets_the_position_too() -> None:
    tracker = SequenceTracker()
    assert tracker.observe_heartbeat(7, 0) == Observation(Verdict.JOINED, None)
    assert tracker.observe(7, 1) == Observation(Verdict.NEXT, None)


def test_the_next_message_is_one_object_that_may_be_asked_by_identity() -> None:
    tracker = SequenceTracker()
    tracker.observe(1, 10)
    assert tracker.observe(1, 11) is NEXT
    assert tracker.observe(1, 11) is not NEXT
    assert tracker.observe_heartbeat(1, 11) is NEXT


@pytest.mark.parametrize(
    ("seq", "expected", "position"),
    [
        (11, Observation(Verdict.NEXT), 11),
        (12, Observation(Verdict.GAP, Gap(11, 11)), 12),
        (20, Observation(Verdict.GAP, Gap(11, 19)), 20),
        (10, Observation(Verdict.DUPLICATE), 10),
        (1, Observation(Verdict.DUPLICATE), 10),
        (0, Observation(Verdict.DUPLICATE), 10),
    ],
)
def test_a_message_after_position_10(seq: int, expected: Observation, position: int) -> None:
    tracker = SequenceTracker()
    tracker.observe(1, 10)
    assert tracker.observe(1, seq) == expected
    assert tracker.seq == position


@pytest.mark.parametrize(
    ("seq", "expected", "position"),
    [
        (10, Observation(Verdict.NEXT), 10),
        (9, Observation(Verdict.NEXT), 10),
        (11, Observation(Verdict.GAP, Gap(11, 11)), 11),
        (15, Observation(Verdict.GAP, Gap(11, 15)), 15),
    ],
)
def test_a_heartbeat_after_position_10(seq: int, expected: Observation, position: int) -> None:
    tracker = SequenceTracker()
    tracker.observe(1, 10)
    assert tracker.observe_heartbeat(1, seq) == expected
    assert tracker.seq == position


@pytest.mark.parametrize(
    ("seq", "gap_before_update", "gap_before_heartbeat"),
    [(0, None, None), (1, None, Gap(1, 1)), (2, Gap(1, 1), Gap(1, 2)), (9, Gap(1, 8), Gap(1, 9))],
)
def test_another_epoch_numbers_from_1(
    seq: int, gap_before_update: Gap | None, gap_before_heartbeat: Gap | None
) -> None:
    tracker = SequenceTracker()
    tracker.observe(5, 10)
    assert tracker.observe(6, seq) == Observation(Verdict.NEW_EPOCH, gap_before_update)
    tracker = SequenceTracker()
    tracker.observe(5, 10)
    assert tracker.observe_heartbeat(6, seq) == Observation(Verdict.NEW_EPOCH, gap_before_heartbeat)
    assert (tracker.epoch, tracker.seq) == (6, seq)


# What a network may do to each message of an epoch in turn; a heartbeat follows the update it names.
fates = st.lists(
    st.tuples(
        st.sampled_from(["kept", "kept", "kept", "lost", "doubled", "late"]),
        st.integers(1, 8),  # by how many messages a double or a late one is behind
        st.sampled_from(["none", "none", "heartbeat", "lost heartbeat"]),
    ),
    max_size=30,
)


def arrivals(fate_of_each: list[tuple[str, int, str]]) -> list[tuple[str, int]]:
    """What arrives, in order, of an epoch whose updates 1.. met these fates."""
    at: list[tuple[float, str, int]] = []
    for seq, (fate, behind, heartbeat) in enumerate(fate_of_each, 1):
        if fate in ("kept", "doubled"):
            at.append((seq, "update", seq))
        if fate in ("late", "doubled"):
            at.append((seq + behind + 0.25, "update", seq))
        if heartbeat == "heartbeat":
            at.append((seq + 0.5, "heartbeat", seq))
    return [(kind, seq) for _, kind, seq in sorted(at)]


@settings(max_examples=400, deadline=None)
@given(epochs=st.lists(fates, min_size=1, max_size=4))
def test_each_update_is_delivered_or_lies_in_exactly_one_gap_and_doubles_are_flagged(
    epochs: list[list[tuple[str, int, str]]],
) -> None:
    tracker = SequenceTracker()
    joined = False
    for epoch, fate_of_each in enumerate(epochs, 1):
        accounted: Counter[int] = Counter()
        seen: set[int] = set()
        first_owed, last = 1, 0
        for kind, seq in arrivals(fate_of_each):
            is_update = kind == "update"
            verdict, gap = tracker.observe(epoch, seq) if is_update else tracker.observe_heartbeat(epoch, seq)
            if not joined:
                assert verdict is Verdict.JOINED
                first_owed = seq if is_update else seq + 1
                joined = True
            if gap is not None:
                assert verdict in (Verdict.GAP, Verdict.NEW_EPOCH)
                assert gap.first <= gap.last
                accounted.update(range(gap.first, gap.last + 1))
            if is_update and verdict is not Verdict.DUPLICATE:
                accounted[seq] += 1
            is_double = is_update and (seq in seen or seq <= last)
            assert (verdict is Verdict.DUPLICATE) == is_double
            seen |= {seq} if is_update else set()
            last = max(last, seq)
            assert (tracker.epoch, tracker.seq) == (epoch, last)
        assert accounted == Counter(range(first_owed, last + 1))
