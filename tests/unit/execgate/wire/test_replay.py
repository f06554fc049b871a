"""Replay messages: what is encoded is decoded, and everything else is a ReplayError and nothing else."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.errors import ReplayError
from execgate.wire.replay import (
    MAX_CREDIT,
    MAX_JSON_BYTES,
    MAX_MESSAGE_CHARACTERS,
    Answer,
    Clock,
    Credit,
    End,
    Failed,
    Gone,
    Now,
    Replay,
    Request,
    Snapshot,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from execgate.wire.update import MAX_SEQ, Kind, Update, encode

u64 = st.integers(0, 2**64 - 1)
seqs = st.integers(1, MAX_SEQ)
ids = st.binary(min_size=1, max_size=16)
requests = st.one_of(
    st.tuples(u64, seqs, seqs).map(lambda t: Replay(t[0], min(t[1:]), max(t[1:]))),
    st.just(Snapshot()),
    st.builds(Credit, st.integers(1, MAX_CREDIT)),
    st.just(Clock()),
)
answers = st.one_of(
    st.builds(
        Update, st.just(Kind.DATA), st.binary(max_size=9), u64, seqs, seqs, u64, st.binary(max_size=9), st.binary()
    ),
    st.builds(End, u64, st.integers(0, MAX_SEQ)),
    st.builds(Gone, u64, seqs, st.integers(0, MAX_SEQ)),
    st.builds(Failed, st.text(max_size=MAX_MESSAGE_CHARACTERS)),
    st.builds(Now, st.integers(0, MAX_SEQ)),
)
ITEM = Update(Kind.DATA, b"ex.A.", 7, 3, 2, 5, b"K", b"{}")

# What JSON can be, with the right names or none, and values that are nearly right.
_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("0" * 16), st.just([])
)
_objects = st.dictionaries(
    st.sampled_from(["epoch", "from", "to", "items", "seq", "min", "max", "message", "now_us"]), _values
)
_json = st.one_of(st.binary(), _objects.map(lambda fields: json.dumps(fields).encode()))
_verbs = st.sampled_from([b"REPLAY", b"SNAPSHOT", b"CREDIT", b"CLOCK", b"ITEM", b"END", b"GONE", b"ERROR", b"NOW"])
junk = st.one_of(
    st.lists(st.binary(), max_size=8),
    st.tuples(st.binary(max_size=20), st.one_of(_verbs, st.binary()), _json).map(list),
    st.tuples(ids, _verbs, st.binary(), st.binary(min_size=40, max_size=40), st.binary(), st.binary()).map(list),
)


@given(ids, requests)
def test_a_request_that_is_encoded_is_decoded(request_id: bytes, request: Request) -> None:
    assert decode_request(encode_request(request_id, request)) == (request_id, request)


@given(ids, answers)
def test_an_answer_that_is_encoded_is_decoded(request_id: bytes, answer: Answer) -> None:
    found = decode_answer(encode_answer(request_id, answer))
    assert found == (request_id, answer)
    assert type(found[1]) is type(answer)


@pytest.mark.parametrize("decode", [decode_request, decode_answer])
@given(frames=junk)
def test_junk_is_our_own_error(decode: Callable[[Sequence[bytes]], Any], frames: list[bytes]) -> None:
    """One short line, whatever was sent."""
    said = ""
    try:
        decode(frames)
    except ReplayError as error:
        said = str(error)
    assert len(said) < 300


def test_the_frames_are_those_of_the_protocol() -> None:
    assert encode_request(b"1", Replay(0xAB, 2, 9)) == [
        b"1",
        b"REPLAY",
        b'{"epoch":"00000000000000ab","from":2,"to":9}',
    ]
    assert encode_request(b"1", Snapshot()) == [b"1", b"SNAPSHOT", b"{}"]
    assert encode_request(b"1", Credit(3)) == [b"1", b"CREDIT", b'{"items":3}']
    assert encode_request(b"1", Clock()) == [b"1", b"CLOCK", b"{}"]
    assert encode_answer(b"1", ITEM) == [b"1", b"ITEM", *encode(ITEM)]
    assert encode_answer(b"1", End(1, 9)) == [b"1", b"END", b'{"epoch":"0000000000000001","seq":9}']
    assert encode_answer(b"1", Gone(1, 3, 9)) == [b"1", b"GONE", b'{"epoch":"0000000000000001","min":3,"max":9}']
    assert encode_answer(b"1", Failed("no")) == [b"1", b"ERROR", b'{"message":"no"}']
    assert encode_answer(b"1", Now(9)) == [b"1", b"NOW", b'{"now_us":9}']


REPLAY_FIELDS: dict[str, Any] = {"epoch": "0" * 16, "from": 1, "to": 2}


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        ([], "0 frames"),
        ([b"1", b"SNAPSHOT"], "2 frames"),
        ([b"1", b"SNAPSHOT", b"{}", b""], "4 frames"),
        ([b"", b"SNAPSHOT", b"{}"], "request id of 0 bytes"),
        ([b"x" * 17, b"SNAPSHOT", b"{}"], "request id of 17 bytes"),
        ([b"1", b"snapshot", b"{}"], "verb b'snapshot'"),
        ([b"1", b"ITEM", b"{}"], "verb b'ITEM'"),
        ([b"1", b"SNAPSHOT", b""], "SNAPSHOT b''"),
        ([b"1", b"SNAPSHOT", b"[]"], "SNAPSHOT []"),
        ([b"1", b"SNAPSHOT", b"\xff"], "expected a JSON object"),
        ([b"1", b"SNAPSHOT", b"[" * MAX_JSON_BYTES], "expected a JSON object"),
        ([b"1", b"SNAPSHOT", b" " * MAX_JSON_BYTES + b"{}"], "514 bytes of JSON"),
        ([b"1", b"CREDIT", b'{"items":0}'], "items 0"),
        ([b"1", b"CREDIT", b'{"items":513}'], "items 513"),
        ([b"1", b"CREDIT", b'{"items":true}'], "items True"),
        ([b"1", b"CREDIT", b"{}"], "items None"),
    ],
)
def test_a_wrong_request_is_named(frames: list[bytes], what: str) -> None:
    with pytest.raises(ReplayError) as caught:
        decode_request(frames)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("from", 0, "from 0"),
        ("from", -1, "from -1"),
        ("from", 3, "from 3, to 2"),
        ("from", 1.0, "from 1.0"),
        ("to", 2**53, "to 9007199254740992"),
        ("to", "2", "to '2'"),
        ("epoch", 0, "epoch 0"),
        ("epoch", "0" * 15, "epoch '000000000000000'"),
        ("epoch", "A" * 16, "epoch 'AAAAAAAAAAAAAAAA'"),
        ("epoch", "\u0661" * 16, "epoch "),
    ],
)
def test_a_wrong_range_is_named(field: str, value: object, what: str) -> None:
    with pytest.raises(ReplayError) as caught:
        decode_request([b"1", b"REPLAY", json.dumps({**REPLAY_FIELDS, field: value}).encode()])
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        ([b"1", b"END"], "2 frames"),
        ([b"1", b"END", b"{}", b""], "4 frames"),
        ([b"1", b"REPLAY", b"{}"], "verb b'REPLAY'"),
        ([b"1", b"ITEM", b"x", b"y"], "item: 2 frames"),
        ([b"1", b"ITEM", *encode(ITEM._replace(kind=Kind.HEARTBEAT))], "item of type 2"),
        ([b"1", b"END", b'{"epoch":"0000000000000001","seq":-1}'], "seq -1"),
        ([b"1", b"ERROR", b'{"message":5}'], "message 5"),
    ],
)
def test_a_wrong_answer_is_named(frames: list[bytes], what: str) -> None:
    with pytest.raises(ReplayError) as caught:
        decode_answer(frames)
    assert what in str(caught.value)
