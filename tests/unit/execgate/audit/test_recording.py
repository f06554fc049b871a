"""What a client writes down is what it heard, and the audit reads it as such."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from execgate.audit import chain, records
from execgate.audit.books import Books
from execgate.audit.recording import MAX_PIECE, Digests, Recording
from execgate.audit.records import Described, Left, Passed, Received, Record, Subscribed, Told
from execgate.audit.truth import Entry, Truth

EPOCH, OTHER = "00000000000000aa", "00000000000000bb"


class Notebook:
    """A recording, and what was written so far."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.recording = Recording("c", Digests(), self.lines.append)

    def subscribe(self, seq: int, session: str = "g-1", **more: Any) -> None:
        self.recording.asked(session, None)
        answer = {"mode": "all", "topics": ["*"], "epoch": EPOCH, "seq": seq, "recovered": True, "gap": None}
        self.recording.subscribed(answer | more)

    def receive(self, *seqs: int, epoch: str = EPOCH) -> None:
        for seq in seqs:
            self.recording.update(epoch, seq, f"{seq}")

    def read(self) -> list[Record]:
        read = records.read(map(json.dumps, self.lines))
        return [record for record in read if not isinstance(record, dict)]


def received(*seqs: int, epoch: str = EPOCH, told: bool = False) -> Received:
    value = 0
    for seq in seqs:
        value = chain.extend(value, chain.digest(b"%d" % seq))
    return Received("c", epoch, seqs[0], seqs[-1], len(seqs), value, seqs if told else ())


def test_what_was_heard_is_what_is_read() -> None:
    book = Notebook()
    recording = book.recording
    recording.asked("g-1", None)
    recording.heartbeat({"epoch": EPOCH, "seq": 9, "dropped": 0, "conflated": 0})  # nothing was said of ours yet
    assert [line["is"] for line in book.lines] == ["asked"]
    book.subscribe(4)
    book.receive(5, 6)
    recording.heartbeat({"epoch": EPOCH, "seq": 8, "dropped": 1, "conflated": 2})
    assert (recording.epoch, recording.position) == (EPOCH, 8)
    book.receive(9)
    recording.gap({"from": 10, "to": 12, "count": 3, "why": "slow"})
    assert recording.position == 12
    recording.feed({"state": "epoch-changed", "epoch": OTHER, "seq": 0})
    book.receive(1, epoch=OTHER)
    recording.closed(1006, "lost")
    book.subscribe(1, "g-2", epoch=OTHER)
    recording.end()
    assert book.read() == [
        Described("c", "all", ("*",)),
        Subscribed("c", EPOCH, 4, True, None, "g-1"),
        received(5, 6),
        Passed("c", EPOCH, 8, 1, 2),
        received(9),
        Told("c", 10, 12, 3, "slow"),
        received(1, epoch=OTHER),
        Subscribed("c", OTHER, 1, True, None, "g-2"),
        Left("c", OTHER, 1),
    ]


def test_who_is_subscribed_before_its_gateway_knows_the_feed_begins_where_it_first_hears_of_it() -> None:
    for first in ("update", "heartbeat", "feed"):
        book = Notebook()
        book.subscribe(0, epoch=None, recovered=False)
        book.recording.heartbeat({"epoch": None, "seq": 0, "dropped": 0, "conflated": 0})
        if first == "update":
            book.receive(5)
        elif first == "heartbeat":
            book.recording.heartbeat({"epoch": EPOCH, "seq": 4, "dropped": 0, "conflated": 0})
        else:
            book.recording.feed({"state": "live", "epoch": EPOCH, "seq": 4})
        book.recording.end()
        assert book.read()[:2] == [Described("c", "all", ("*",)), Subscribed("c", EPOCH, 4, False, None, "g-1")]
        assert book.read()[-1] == Left("c", EPOCH, 5 if first == "update" else 4)
    book = Notebook()
    book.subscribe(0, epoch=None, recovered=False)
    book.recording.closed(1006, "lost")
    book.recording.end()
    assert book.read() == [Described("c", "all", ("*",))]


def test_who_is_away_at_the_end_has_not_left() -> None:
    book = Notebook()
    book.subscribe(0)
    book.receive(1)
    book.recording.closed(1006, "lost")
    book.recording.end()
    assert not [record for record in book.read() if isinstance(record, Left)]


def test_who_was_never_subscribed_is_in_the_books_as_such() -> None:
    book = Notebook()
    book.recording.end()
    assert book.read() == [Described("c", "all", ("*",))]


def test_what_comes_again_is_a_run_of_its_own() -> None:
    book = Notebook()
    book.subscribe(0)
    book.receive(1, 2, 2, 3)
    book.recording.flush()
    assert book.read()[2:] == [received(1, 2), received(2, 3)]


def test_with_conflation_each_seq_is_told_and_no_line_grows_without_end() -> None:
    book = Notebook()
    book.subscribe(0, mode="conflate")
    seqs = range(1, 2 * MAX_PIECE + 2, 2)
    book.receive(*seqs)
    book.recording.flush()
    pieces = [record for record in book.read() if isinstance(record, Received)]
    assert pieces == [received(*seqs[:MAX_PIECE], told=True), received(*seqs[MAX_PIECE:], told=True)]


STEPS = st.sampled_from(["receive", "receive", "receive", "beat", "lose", "publish"])


@given(st.lists(STEPS, max_size=60), st.booleans())
def test_a_client_that_hears_everything_once_balances_wherever_it_is_cut_and_ends(
    steps: list[str], ends: bool
) -> None:
    book, head, position = Notebook(), 3, 0
    book.subscribe(0)
    for step in steps:
        if step == "publish":
            head += 2
        elif step == "receive" and position < head:
            position += 1
            book.receive(position)
        elif step == "beat":
            book.recording.heartbeat({"epoch": EPOCH, "seq": position, "dropped": 0, "conflated": 0})
        elif step == "lose":
            book.recording.closed(1006, "lost")
            assert book.recording.position == position
            book.subscribe(position)
    if ends:
        book.recording.end()
    book.recording.flush()
    truth = Truth(Entry(EPOCH, seq, "t.", "", chain.digest(b"%d" % seq)) for seq in range(1, head + 1))
    described, *rest = book.read()
    assert isinstance(described, Described)
    books = Books(truth, described)
    for record in rest:
        books.take(record)
    books.close()
    assert books.fates.received == position
    assert books.fates.lost == len(books.flaws) == (0 if ends else head - position)
