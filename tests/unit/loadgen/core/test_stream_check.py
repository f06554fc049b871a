"""The stream check against tables of streams, and against a naive model that keeps whole sets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.core.stream_check import MAX_RANGES, StreamCheck

COUNTS = ("gaps", "missing", "told_gaps", "told_missing", "duplicates", "reorders", "epoch_changes")


def counts_of(check: Any) -> dict[str, int]:
    return {name: getattr(check, name) for name in COUNTS if getattr(check, name)}


@pytest.mark.parametrize(
    ("seqs", "expected"),
    [
        ([5, 6, 7], {}),
        ([1, 3], {"gaps": 1, "missing": 1}),
        ([1, 5, 9], {"gaps": 2, "missing": 6}),
        ([1, 2, 2], {"duplicates": 1}),
        ([1, 3, 2], {"reorders": 1}),
        ([1, 4, 2], {"gaps": 1, "missing": 1, "reorders": 1}),
        ([1, 5, 3], {"gaps": 2, "missing": 2, "reorders": 1}),
        ([1, 3, 2, 2], {"reorders": 1, "duplicates": 1}),
        ([5, 4], {"duplicates": 1}),
    ],
)
def test_what_a_stream_lacks(seqs: list[int], expected: dict[str, int]) -> None:
    check = StreamCheck()
    for seq in seqs:
        check.observe("a", seq)
    assert counts_of(check) == expected


def test_the_subscription_names_the_beginning() -> None:
    """An update lost between `subscribed` and the first one that came is a gap."""
    check = StreamCheck()
    check.begin("a", 10)
    check.observe("a", 12)
    assert counts_of(check) == {"gaps": 1, "missing": 1}


def test_a_new_subscription_is_owed_nothing_of_before() -> None:
    check = StreamCheck()
    check.observe("a", 10)
    check.begin("a", 20)
    check.observe("a", 21)
    assert counts_of(check) == {}


def test_a_heartbeat_shows_a_lost_tail_once() -> None:
    check = StreamCheck()
    check.begin("a", 10)
    check.pass_to("a", 12)
    check.pass_to("a", 12)
    check.observe("a", 13)
    assert counts_of(check) == {"gaps": 1, "missing": 2}


def test_a_new_epoch_begins_at_one() -> None:
    check = StreamCheck()
    check.observe("a", 10)
    check.observe("b", 3)
    assert counts_of(check) == {"epoch_changes": 1, "gaps": 1, "missing": 2}


def test_a_told_epoch_is_no_other_change() -> None:
    check = StreamCheck()
    check.observe("a", 10)
    check.change_epoch("b")
    check.tell(1, 2)
    check.observe("b", 3)
    assert counts_of(check) == {"epoch_changes": 1, "told_gaps": 1, "told_missing": 2}


@pytest.mark.parametrize("told_first", [True, False])
def test_a_told_gap_is_no_untold_one_whenever_it_is_told(told_first: bool) -> None:
    check = StreamCheck()
    check.begin("a", 1)
    if told_first:
        check.tell(2, 4)
    check.observe("a", 5)
    if not told_first:
        check.tell(2, 4)
    assert counts_of(check) == {"told_gaps": 1, "told_missing": 3}
    assert check.contiguous


def test_a_gap_that_is_told_early_is_remembered_until_it_is_met() -> None:
    check = StreamCheck()
    check.begin("a", 0)
    check.tell(3, 3)
    check.observe("a", 2)
    check.observe("a", 4)
    assert counts_of(check) == {"gaps": 1, "missing": 1, "told_gaps": 1, "told_missing": 1}


def test_a_gap_that_is_told_and_then_replayed_leaves_nothing_missing() -> None:
    check = StreamCheck()
    check.begin("a", 1)
    check.tell(2, 3)
    for seq in (2, 3, 4):
        check.observe("a", seq)
    assert counts_of(check) == {"told_gaps": 1}


@pytest.mark.parametrize(
    ("epoch", "seq", "gap", "expected"),
    [
        ("a", 10, None, {}),
        ("a", 12, None, {"gaps": 1, "missing": 2}),  # it was said to be whole, and is not
        ("a", 12, (11, 12), {"told_gaps": 1, "told_missing": 2}),
        ("a", 13, (11, 12), {"told_gaps": 1, "told_missing": 2, "gaps": 1, "missing": 1}),
        ("a", 12, (11, None), {"told_gaps": 1, "told_missing": 2}),
        ("b", 0, (11, None), {"told_gaps": 1, "epoch_changes": 1}),
        ("b", 2, (11, None), {"told_gaps": 1, "told_missing": 2, "epoch_changes": 1}),
    ],
)
def test_a_stream_that_is_resumed_goes_on_where_it_stood(
    epoch: str, seq: int, gap: tuple[int, int | None] | None, expected: dict[str, int]
) -> None:
    check = StreamCheck()
    check.begin("a", 9)
    check.observe("a", 10)
    assert check.resume_point == ("a", 10)
    check.resume(epoch, seq, gap)
    check.observe(epoch, seq + 1)
    assert counts_of(check) == expected
    check.observe(epoch, seq + 1)
    assert check.duplicates == 1, "what comes again is seen, whatever connection it comes on"


def test_what_was_told_is_not_asked_for_again() -> None:
    check = StreamCheck()
    assert check.resume_point is None
    check.begin("a", 5)
    check.tell(6, 9)
    assert check.resume_point == ("a", 9)
    check.resume("a", 9, None)
    assert counts_of(check) == {"told_gaps": 1, "told_missing": 4}


class Model:
    """Keeps every seq of one epoch."""

    def __init__(self) -> None:
        self.begun_at: int | None = None
        self.highest = 0
        self.received: set[int] = set()
        self.told: set[int] = set()
        self.told_gaps = self.duplicates = self.reorders = self.epoch_changes = 0

    def observe(self, epoch: str, seq: int) -> None:
        if self.begun_at is None:
            self.begun_at = self.highest = seq
        elif seq in self.received or seq <= self.begun_at:
            self.duplicates += 1
        elif seq <= self.highest:
            self.reorders += 1
        self.received.add(seq)
        self.highest = max(self.highest, seq)

    def pass_to(self, epoch: str, seq: int) -> None:
        if self.begun_at is None:
            self.begun_at = seq
        self.highest = max(self.highest, seq)

    def tell(self, first: int, last: int) -> None:
        self.told_gaps += 1
        self.told |= set(range(first, last + 1))

    def resume(self, epoch: str, seq: int, gap: tuple[int, int | None] | None) -> None:
        if gap is not None:
            self.tell(gap[0], seq if gap[1] is None else gap[1])
        self.pass_to(epoch, seq)

    @property
    def lost(self) -> set[int]:
        return set(range((self.begun_at or 0) + 1, self.highest + 1)) - self.received

    @property
    def missing(self) -> int:
        return len(self.lost - self.told)

    @property
    def told_missing(self) -> int:
        return len(self.lost & self.told)

    @property
    def gaps(self) -> int:
        untold = self.lost - self.told
        return sum(seq - 1 not in untold for seq in untold)


SEQS = st.integers(1, 12)  # few, so that steps meet each other
STEPS = st.one_of(
    st.tuples(st.just("observe"), SEQS),
    st.tuples(st.just("pass_to"), SEQS),
    st.tuples(st.just("tell"), SEQS, st.integers(0, 3)),
    st.tuples(st.just("resume"), SEQS, st.none() | st.tuples(SEQS, st.none() | SEQS)),
)


@given(st.lists(STEPS, max_size=40))
def test_counts_are_those_of_the_model(steps: list[tuple[Any, ...]]) -> None:
    check, model = StreamCheck(), Model()
    # A gap is told on a stream that has begun; before that there is nothing that it could mean.
    check.begin("a", 0)
    model.begun_at = 0
    for name, seq, *more in steps:
        for one in (check, model):
            if name == "tell":
                one.tell(seq, seq + more[0])
            elif name == "resume":
                one.resume("a", seq, *more)
            else:
                getattr(one, name)("a", seq)
        assert counts_of(check) == counts_of(model)


def test_memory_is_bounded_and_old_holes_stay_counted() -> None:
    check = StreamCheck()
    for seq in range(1, 1001, 2):
        check.observe("a", seq)
    assert check._holes is not None
    assert len(check._holes) == MAX_RANGES
    for first in range(2000, 3000):
        check.tell(first, first)
    assert check.gaps == check.missing == 499
    assert check._told is not None
    assert len(check._told) == MAX_RANGES
    check.observe("a", 2)
    assert check.duplicates == 1, "too old to be known as missing"
    check.observe("a", 998)
    assert (check.reorders, check.missing) == (1, 498)
