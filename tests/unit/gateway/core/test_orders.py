"""Orders as values: what is valid, and answers that carry the request's own values back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.orders import MAX_ROWS, OrderStatus, RejectionError, answer, is_name, read_order, refusal
from tests.unit.gateway.core.texts import ANY_JSON, FIELDS

GOOD: dict[str, Any] = {
    "request": 7,
    "rows": 1,
    "timestamp": 1_767_623_400_123,
    "address": "client-1",
    "execs": [{"symbol": "QQQ", "qty": 5}],
}


@pytest.mark.parametrize("request_name", [0, 1, -5, 2.5, 2**53 + 1, -(2**64) + 1, "r", "r" * 128, "\ud800ü"])
def test_the_answer_brings_the_requests_own_values(request_name: Any) -> None:
    order = read_order(GOOD | {"request": request_name, "address": request_name}, request_name, 99)
    message = json.loads(answer(order, OrderStatus.ACCEPTED))
    assert message == {
        "event": "order-response",
        "data": {
            "request": request_name,
            "timestamp": GOOD["timestamp"],
            "address": request_name,
            "status": "accepted",
            "reason": None,
        },
        "id": request_name,
    }
    assert order.size == 99


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"request": None}, "request is None: expected a number or a text of 1 to 128 characters"),
        ({"request": True}, "request is True: expected"),
        ({"request": ""}, "request is '': expected"),
        ({"request": "x" * 129}, r"request is 'x+\.\.\.: expected"),
        ({"request": 2**64}, "request is 18446744073709551616: expected"),
        ({"address": []}, r"address is \[\]: expected"),
        ({"timestamp": "now"}, "timestamp is 'now': expected milliseconds since 1970"),
        ({"timestamp": -1}, "timestamp is -1: expected"),
        ({"timestamp": 2**53}, "timestamp is 9007199254740992: expected"),
        ({"timestamp": True}, "timestamp is True: expected"),
        ({"execs": None}, f"execs is None: expected a list of 1 to {MAX_ROWS} rows"),
        ({"execs": []}, r"execs is \[\]: expected"),
        ({"execs": [{"symbol": "A"}] * 101, "rows": 101}, "execs is .*: expected a list of 1 to 100 rows"),
        ({"rows": 2}, "rows is 2: expected the number of execs, 1"),
        ({"rows": "1"}, "rows is '1': expected the number"),
        ({"rows": True}, "rows is True: expected the number"),
        ({"rows": None}, "rows is None: expected the number"),
        ({"execs": ["A"]}, "a row of execs is 'A': expected an object"),
        ({"execs": [{}]}, "symbol is None: expected a text"),
        ({"execs": [{"symbol": ""}]}, "symbol is '': expected a text"),
        ({"cl_ord_id": 7}, "cl_ord_id is 7: expected a text of 1 to 128 characters"),
        ({"cl_ord_id": ""}, "cl_ord_id is '': expected"),
        ({"cl_ord_id": "x" * 129}, "cl_ord_id is 'x+.*: expected"),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_what_was_expected(change: dict[str, Any], reason: str) -> None:
    data = GOOD | change
    with pytest.raises(RejectionError, match=reason) as rejected:
        read_order(data, None, 1)
    message = json.loads(refusal(data, str(rejected.value), "mine"))["data"]
    assert message["status"] == "rejected"
    assert message["reason"] == str(rejected.value)
    for field in ("request", "timestamp", "address"):
        assert message[field] == (data[field] if is_name(data[field]) else None)


@given(st.dictionaries(st.sampled_from(FIELDS), ANY_JSON))
def test_any_data_is_an_order_or_a_rejection_and_both_can_be_answered(data: dict[str, Any]) -> None:
    data = GOOD | data
    try:
        order = read_order(data, None, 1)
    except RejectionError as rejection:
        json.loads(refusal(data, str(rejection), None))
    else:
        assert 0 < len(order.execs) <= MAX_ROWS
        json.loads(answer(order, OrderStatus.UNKNOWN, "why"))


@given(ANY_JSON)
def test_a_name_is_a_short_text_or_a_number_that_comes_back_as_it_was(value: Any) -> None:
    if is_name(value):
        assert type(value) in (str, int, float)
        assert json.loads(refusal({"request": value}, "", None))["data"]["request"] == value
    elif type(value) is str:
        assert not 0 < len(value) <= 128
