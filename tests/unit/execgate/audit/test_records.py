"""A history file is read as it was written; what is none of its records is refused with its line."""

import pytest

from execgate.audit import records
from execgate.audit.records import Described, Left, Received, Subscribed, Told


def test_each_kind_is_read_and_other_lines_are_skipped() -> None:
    lines: list[str | bytes] = [
        '{"client": "c", "is": "client", "mode": "all", "topics": ["*"]}',
        '{"client": "c", "is": "asked", "session": "g-1", "since": null}',
        '{"client": "c", "is": "subscribed", "epoch": "aa", "seq": 3, "recovered": false, "gap": {"to": 3}}',
        '{"client":"c", "is":"subscribed", "session":"g-1", "epoch":"aa", "seq":3, "recovered":true, "gap":null}',
        b'{"client": "c", "is": "received", "epoch": "aa", "first": 4, "last": 6, "count": 3, "hash": 9}',
        '{"client": "c", "is": "gap", "first": 7, "last": null, "count": null, "why": "epoch"}',
        '{"client": "c", "is": "left", "epoch": "aa", "seq": 7}',
    ]
    assert list(records.read(lines)) == [
        Described("c", "all", ("*",)),
        Subscribed("c", "aa", 3, False, 3),
        Subscribed("c", "aa", 3, True, None, "g-1"),
        Received("c", "aa", 4, 6, 3, 9, ()),
        Told("c", 7, None, None, "epoch"),
        Left("c", "aa", 7),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        '{"is": "client"}',
        '{"client": "c", "is": "received", "epoch": "aa", "first": "4", "last": 6, "count": 3, "hash": 9}',
        '{"client": "c", "is": "gap", "first": 7, "last": 8, "why": "slow"}',
        '{"client": "c", "is": "left", "epoch": "aa"}',
        '{"client":"c", "is":"subscribed", "session":7, "epoch":"aa", "seq": 3, "recovered": true, "gap": null}',
    ],
)
def test_a_line_that_is_no_record_is_named(line: str) -> None:
    good = '{"client": "c", "is": "client", "mode": "all", "topics": ["*"]}'
    with pytest.raises(records.RecordError, match="line 2"):
        list(records.read([good, line]))
