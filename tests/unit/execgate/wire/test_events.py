"""Events as JSON: whatever a client sent to be echoed, what leaves is JSON."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.wire import events
from execgate.wire.errors import PeerError, RequestError
from execgate.wire.events import PLAIN, encode_event, may_come_back
from execgate.wire.frame_builder import Opcode, build


def strictly(data: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(data, parse_constant=refuse)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    data=st.dictionaries(st.text(), json_values, max_size=4),
    message_id=st.one_of(st.none(), st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_an_event_is_json_that_means_what_went_in(data: dict[str, Any], message_id: Any) -> None:
    message = strictly(encode_event("feed", data, message_id))
    assert message.pop("event") == "feed"
    assert message.pop("data") == data
    assert message == ({} if message_id is None else {"id": message_id})


@pytest.mark.parametrize("message_id", ["", "a", "\ud800", "\u2028/<é\x00", 0, -1, 2**70, 10**40, 1.5, 1e300])
def test_text_and_finite_numbers_come_back_as_they_came(message_id: Any) -> None:
    assert may_come_back(message_id)
    assert strictly(encode_event("feed", {}, message_id))["id"] == message_id


@pytest.mark.parametrize(
    "message_id", [float("nan"), float("inf"), -float("inf"), True, [], {"a": 1}, object(), b"x", [[[]]]]
)
def test_an_id_that_may_not_come_back_is_left_out(message_id: Any) -> None:
    """ujson reads NaN, Infinity and 1e999; to repeat them would not be JSON."""
    assert not may_come_back(message_id)
    assert strictly(encode_event("feed", {"a": 1}, message_id)) == {"event": "feed", "data": {"a": 1}}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_number_in_data_raises_rather_than_to_leave_as_no_json(number: float) -> None:
    with pytest.raises(OverflowError):
        encode_event("feed", {"seq": number})


def test_slashes_are_not_escaped_and_lone_surrogates_are() -> None:
    assert encode_event("feed", {"a": "x/y\ud800"}) == b'{"event":"feed","data":{"a":"x/y\\ud800"}}'


@pytest.mark.parametrize("size", [0, 1, 91, 92, 93, 94, 500, 70_000])
def test_a_prepared_frame_is_the_frame_of_its_json(size: int) -> None:
    data = b'"' + b"x" * size + b'"'
    message = b'{"event":"receive-execs","data":' + data + b"}"
    assert PLAIN.frame(data) == build(Opcode.TEXT, message)
    assert json.loads(message)["event"] == events.RECEIVE


def test_a_gap_event_concerns_all_topics_and_its_count_may_be_unknown() -> None:
    data = events.gap(5, 9, None, why="upstream")
    assert data == {"topic": None, "from": 5, "to": 9, "count": None, "why": "upstream", "then": "lost"}
    assert strictly(encode_event(events.GAP, data))["data"] == data


def test_a_request_error_carries_a_code_of_the_protocol_and_is_the_peer_s() -> None:
    error = RequestError("bad-field", "topics: expected a list")
    assert isinstance(error, PeerError)
    assert error.code in events.ERROR_CODES
    assert str(error) == "topics: expected a list"
