"""Ledgers: right lines are right, and each wrong that could be in one is found and named."""

from typing import Any

from execgate.audit.ledgers import Ledgers
from execgate.audit.records import Described, Received, Record, Subscribed, Told
from execgate.audit.truth import Entry, Truth

EPOCH, HEAD = "00000000000000aa", 10


def judged(*lines: dict[str, Any], records: tuple[Record, ...] = (), floor: int = 1) -> Ledgers:
    ledgers = Ledgers(Truth(Entry(EPOCH, seq, "ex.A.", "", 0) for seq in range(floor, HEAD + 1)))
    for record in records:
        ledgers.hear(record)
    for line in lines:
        ledgers.take(line)
    ledgers.close()
    return ledgers


def lines(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A session's line and its gateway's, with `changes` such as `stretch__until`."""
    stretch = {"topics": ["*"], "epoch": EPOCH, "after": 0, "until": 9, "matched": 9, "limited": False}
    line: dict[str, Any] = {"gateway": "g", "life": 1, "unlisted": 0, "unlisted_matched": 0, "snapshot": 0}
    line |= {"matched": 9, "delivered": 5, "queued": 0, "conflated": 1, "discarded": 1}
    total = {**line, "is": "gateway", "sessions": 1, "dropped": 2}
    line |= {"is": "session", "session": "g-1", "dropped": {"slow": 1, "behind": 1}, "stretches": [stretch]}
    for name, value in changes.items():
        where, _, key = name.partition("__")
        {"line": line, "stretch": stretch, "total": total}[where][key] = value
    return line, total


def told(**changes: Any) -> list[str]:
    """What is found where a right line is changed."""
    return [wrong.what for wrong in judged(*lines(**changes)).wrongs]


def test_a_gateways_line_that_is_wrong_is_found() -> None:
    where = f"epoch {EPOCH} behind 0 up to"
    assert told() == []
    assert told(line__delivered=4)[0] == "9 matched, and 8 have a fate"
    assert told(stretch__until=10) == [f"{where} 10: 9 matched where the journal has 10"]
    assert told(stretch__until=8) == [f"{where} 8: 9 matched where the journal has 8"]
    assert told(stretch__until=11) == [f"{where} 11: the journal ends at 10"]
    assert told(stretch__until=10, stretch__limited=True) == []
    assert told(stretch__until=8, stretch__limited=True) != []
    assert told(line__snapshot=1) == ["9 matched, and 9 in its stretches, 1 in snapshots"]
    assert told(total__matched=8) == ["matched 8, and 9 in the lines of its sessions"]
    assert told(total__sessions=2) == ["sessions 2, and 1 in the lines of its sessions"]


def test_what_the_journal_has_let_go_of_is_not_judged_and_is_counted() -> None:
    found = judged(*lines(stretch__until=8), floor=3)
    assert (found.unjudged, found.wrongs) == (1, [])
    assert judged(*lines(stretch__until=8, stretch__after=2), floor=3).wrongs != []
    assert judged(*lines(stretch__epoch="00000000000000bb")).unjudged == 1


def test_what_matched_in_an_epoch_that_nothing_was_published_in_yet_is_found() -> None:
    other = "00000000000000bb"
    ledgers = Ledgers(Truth([Entry(EPOCH, 1, "ex.A.", "", 0)], [EPOCH, other]))
    ledgers.take(lines(stretch__epoch=other)[0])
    assert [wrong.what for wrong in ledgers.wrongs] == [f"epoch {other} behind 0 up to 9: the journal ends at 0"]


def test_a_gateway_that_was_killed_is_unfinished_and_two_lives_of_one_name_are_two() -> None:
    line, total = lines()
    found = judged(line, total, line | {"life": 2})
    assert (found.gateways, found.unfinished, found.wrongs) == (2, 1, [])


def heard(start: int = 0, count: int = 5, last: int = 9, told: int = 2) -> tuple[Record, ...]:
    return (
        Described("c", "volatile", ("*",)),
        Subscribed("c", EPOCH, start, True, None, "g-1"),
        Received("c", EPOCH, 1, last, count, 0, ()),
        Told("c", 3, 4, told, "slow"),
        Told("c", 3, 4, 7, "upstream"),
        Subscribed("c", EPOCH, 9, True, None, "g-2"),
        Received("c", EPOCH, 10, 10, 1, 0, ()),
    )


def test_a_client_that_heard_other_things_than_its_session_says_is_found() -> None:
    def compared(records: tuple[Record, ...], **changes: Any) -> list[str]:
        found = judged(*lines(**changes), records=records)
        assert found.compared == 1
        return [wrong.what for wrong in found.wrongs]

    assert compared(heard()) == []
    assert compared(heard(count=4, told=0)) == [], "what was on its way when it ended is nobody's fault"
    assert compared(heard(count=6)) == ["its client received 6 where 5 were delivered"]
    assert compared(heard(told=3)) == ["its client was told of 3 dropped where 2 were"]
    assert compared(heard(start=1)) == [
        f"its client began in epoch {EPOCH} behind 1, it in epoch {EPOCH} behind 0"
    ]
    assert compared(heard(last=10)) == [f"its client received up to 10 of epoch {EPOCH}, beyond its end"]
    assert compared(heard(last=10), line__unlisted=1) == [], "it may have gone on in a stretch that is not listed"


def test_a_name_that_two_sessions_have_is_compared_with_neither() -> None:
    line, total = lines()
    found = judged(line, total, line | {"life": 2}, records=heard(count=6))
    assert (found.compared, found.wrongs) == (0, [])


def publishers(**changes: Any) -> list[str]:
    line = {"is": "publisher", "life": 1, "epoch": EPOCH, "after": 4, "until": 10}
    counts = {"accepted": 6, "journaled": 6, "published": 6}
    return [wrong.what for wrong in judged(line | counts | changes).wrongs]


def test_a_publishers_line_that_is_wrong_is_found() -> None:
    assert publishers() == []
    assert publishers(published=5) == ["6 accepted, 6 journaled, 5 published, 6 seqs, 6 in the journal"]
    assert publishers(until=11) != []
    assert publishers(after=11, until=11, accepted=0, journaled=0, published=0) == [], "a life without an update"
    assert publishers(accepted=7, journaled=7, published=7, until=11) == [
        "7 accepted, 7 journaled, 7 published, 7 seqs, 6 in the journal"
    ]
