"""The books: what a perfect client writes balances; each wrong that could be done to it is found and named."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.audit import chain
from execgate.audit.books import Books
from execgate.audit.records import Described, Left, Passed, Received, Record, Subscribed, Told
from execgate.audit.truth import Entry, Truth

EPOCH, HEAD = "00000000000000aa", 20
ENTRIES = [
    Entry(EPOCH, seq, f"ex.S{seq % 2}.", f"k{seq % 4}", chain.digest(b"%d" % seq)) for seq in range(1, HEAD + 1)
]
TRUTH = Truth(ENTRIES)
EVERYTHING, ODD = ("*",), ("ex.S1.",)


def received(*seqs: int, epoch: str = EPOCH) -> Received:
    value = 0
    for seq in seqs:
        value = chain.extend(value, chain.digest(b"%d" % seq))
    return Received("c", epoch, seqs[0], seqs[-1], len(seqs), value, tuple(seqs))


def run(first: int, last: int) -> Received:
    return received(*range(first, last + 1))


def begun(seq: int = 0, *, recovered: bool = True, told_until: int | None = None) -> Subscribed:
    return Subscribed("c", EPOCH, seq, recovered, told_until)


def passed(seq: int, dropped: int = 0, conflated: int = 0) -> Passed:
    return Passed("c", EPOCH, seq, dropped, conflated)


def left(seq: int) -> Left:
    return Left("c", EPOCH, seq)


def judged(
    records: Sequence[Record], mode: str = "all", topics: tuple[str, ...] = EVERYTHING, truth: Truth = TRUTH
) -> Books:
    books = Books(truth, Described("c", mode, topics))
    for record in records:
        books.take(record)
    books.close()
    return books


Case: TypeAlias = tuple[str, tuple[str, ...], list[Record]]

BALANCED: dict[str, Case] = {
    "all in one piece": ("all", EVERYTHING, [begun(), run(1, HEAD)]),
    "resumed": ("all", EVERYTHING, [begun(), run(1, 7), begun(7), run(8, HEAD)]),
    "who came late was not owed what came before": ("all", EVERYTHING, [begun(5, recovered=False), run(6, HEAD)]),
    "some topics": ("all", ODD, [begun(), received(1, 3, 5), passed(6), begun(6), received(*range(7, HEAD, 2))]),
    "a topic that nothing came of": ("all", ("ex.none.",), [begun(), passed(HEAD)]),
    "a prefix": ("all", ("ex.S*",), [begun(), run(1, HEAD)]),
    "told": (
        "volatile",
        EVERYTHING,
        [begun(), run(1, 4), Told("c", 5, 9, 5, "slow"), run(10, 12), passed(12, dropped=5), run(13, HEAD)],
    ),
    "evicted": ("all", EVERYTHING, [begun(), run(1, 4), begun(9, recovered=False, told_until=9), run(10, HEAD)]),
    "told, and the rest of it conflated": (
        "conflate",
        EVERYTHING,
        [begun(), run(1, 4), Told("c", 5, 6, 2, "upstream"), run(9, HEAD), passed(HEAD, conflated=2)],
    ),
    # Keys repeat every 4: 9 to 12 stand for 5 to 8.
    "conflated": (
        "conflate",
        EVERYTHING,
        [begun(), run(1, 4), run(9, 12), passed(12, conflated=4), run(13, HEAD), passed(HEAD, conflated=4)],
    ),
    "who left is owed nothing of what follows": ("all", EVERYTHING, [begun(), run(1, 7), left(7)]),
    "who left at a heartbeat's position": ("all", ODD, [begun(), received(1, 3), passed(4), left(4)]),
    # 17 to 20 would have come in the place of 13 to 16.
    "who left before the newer one came": ("conflate", EVERYTHING, [begun(), run(1, 12), received(17), left(17)]),
}


@pytest.mark.parametrize("name", BALANCED)
def test_what_is_right_balances(name: str) -> None:
    mode, topics, records = BALANCED[name]
    books = judged(records, mode, topics)
    assert books.flaws == []
    fates = books.fates
    assert fates.owed == fates.received + fates.told + fates.conflated
    assert fates.lost == 0


WRONG: dict[str, tuple[str, tuple[str, ...], list[Record], int, str]] = {
    "a hole": ("all", EVERYTHING, [begun(), run(1, 4), run(6, HEAD)], 5, "lost"),
    "a hole within a piece": ("all", EVERYTHING, [begun(), received(1, 2, *range(4, HEAD + 1))], 1, "received"),
    "the tail": ("all", EVERYTHING, [begun(), run(1, HEAD - 1)], HEAD, "lost"),
    "a double": ("all", EVERYTHING, [begun(), run(1, 7), begun(7), run(7, HEAD)], 7, "doubled"),
    "a swap": ("all", EVERYTHING, [begun(), run(1, 4), received(6), received(5), run(7, HEAD)], 5, "lost"),
    "a topic that was not asked for": ("all", ODD, [begun(), run(1, HEAD)], 1, "received"),
    "beyond the journal": ("all", EVERYTHING, [begun(), run(1, HEAD), received(HEAD + 1)], HEAD + 1, "not-in"),
    "resumed from nowhere": (
        "all",
        EVERYTHING,
        [begun(), run(1, 4), begun(9, recovered=False), run(10, HEAD)],
        5,
        "lost",
    ),
    "a heartbeat ahead of the stream": (
        "all",
        EVERYTHING,
        [begun(), run(1, 4), passed(6), run(5, HEAD)],
        5,
        "lost",
    ),
    "told one too few": (
        "volatile",
        EVERYTHING,
        [begun(), run(1, 4), Told("c", 5, 9, 4, "slow"), run(10, HEAD)],
        5,
        "told 4",
    ),
    "a count without a gap": (
        "volatile",
        EVERYTHING,
        [begun(), run(1, HEAD), passed(HEAD, dropped=1)],
        HEAD,
        "dropped",
    ),
    "conflated for nothing newer": ("conflate", EVERYTHING, [begun(), run(1, HEAD - 1)], HEAD, "lost"),
    "a wrong count of what was conflated": (
        "conflate",
        EVERYTHING,
        [begun(), run(1, 4), run(9, HEAD), passed(HEAD, conflated=3)],
        HEAD,
        "conflated 3",
    ),
    "lost before it left": ("all", EVERYTHING, [begun(), run(1, 6), left(7)], 7, "lost"),
    "it left beyond the journal": ("all", EVERYTHING, [begun(), run(1, HEAD), left(HEAD + 1)], HEAD + 1, "not-in"),
    "it left and went on": ("all", EVERYTHING, [begun(), run(1, 7), left(7), run(8, HEAD)], 7, "after-left"),
    "it left and no newer one was to come": (
        "conflate",
        EVERYTHING,
        [begun(), run(1, 16), received(18), left(18)],
        17,
        "lost",
    ),
    "never subscribed": ("all", EVERYTHING, [], 0, "never"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found_and_named(name: str) -> None:
    mode, topics, records, seq, what = WRONG[name]
    found = judged(records, mode, topics).flaws
    assert any(flaw.seq == seq and flaw.what.startswith(what) for flaw in found), found


SET_BACK = begun(5, recovered=False, told_until=5)
REPEATED: dict[str, tuple[str, list[Record], list[int]]] = {
    "in one piece": ("all", [SET_BACK, run(6, HEAD)], [6]),
    "in pieces, with heartbeats that are true of them": (
        "all",
        [SET_BACK, passed(5), run(6, 8), passed(8), run(9, 11), run(12, 14), passed(14), run(15, HEAD)],
        [6],
    ),
    "to exactly where it was": ("all", [SET_BACK, run(6, 12), run(13, HEAD)], [6]),
    "and it resumes on the way": ("all", [SET_BACK, run(6, 8), begun(8), run(9, 13), run(14, HEAD)], [6]),
    "without a word": ("all", [run(6, 8), passed(8), run(9, HEAD)], [6]),
    "twice": ("all", [SET_BACK, run(6, 8), SET_BACK, run(6, HEAD)], [6, 6]),
    "twice, in one session": ("all", [SET_BACK, run(6, 10), run(8, HEAD)], [6, 8]),
    "never, though it was set back": ("all", [SET_BACK, begun(12), run(13, HEAD)], []),
    "some of it was told, which counts for the session": (
        "volatile",
        [SET_BACK, Told("c", 6, 9, 4, "slow"), passed(9, dropped=4), run(10, HEAD)],
        [10],
    ),
    "some of it was conflated, as in the session before": (
        "conflate",
        [SET_BACK, received(7, 8, 9, 12, 13), passed(13, conflated=3), run(14, HEAD), passed(HEAD, conflated=3)],
        [7],
    ),
}


@pytest.mark.parametrize("name", REPEATED)
def test_what_comes_again_is_one_flaw_however_much_it_is_and_what_is_new_behind_it_is_received(name: str) -> None:
    mode, records, seqs = REPEATED[name]
    books = judged([begun(), run(1, 12), *records], mode)
    assert [flaw.seq for flaw in books.flaws] == seqs, books.flaws
    assert books.fates.owed == books.fates.received == HEAD
    assert books.fates.lost == books.fates.told == books.fates.conflated == 0


@pytest.mark.parametrize(
    ("records", "what"),
    [
        ([run(6, 8), received(10, 11), run(12, HEAD)], "doubled-or-out-of-order"),  # a hole in what it has anyway
        ([run(6, 8), passed(7), run(9, HEAD)], "position"),
        ([run(6, 8), passed(9), run(9, HEAD)], "doubled-or-out-of-order"),
        ([dataclasses.replace(run(6, HEAD), hash=1)], "other-content"),
        ([received(*range(6, 15), *range(16, HEAD + 1))], "received"),
        ([run(6, HEAD - 1)], "lost"),
        ([run(6, 13), run(15, HEAD)], "lost"),
    ],
)
def test_what_is_wrong_in_a_repetition_or_behind_it_is_found(records: list[Record], what: str) -> None:
    before: list[Record] = [begun(), run(1, 12), SET_BACK]
    found = judged(before + records).flaws
    assert found[0].what == "doubled-or-out-of-order"
    assert [flaw.what.split()[0] for flaw in found[-1:]] == [what]


def test_what_was_conflated_once_is_counted_once_though_it_is_conflated_again() -> None:
    records: list[Record] = [begun(), run(1, 4), run(9, 12), SET_BACK, run(9, HEAD), passed(HEAD, conflated=3)]
    books = judged(records, "conflate")
    assert [flaw.seq for flaw in books.flaws] == [9]
    assert (books.fates.owed, books.fates.received, books.fates.conflated) == (HEAD, HEAD - 4, 4)


def test_what_a_session_conflated_is_counted_through_an_epoch() -> None:
    other = "00000000000000bb"
    entries = [Entry(other, seq, "ex.S1.", "k", chain.digest(b"%d" % seq)) for seq in range(1, 4)]
    records: list[Record] = [
        begun(),
        run(1, 4),
        run(9, HEAD),
        received(3, epoch=other),
        Passed("c", other, 3, 0, 6),
    ]
    books = judged(records, "conflate", truth=Truth([*ENTRIES, *entries]))
    assert books.flaws == []
    assert books.fates.conflated == 6


def test_another_payload_under_the_same_seq_is_found() -> None:
    right = run(1, HEAD)
    [flaw] = judged([begun(), dataclasses.replace(right, hash=right.hash ^ 1)]).flaws
    assert (flaw.seq, flaw.what.split()[0]) == (1, "other-content")


def test_an_epoch_that_ended_untold_is_lost_and_one_that_was_told_balances() -> None:
    other = "00000000000000bb"
    truth = Truth([*ENTRIES, Entry(other, 1, "ex.S1.", "k", chain.digest(b"1"))])
    ends: list[Record] = [begun(), run(1, HEAD - 2), received(1, epoch=other)]
    assert [flaw.seq for flaw in judged(ends, truth=truth).flaws] == [HEAD - 1, HEAD]
    ends.insert(2, Told("c", HEAD - 1, None, None, "epoch"))
    assert judged(ends, truth=truth).flaws == []


def test_of_an_epoch_that_nothing_was_published_in_yet_nothing_is_owed() -> None:
    other = "00000000000000bb"
    truth = Truth(ENTRIES, [EPOCH, other])
    moves: dict[str, list[Record]] = {
        "resumed in it": [Subscribed("c", other, 0, False, 0)],
        "went along": [Passed("c", other, 0, 0, 0)],
        "left in it": [Passed("c", other, 0, 0, 0), Left("c", other, 0)],
        "has not heard of it": [],
    }
    for name, move in moves.items():
        books = judged([begun(), run(1, HEAD), *move], truth=truth)
        assert (name, books.flaws, books.fates.owed) == (name, [], HEAD)
        books = judged([begun(), run(1, HEAD - 1), *move], truth=truth)
        told = name == "resumed in it"  # it has no position there: its gap says so
        assert (name, [(flaw.epoch, flaw.seq) for flaw in books.flaws]) == (name, [] if told else [(EPOCH, HEAD)])
        assert books.fates.told == told
    [flaw] = judged([Subscribed("c", other, 0, True, None), received(1, epoch=other)], truth=truth).flaws
    assert (flaw.epoch, flaw.what) == (other, "not-in-journal")
    assert judged([], truth=Truth([], [EPOCH])).flaws == []


@given(st.lists(st.sampled_from(["lose", "double", "swap", "stop"]), max_size=2), st.data())
def test_a_stream_balances_exactly_when_each_seq_came_once_and_in_order(
    wrongs: list[str], data: st.DataObject
) -> None:
    """Against the plain comparison of lists, whatever is done to a stream and wherever it is cut into pieces."""
    stream = list(range(1, HEAD + 1))
    for wrong in wrongs:
        at = data.draw(st.integers(0, max(len(stream) - 2, 0)))
        if wrong == "lose":
            del stream[at : at + 1]
        elif wrong == "double":
            stream[at:at] = stream[at : at + 1]
        elif wrong == "swap":
            stream[at : at + 2] = stream[at : at + 2][::-1]
        else:
            del stream[at:]
    cuts = data.draw(st.sets(st.integers(1, HEAD)))
    pieces: list[list[int]] = []
    for index, seq in enumerate(stream):
        if index in cuts or not pieces or seq <= pieces[-1][-1]:
            pieces.append([])
        pieces[-1].append(seq)
    books = judged([begun(), *(received(*piece) for piece in pieces)])
    assert (not books.flaws) == (stream == list(range(1, HEAD + 1)))
    if set(wrongs) <= {"double"}:
        assert len(books.flaws) == len(wrongs)
        assert (books.fates.received, books.fates.lost) == (HEAD, 0)
