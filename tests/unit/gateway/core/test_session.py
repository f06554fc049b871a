"""A session: any text gives exactly one action; one subscription, whose mode is fixed; an order once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.interest import EVERY_TOPIC, Interest
from gateway.core.orders import OrderStatus
from gateway.core.policy import Rights
from gateway.core.session import (
    REMEMBERED_ORDERS,
    Action,
    Answer,
    Mode,
    PlaceOrder,
    Session,
    Since,
    Subscribe,
    TellStamps,
    Unsubscribe,
)
from tests.unit.gateway.core.test_orders import GOOD
from tests.unit.gateway.core.texts import ANY_TEXT

RIGHTS = Rights(may_order=True, messages_per_s=None, max_topics=3)


class OnlyA(Rights):
    """May take `ex.A.` alone."""

    def may_take(self, pattern: str) -> bool:
        return pattern == "ex.A."


def session(rights: Rights = RIGHTS, default_mode: Mode = Mode.ALL) -> Session:
    return Session(rights, default_mode, 16)


def send(to: Session, event: str, message_id: Any = None, /, **data: Any) -> Action:
    return to.receive(json.dumps({"event": event, "data": data, "id": message_id}))


def error_of(action: Action) -> tuple[str, str]:
    assert isinstance(action, Answer)
    assert action.order_status is None
    message = json.loads(action.payload)
    assert message["event"] == "error"
    return message["data"]["code"], message["data"]["message"]


def status_of(action: Action) -> str:
    assert isinstance(action, Answer)
    assert action.order_status is not None
    status: str = json.loads(action.payload)["data"]["status"]
    assert status == action.order_status.value
    return status


@given(st.lists(ANY_TEXT, max_size=5))
def test_any_text_gives_one_action_and_never_an_exception(texts: list[str]) -> None:
    one = session()
    for text in texts:
        action = one.receive(text)
        assert type(action) in (Answer, Subscribe, Unsubscribe, PlaceOrder)
        if isinstance(action, Answer):
            assert json.loads(action.payload)["event"] in ("error", "order-response")
        assert (one.interest is None) or isinstance(one.interest, Interest)


@pytest.mark.parametrize("default", Mode)
def test_a_subscription_without_words_is_to_everything_in_the_default_mode(default: Mode) -> None:
    expected = Subscribe(EVERY_TOPIC, default, None, None)
    assert send(session(default_mode=default), "subscribe-execs") == expected
    assert session(default_mode=default).subscribe_at_connect() == expected


def test_a_subscription_takes_its_topics_mode_and_end_and_brings_the_id_back() -> None:
    action = send(session(), "subscribe-execs", "s1", topics=["ex.A.", "ex.B*"], mode="volatile", max_messages=5)
    assert action == Subscribe(Interest(["ex.A.", "ex.B*"]), Mode.VOLATILE, 5, "s1")


def test_a_repeated_subscription_replaces_the_topics_and_keeps_the_mode() -> None:
    one = session()
    send(one, "subscribe-execs", topics=["ex.A."], mode="volatile")
    assert send(one, "subscribe-execs", topics=["ex.B."]) == Subscribe(
        Interest(["ex.B."]), Mode.VOLATILE, None, None
    )
    assert one.interest == Interest(["ex.B."])


def test_the_mode_is_fixed_until_the_subscription_ends() -> None:
    one = session()
    send(one, "subscribe-execs", mode="all")
    assert error_of(send(one, "subscribe-execs", mode="volatile"))[0] == "mode-fixed"
    assert (one.interest, one.mode) == (EVERY_TOPIC, Mode.ALL)
    send(one, "unsubscribe-execs")
    assert isinstance(send(one, "subscribe-execs", mode="volatile"), Subscribe)
    one.ended()
    assert isinstance(send(one, "subscribe-execs", mode="all"), Subscribe)


EPOCH = "00000000000000ab"


@pytest.mark.parametrize("since", [0, "", [], -1, "x", 2**70, False, True, EPOCH], ids=str)
def test_a_since_that_is_no_object_is_an_error_never_silence(since: Any) -> None:
    one = session()
    code, message = error_of(send(one, "subscribe-execs", since=since))
    assert code == "bad-field"
    assert message.startswith("since is ")
    assert message.endswith("expected {epoch, seq}")
    assert one.interest is None


@pytest.mark.parametrize(
    "epoch", [None, 171, "", "ab", EPOCH.upper(), "0x" + EPOCH[2:], EPOCH + "\n", "g" * 16, [EPOCH]], ids=repr
)
def test_a_since_of_no_epoch_is_an_error_that_names_it(epoch: Any) -> None:
    one = session()
    code, message = error_of(send(one, "subscribe-execs", since={"epoch": epoch, "seq": 1}))
    assert code == "bad-field"
    assert message.startswith("since.epoch is ")
    assert message.endswith("expected 16 lower-case hex digits")
    assert one.interest is None


@pytest.mark.parametrize("seq", [None, -1, "1", 1.0, 1.5, True, 2**53, 2**64, 2**70, [1]], ids=repr)
def test_a_since_of_no_seq_is_an_error_that_names_it(seq: Any) -> None:
    one = session()
    code, message = error_of(send(one, "subscribe-execs", since={"epoch": EPOCH, "seq": seq}))
    if type(seq) is int and seq >= 2**70:
        assert code in ("bad-field", "bad-message")  # what JSON reader refuses first
    else:
        assert code == "bad-field"
        assert message.startswith("since.seq is ")
    assert one.interest is None


def test_a_bad_since_changes_nothing_of_a_subscription() -> None:
    one = session()
    send(one, "subscribe-execs", topics=["ex.A."], mode="volatile")
    assert error_of(send(one, "subscribe-execs", topics=["ex.B."], since={}))[0] == "bad-field"
    assert (one.interest, one.mode) == (Interest(["ex.A."]), Mode.VOLATILE)


@pytest.mark.parametrize("seq", [0, 1, 2**53 - 1])
def test_a_since_is_a_position(seq: int) -> None:
    action = send(session(), "subscribe-execs", "s", since={"epoch": EPOCH, "seq": seq}, snapshot=True)
    assert action == Subscribe(EVERY_TOPIC, Mode.ALL, None, "s", Since(0xAB, seq), True)


@pytest.mark.parametrize("snapshot", [0, 1, 1.0, 0.0, "true", [], {}], ids=repr)
def test_a_snapshot_is_true_or_false(snapshot: Any) -> None:
    code, message = error_of(send(session(), "subscribe-execs", snapshot=snapshot))
    assert code == "bad-field"
    assert message.startswith("snapshot is ")


def test_a_snapshot_and_conflation_are_asked_for_and_null_asks_for_nothing() -> None:
    one = session()
    assert send(one, "subscribe-execs", snapshot=False, since=None, mode=None) == Subscribe(
        EVERY_TOPIC, Mode.ALL, None, None
    )
    send(one, "unsubscribe-execs")
    assert send(one, "subscribe-execs", snapshot=True, mode="conflate") == Subscribe(
        EVERY_TOPIC, Mode.CONFLATE, None, None, None, True
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"mode": "fast"}, "mode is 'fast': expected one of all, volatile, conflate"),
        ({"mode": ["all"]}, "expected one of all, volatile, conflate"),
        ({"max_messages": 0}, "max_messages is '0': expected a whole number over 0"),
        ({"max_messages": -1}, "expected a whole number over 0"),
        ({"max_messages": 1.5}, "expected a whole number over 0"),
        ({"max_messages": True}, "expected a whole number over 0"),
        ({"max_messages": "5"}, "expected a whole number over 0"),
        ({"max_messages": 2**53}, "expected a whole number over 0"),
        ({"topics": []}, "expected a list of at least one topic"),
        ({"topics": None}, "expected a list of at least one topic"),
        ({"topics": ["a", "b", "c", "d"]}, "4 topics: expected at most 3"),
    ],
)
def test_a_bad_field_is_named_and_changes_nothing(data: dict[str, Any], reason: str) -> None:
    one = session()
    send(one, "subscribe-execs", topics=["ex.A."])
    code, message = error_of(send(one, "subscribe-execs", **data))
    assert code == "bad-field"
    assert reason in message
    assert (one.interest, one.mode) == (Interest(["ex.A."]), Mode.ALL)


def test_topics_are_unsubscribed_one_by_one_and_all_together() -> None:
    one = session()
    send(one, "subscribe-execs", topics=["ex.A.", "ex.B.", "ex.C."])
    action = send(one, "unsubscribe-execs", 1, topics=["ex.B."])
    assert action == Unsubscribe(Interest(["ex.A.", "ex.C."]), ["ex.B."], 1)
    assert send(one, "unsubscribe-execs") == Unsubscribe(None, ["ex.A.", "ex.C."], None)
    assert error_of(send(one, "unsubscribe-execs")) == ("bad-field", "not subscribed to anything")


def test_the_last_topics_end_the_subscription() -> None:
    one = session()
    send(one, "subscribe-execs", topics=["ex.A."])
    assert send(one, "unsubscribe-execs", topics=["ex.A."]) == Unsubscribe(None, ["ex.A."], None)
    assert one.interest is None


def test_a_topic_that_was_not_subscribed_is_an_error_and_changes_nothing() -> None:
    one = session()
    send(one, "subscribe-execs", topics=["ex.A.", "ex.B."])
    code, message = error_of(send(one, "unsubscribe-execs", topics=["ex.A.", "ex.C."]))
    assert (code, message) == ("bad-field", "topic 'ex.C.': not one of this subscription's")
    assert one.interest == Interest(["ex.A.", "ex.B."])


def test_rights_decide_about_topics_and_orders() -> None:
    one = session(OnlyA(False, None, 3))
    assert isinstance(send(one, "subscribe-execs", topics=["ex.A."]), Subscribe)
    assert error_of(send(one, "subscribe-execs", topics=["ex.A.", "ex.B."]))[0] == "not-allowed"
    assert error_of(send(one, "order-request", **GOOD))[0] == "not-allowed"


def test_rights_decide_about_everything_too_where_no_topics_are_named() -> None:
    assert error_of(send(session(OnlyA(True, None, 3)), "subscribe-execs"))[0] == "not-allowed"


def test_an_order_is_placed_with_the_clients_id_and_its_size() -> None:
    text = json.dumps({"event": "order-request", "data": GOOD, "id": 9})
    action = session().receive(text)
    assert isinstance(action, PlaceOrder)
    assert (action.order.message_id, action.order.request, action.order.size) == (9, 7, len(text))
    text = json.dumps({"event": "order-request", "data": GOOD | {"address": "\u00e9\u20ac"}}, ensure_ascii=False)
    action = session().receive(text)
    assert isinstance(action, PlaceOrder)
    assert action.order.size == len(text.encode()) == len(text) + 3, "bytes, not characters"


def test_a_bad_order_is_rejected_and_the_session_lives() -> None:
    one = session()
    assert status_of(send(one, "order-request", **GOOD | {"rows": 3})) == OrderStatus.REJECTED
    assert isinstance(send(one, "order-request", **GOOD), PlaceOrder)


def test_a_cl_ord_id_that_came_before_is_a_duplicate_in_this_session_alone() -> None:
    one, other = session(), session()
    named = GOOD | {"cl_ord_id": "c1"}
    assert isinstance(send(one, "order-request", **named), PlaceOrder)
    assert status_of(send(one, "order-request", **named)) == OrderStatus.DUPLICATE
    assert isinstance(send(other, "order-request", **named), PlaceOrder)
    assert isinstance(send(one, "order-request", **GOOD), PlaceOrder)


def test_a_rejected_order_does_not_use_its_name_up() -> None:
    one = session()
    assert status_of(send(one, "order-request", **GOOD | {"cl_ord_id": "c1", "rows": 3})) == OrderStatus.REJECTED
    assert isinstance(send(one, "order-request", **GOOD | {"cl_ord_id": "c1"}), PlaceOrder)


def test_the_name_of_an_order_that_was_turned_away_unseen_may_come_again() -> None:
    one = session()
    action = send(one, "order-request", **GOOD | {"cl_ord_id": "c1"})
    assert isinstance(action, PlaceOrder)
    one.forget(action.order)
    assert isinstance(send(one, "order-request", **GOOD | {"cl_ord_id": "c1"}), PlaceOrder)
    assert status_of(send(one, "order-request", **GOOD | {"cl_ord_id": "c1"})) == OrderStatus.DUPLICATE
    unnamed = send(session(), "order-request", **GOOD)
    assert isinstance(unnamed, PlaceOrder)
    session().forget(unnamed.order)


def test_names_of_orders_are_remembered_as_far_as_the_bound() -> None:
    one = session()
    for number in range(REMEMBERED_ORDERS + 1):
        assert isinstance(send(one, "order-request", **GOOD | {"cl_ord_id": f"c{number}"}), PlaceOrder)
    assert status_of(send(one, "order-request", **GOOD | {"cl_ord_id": "c1"})) == OrderStatus.DUPLICATE
    assert isinstance(send(one, "order-request", **GOOD | {"cl_ord_id": "c0"}), PlaceOrder)


def test_an_unknown_event_is_named_with_what_was_expected_and_its_id_comes_back() -> None:
    action = send(session(), "receive-execs", "mine")
    code, message = error_of(action)
    assert code == "unknown-event"
    assert "'receive-execs': expected one of subscribe-execs, unsubscribe-execs, order-request" in message
    assert isinstance(action, Answer)
    assert json.loads(action.payload)["id"] == "mine"


def test_a_request_for_stamps_is_passed_on_with_its_id_whatever_else_it_says() -> None:
    assert session().receive('{"event":"stamps-request","data":{"x":1},"id":"a"}') == TellStamps("a")
    assert session().receive('{"event":"stamps-request","data":{}}') == TellStamps(None)
