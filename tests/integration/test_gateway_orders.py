"""Orders: one answer each, the request's own values back, whatever is wrong with it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from execgate.measure.classic import SERVER_HEADING
from execgate.wire.frame_builder import Opcode, build_masked
from tests.harness import wait_until
from tests.rig import Gateway, scripted

GOOD: dict[str, Any] = {
    "request": 7,
    "rows": 1,
    "timestamp": 1_700_000_000_123,
    "address": "a/b \u00e9",
    "execs": [{"symbol": "QQQ", "qty": 100}],
}


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with scripted() as (gateway, _):
        yield gateway


def test_a_good_order_is_accepted_with_its_own_values_before_any_subscription(served: Gateway) -> None:
    with served.client() as client:
        answer = client.ask("order-request", GOOD)
        assert answer == {
            "event": "order-response",
            "data": {
                "request": 7,
                "timestamp": 1_700_000_000_123,
                "address": "a/b \u00e9",
                "status": "accepted",
                "reason": None,
            },
        }


@pytest.mark.parametrize("value", ["text", "7", 7, 7.5, -1, 0, 2**53 + 1, "\u20ac\U0001f600"])
def test_request_address_and_id_come_back_as_they_were(served: Gateway, value: str | float) -> None:
    with served.client() as client:
        answer = client.ask("order-request", {**GOOD, "request": value, "address": value}, value)
        for got in (answer["data"]["request"], answer["data"]["address"], answer["id"]):
            assert got == value
            assert type(got) is type(value)


def test_without_an_id_none_comes_back(served: Gateway) -> None:
    with served.client() as client:
        assert "id" not in client.ask("order-request", GOOD)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("request", [None, "", True, [], {}, "x" * 129, 2**64]),
        ("timestamp", [None, "now", -1, True, 2**53, [1]]),
        ("address", [None, "", False, {}, "x" * 129]),
        ("rows", [None, 0, 2, "1", [1]]),
        ("execs", [None, [], {}, "QQQ", [{"symbol": "Q"}] * 101]),
        ("symbol", [[{}], [{"symbol": 7}], [{"symbol": ""}], [{"symbol": None}]]),
        ("row", [[7], ["QQQ"], [None], [[]]]),
        ("cl_ord_id", ["", 7, [], "x" * 129, True]),
    ],
)
def test_a_bad_field_is_rejected_by_its_name_and_the_connection_lives(
    served: Gateway, field: str, values: list[Any]
) -> None:
    with served.client() as client:
        client.receive_event("hello")
        for value in values:
            key = "execs" if field in ("symbol", "row") else field
            order = {**GOOD, key: value}
            if key == "execs" and isinstance(value, list) and value:
                order["rows"] = len(value)
            answer = client.ask("order-request", order, "mine")
            assert answer["event"] == "order-response", answer
            assert answer["data"]["status"] == "rejected", answer
            assert field in answer["data"]["reason"], answer
            assert answer["id"] == "mine"
            for own in {"request", "timestamp", "address"} - {field}:
                assert answer["data"][own] == GOOD[own]
        assert client.ask("order-request", GOOD)["data"]["status"] == "accepted"


@pytest.mark.parametrize("field", ["request", "timestamp", "address", "rows", "execs"])
def test_a_missing_field_is_rejected_by_its_name(served: Gateway, field: str) -> None:
    with served.client() as client:
        answer = client.ask("order-request", {name: value for name, value in GOOD.items() if name != field})
        assert answer["data"]["status"] == "rejected"
        assert field in answer["data"]["reason"]


def test_a_cl_ord_id_that_came_before_in_the_session_is_a_duplicate_and_in_another_is_not(served: Gateway) -> None:
    with served.client() as client:
        order = {**GOOD, "cl_ord_id": "c1"}
        assert client.ask("order-request", order)["data"]["status"] == "accepted"
        again = client.ask("order-request", {**order, "request": 8}, "again")
        assert (again["data"]["status"], again["data"]["request"], again["id"]) == ("duplicate", 8, "again")
        assert "c1" in again["data"]["reason"]
        other = client.ask("order-request", {**GOOD, "cl_ord_id": "c2"})
        assert other["data"]["status"] == "accepted"
    with served.client() as client:
        assert client.ask("order-request", order)["data"]["status"] == "accepted"


def test_a_rejected_order_does_not_use_its_cl_ord_id_up(served: Gateway) -> None:
    with served.client() as client:
        order = {**GOOD, "cl_ord_id": "c1"}
        assert client.ask("order-request", {**order, "rows": 9})["data"]["status"] == "rejected"
        assert client.ask("order-request", order)["data"]["status"] == "accepted"


def test_100_rows_are_taken(served: Gateway) -> None:
    with served.client() as client:
        order = {**GOOD, "rows": 100, "execs": [{"symbol": "Q", "n": n} for n in range(100)]}
        assert client.ask("order-request", order)["data"]["status"] == "accepted"


def test_1000_orders_in_one_burst_are_all_answered_in_order(served: Gateway) -> None:
    before = served.stats()["orders"].get("accepted", 0)
    frames = b"".join(
        build_masked(
            Opcode.TEXT,
            json.dumps({"event": "order-request", "data": {**GOOD, "request": n}, "id": f"i{n}"}).encode(),
            b"mask",
        )
        for n in range(1000)
    )
    with served.raw() as client:
        client.receive_event("hello")
        client.socket.sendall(frames)
        answers = [client.receive_event("order-response") for _ in range(1000)]
    assert [answer["data"]["request"] for answer in answers] == list(range(1000))
    assert [answer["id"] for answer in answers] == [f"i{n}" for n in range(1000)]
    assert {answer["data"]["status"] for answer in answers} == {"accepted"}
    assert served.stats()["orders"]["accepted"] == before + 1000


def test_the_server_line_of_2012_counts_sockets_subscribers_clients_and_orders() -> None:
    with scripted("--csv", "--csv-interval-s", "0.5") as (gateway, _):
        with gateway.client() as one, gateway.client() as other, gateway.client():
            one.subscribe()
            begun = len(gateway.process.stdout)
            size = 0
            for client in (one, one, other):
                message = json.dumps({"event": "order-request", "data": GOOD})
                size = len(message)
                client.connection.send(message)
                client.receive_event("order-response")
            bad = other.ask("order-request", {**GOOD, "rows": 9})  # not valid: not measured
            assert bad["data"]["status"] == "rejected"
            wait_until(lambda: len(gateway.process.stdout) >= begun + 3, "two whole intervals")
        heading, *lines = gateway.process.stdout
        assert heading == SERVER_HEADING
        columns = [line.split(",") for line in lines]
        assert {len(line) for line in columns} == {len(SERVER_HEADING.split(","))}
        measured = [line for line in columns if line[11] != "0"]
        assert sum(int(line[11]) for line in measured) == 3
        assert max(int(line[6]) for line in measured) in (1, 2)  # clients: 2, unless an interval ended between
        assert {(line[0], line[1]) for line in measured} == {("3", "1")}
        assert {float(line[10]) for line in measured} == {float(size)}
        assert all(float(line[7]) > 0 for line in measured)
        assert "execgate gateway ready" in "\n".join(gateway.process.stderr)
