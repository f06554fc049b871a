"""Streams that leave out updates by right: what was told is no loss, what was not is one; against the truth."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.core.sparse_check import MAX_TOPICS, SparseCheck

SENT, TOLD, LOST, MERGED = "sent", "told", "lost", "merged"


def faults(*kinds: str) -> st.SearchStrategy[list[tuple[str, int]]]:
    """What becomes of each update, and its topic."""
    return st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 2)), max_size=60)


def play(check: SparseCheck, fates: list[tuple[str, int]], *, topics: set[int], beats: bool) -> Counter[str]:
    """Let a server send what `fates` says to a subscriber of `topics`, and tell what it must; return the truth."""
    tseqs: Counter[int] = Counter()
    truth: Counter[str] = Counter()
    check.begin("e", 0)
    told = merged = 0
    for seq, (fate, topic) in enumerate(fates, 1):
        tseqs[topic] += 1
        if topic not in topics:
            continue
        truth[fate] += 1
        if fate == TOLD:
            told += 1
        elif fate == MERGED:
            merged += 1
        elif fate == SENT:
            if told:
                check.miss(told, is_allowed=True)
                told = 0
            check.take("e", seq, str(topic), tseqs[topic])
            if beats:
                check.beat("e", seq, merged)
    if told:
        check.miss(told, is_allowed=True)
    if beats:
        check.beat("e", len(fates), merged)
    return truth


EVERY = {0, 1, 2}


@given(faults(SENT, TOLD, LOST))
def test_of_everything_volatile_exactly_what_was_not_told_is_missing(fates: list[tuple[str, int]]) -> None:
    check = SparseCheck(is_whole=True, conflates=False)
    truth = play(check, fates, topics=EVERY, beats=True)
    assert (check.missing, check.dropped, check.told_missing) == (truth[LOST], truth[TOLD], 0)
    assert check.contiguous == (not truth[LOST])


@given(faults(SENT, MERGED, LOST))
def test_of_everything_conflated_exactly_what_was_not_merged_is_missing(fates: list[tuple[str, int]]) -> None:
    check = SparseCheck(is_whole=True, conflates=True)
    truth = play(check, fates, topics=EVERY, beats=True)
    assert (check.missing, check.conflated) == (truth[LOST], truth[MERGED])


@given(faults(SENT, LOST), st.sets(st.integers(0, 2), min_size=1))
def test_within_a_topic_a_hole_between_two_updates_is_seen(fates: list[tuple[str, int]], topics: set[int]) -> None:
    # The first and the last of each topic come: what lies before and behind, nobody who gets a part can know.
    ends = [(SENT, topic) for topic in range(3)]
    check = SparseCheck(is_whole=False, conflates=False)
    truth = play(check, ends + fates + ends, topics=topics, beats=False)
    assert check.missing == truth[LOST]
    assert check.contiguous == (not truth[LOST])


@given(faults(SENT, TOLD), st.sets(st.integers(0, 2), min_size=1))
def test_within_a_topic_what_was_told_is_no_hole(fates: list[tuple[str, int]], topics: set[int]) -> None:
    check = SparseCheck(is_whole=False, conflates=False)
    truth = play(check, fates, topics=topics, beats=False)
    assert (check.missing, check.dropped) == (0, truth[TOLD])


def whole(**options: Any) -> SparseCheck:
    check = SparseCheck(**{"is_whole": True, "conflates": False, **options})
    check.begin("e", 0)
    return check


def test_what_comes_again_or_late_is_a_duplicate_in_every_mode() -> None:
    for check in (whole(), whole(conflates=True), whole(is_whole=False)):
        for seq in (1, 2, 2, 1, 3):
            check.take("e", seq, "t", seq)
        assert (check.duplicates, check.missing, check.contiguous) == (2, 0, False)


def test_a_loss_that_the_mode_does_not_allow_is_one_though_it_was_told() -> None:
    check = whole()
    check.miss(3)
    check.take("e", 4, "t", 4)
    assert (check.told_gaps, check.told_missing, check.dropped, check.gaps) == (1, 3, 0, 0)
    assert check.contiguous


def test_a_gap_of_unknown_size_makes_every_topic_begin_anew() -> None:
    check = whole(is_whole=False)
    check.take("e", 1, "t", 1)
    check.miss(None)
    check.take("e", 9, "t", 9)
    assert (check.told_gaps, check.missing) == (1, 0)
    check.take("e", 11, "t", 11)
    assert check.missing == 1


def test_a_new_epoch_begins_anew() -> None:
    check = whole(is_whole=False)
    check.take("e", 7, "t", 7)
    check.take("f", 2, "t", 2)
    assert (check.epoch_changes, check.duplicates, check.missing) == (1, 0, 0)
    check.take("f", 5, "t", 4)
    assert check.missing == 1


def test_a_resumed_stream_goes_on_where_it_stood() -> None:
    check = whole()
    check.take("e", 1, "t", 1)
    check.miss(2, is_allowed=True)  # 2 and 3; then the connection is lost
    assert check.resume_point == ("e", 1)
    check.resume("e", 1, None)
    for seq in (2, 3, 4):
        check.take("e", seq, "t", seq)
    assert check.contiguous
    check.take("e", 6, "t", 6)
    assert check.missing == 1, "what was told before it resumed is sent after all, and excuses nothing"


def test_what_was_told_before_it_resumed_excuses_no_hole_that_the_resume_leaves() -> None:
    check = whole()
    check.take("e", 1, "t", 1)
    check.miss(2, is_allowed=True)
    check.resume("e", 3, None)
    assert check.missing == 2


@pytest.mark.parametrize(
    ("gap", "missing", "told"), [(None, 4, 0), ((2, 5), 0, 4), ((2, None), 0, 4), ((2, 3), 2, 2)]
)
def test_what_a_resumed_stream_skips_is_lost(gap: Any, missing: int, told: int) -> None:
    check = whole()
    check.take("e", 1, "t", 1)
    check.resume("e", 5, gap)
    check.take("e", 6, "t", 6)
    assert (check.missing, check.told_missing) == (missing, told)


def test_what_was_merged_behind_the_last_heartbeat_of_a_connection_is_owed_by_nobody() -> None:
    check = whole(conflates=True)
    check.take("e", 5, "t", 5)
    check.resume("e", 5, None)
    check.take("e", 7, "t", 7)
    check.beat("e", 7, 1)
    assert (check.missing, check.conflated) == (0, 1)
    check.beat("e", 8, 1)
    assert check.missing == 1


def test_topics_beyond_the_bound_are_not_checked() -> None:
    check = whole(is_whole=False)
    for number in range(MAX_TOPICS + 1):
        check.take("e", number + 1, f"t{number}", 1)
    check.take("e", MAX_TOPICS + 2, f"t{MAX_TOPICS}", 9)
    assert check.missing == 0
    check.take("e", MAX_TOPICS + 3, "t0", 9)
    assert check.missing == 7
