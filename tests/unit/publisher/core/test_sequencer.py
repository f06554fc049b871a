"""The sequencer: contiguous numbers, one topic an update, one time a batch, the rows' own bytes."""

import json
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.errors import RowError
from execgate.wire.topics import TopicTemplate
from execgate.wire.update import Kind, Update
from publisher.core.rows import Row, check
from publisher.core.sequencer import Sequencer

EPOCH = 0xAB
TS_US = 1_767_623_400_123_456


def sequencer(template: str = "ex.{symbol}.", max_topics: int = 10) -> Sequencer:
    return Sequencer(EPOCH, TopicTemplate(template), max_topics)


def row(symbol: str, **fields: object) -> Row:
    return check(json.dumps({"symbol": symbol, **fields}).encode())[0]


def test_the_payload_is_the_data_of_receive_execs_with_the_rows_as_they_came() -> None:
    rows = check(b'[{"symbol":"A.B","price":100.10}, {"price" : 1E2,"symbol":"A.B"}]')
    (update,) = sequencer().stamp(rows, TS_US)
    assert update == Update(
        Kind.DATA,
        b"ex.A%2EB.",
        EPOCH,
        1,
        1,
        TS_US,
        b"",
        b'{"request":1,"rows":2,"timestamp":1767623400123,"ts_us":1767623400123456,"topic":"ex.A%2EB.",'
        b'"epoch":"00000000000000ab","seq":1,"tseq":1,'
        b'"execs":[{"symbol":"A.B","price":100.10},{"price" : 1E2,"symbol":"A.B"}]}',
    )


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        (["K", "K"], b"K"),
        (["K", "L"], b""),
        (["K", None], b""),
        ([5, 5], b""),
        ([""], b""),
        (["k" * 255], b"k" * 255),
        (["k" * 256], b""),
        (["ü"], "ü".encode()),
    ],
)
def test_the_key_is_the_text_that_all_rows_share(keys: list[object], key: bytes) -> None:
    (update,) = sequencer().stamp([row("A", key=each) for each in keys], TS_US)
    assert update.key == key


def test_a_row_without_its_topic_refuses_the_batch_and_takes_no_number() -> None:
    stamping = sequencer("ex.{accountId}.")
    with pytest.raises(RowError, match="accountId is None"):
        stamping.stamp([row("A", accountId=1), row("A")], TS_US)
    assert stamping.seq == stamping.rows == 0
    assert stamping.stamp([row("A", accountId=1)], TS_US)[0].seq == 1


def test_topics_are_bounded_and_known_ones_go_on() -> None:
    stamping = sequencer(max_topics=2)
    stamping.stamp([row("A"), row("B")], TS_US)
    with pytest.raises(RowError, match="expected at most 2 topics"):
        stamping.stamp([row("A"), row("C")], TS_US)
    assert [(u.seq, u.tseq) for u in stamping.stamp([row("B"), row("A")], TS_US)] == [(3, 2), (4, 2)]


def test_a_limit_cuts_a_batch_between_updates() -> None:
    stamping = sequencer()
    updates = stamping.stamp([row("A"), row("A"), row("B"), row("C")], TS_US, limit=2)
    assert [(u.seq, u.topic) for u in updates] == [(1, b"ex.A."), (2, b"ex.B.")]
    assert (stamping.seq, stamping.rows) == (2, 3)


@given(st.lists(st.lists(st.sampled_from("ABC"), min_size=1, max_size=8), max_size=8))
def test_numbers_are_those_of_a_naive_model(batches: list[list[str]]) -> None:
    stamping, seq, tseqs = sequencer(), 0, dict.fromkeys("ABC", 0)
    for batch_number, symbols in enumerate(batches):
        rows = [row(symbol, at=at) for at, symbol in enumerate(symbols)]
        updates = stamping.stamp(rows, TS_US + batch_number)
        runs = [(symbol, list(run)) for symbol, run in groupby(rows, key=lambda r: str(r.fields["symbol"]))]
        assert len(updates) == len(runs)
        for update, (symbol, run) in zip(updates, runs, strict=True):
            seq += 1
            tseqs[symbol] += 1
            data = json.loads(update.payload)
            assert (update.topic.decode(), update.seq, update.tseq) == (f"ex.{symbol}.", seq, tseqs[symbol])
            assert (data["request"], data["seq"], data["tseq"], data["topic"]) == (
                seq,
                seq,
                tseqs[symbol],
                f"ex.{symbol}.",
            )
            assert data["execs"] == [r.fields for r in run]
            assert data["rows"] == len(run)
            assert update.ts_us == data["ts_us"] == TS_US + batch_number
