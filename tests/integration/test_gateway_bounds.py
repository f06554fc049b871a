"""Every bound of what a client may send: an error where the connection lives, a close code where it does not."""

import json
import time
from collections.abc import Iterator

import pytest

from execgate.wire.frame_builder import Opcode, build_masked, header
from tests.rig import Gateway, scripted


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with scripted("--message-timeout-s", "0.5", "--max-topics", "3", "--max-message-kib", "4") as (gateway, _):
        yield gateway


ORDER = {"request": 1, "rows": 1, "timestamp": 1, "address": "a", "execs": [{"symbol": "Q"}]}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", "bad-message"),
        ("", "bad-message"),
        ("[]", "bad-message"),
        ("7", "bad-message"),
        ("{}", "bad-message"),
        ('{"event":7}', "bad-message"),
        ('{"event":"subscribe-execs","data":[]}', "bad-field"),
        ('{"event":"subscribe-execs","id":[]}', "bad-field"),
        ('{"event":"subscribe-execs","data":{"x":NaN}}', "bad-message"),
        ('{"event":"subscribe-execs","data":{"x":1e999}}', "bad-message"),
        ('{"event":"no-such"}', "unknown-event"),
        ('{"event":"receive-execs","data":{}}', "unknown-event"),
        ('{"event":"subscribe-execs","data":{"topics":[]}}', "bad-field"),
        ('{"event":"subscribe-execs","data":{"topics":"ex.A."}}', "bad-field"),
        ('{"event":"subscribe-execs","data":{"topics":[1]}}', "bad-field"),
        ('{"event":"subscribe-execs","data":{"topics":["a*b"]}}', "bad-field"),
        ('{"event":"subscribe-execs","data":{"topics":["%s"]}}' % ("x" * 256), "bad-field"),
        ('{"event":"subscribe-execs","data":{"topics":["a","b","c","d"]}}', "bad-field"),
        ('{"event":"subscribe-execs","data":{"mode":"fast"}}', "bad-field"),
        ('{"event":"subscribe-execs","data":{"mode":[]}}', "bad-field"),
        ('{"event":"subscribe-execs","data":{"max_messages":0}}', "bad-field"),
        ('{"event":"subscribe-execs","data":{"max_messages":true}}', "bad-field"),
        ('{"event":"subscribe-execs","data":{"max_messages":"5"}}', "bad-field"),
        ('{"event":"subscribe-execs","data":' + '{"a":' * 16 + "1" + "}" * 17, "bad-message"),
        ("[" * 2000 + "]" * 2000, "bad-message"),
    ],
)
def test_a_wrong_message_gets_an_error_with_its_code_and_the_connection_lives(
    served: Gateway, text: str, code: str
) -> None:
    with served.client() as client:
        client.receive_event("hello")
        client.connection.send(text)
        answer = client.receive()
        assert (answer["event"], answer["data"]["code"]) == ("error", code), answer
        assert len(json.dumps(answer)) < 400
        client.subscribe(topics=["a", "b", "c"])


def test_a_wrong_message_gets_its_id_back_where_it_can_be_read(served: Gateway) -> None:
    with served.client() as client:
        for message_id in ("text", 7, 1.25, -(2**60)):
            answer = client.ask("no-such", {}, message_id)
            assert (answer["event"], answer["id"]) == ("error", message_id)


def test_a_message_over_the_bound_is_closed_with_1009_before_it_is_whole(served: Gateway) -> None:
    with served.raw() as client:
        client.socket.sendall(header(Opcode.TEXT, 4097, masked=True) + b"mask")
        assert client.close_code() == 1009


def test_fragments_that_add_up_over_the_bound_are_closed_with_1009(served: Gateway) -> None:
    with served.raw() as client:
        client.send_frame(Opcode.TEXT, b"x" * 4000, fin=False)
        client.send_frame(Opcode.CONTINUATION, b"x" * 97)
        assert client.close_code() == 1009


def test_a_message_at_the_bound_is_taken(served: Gateway) -> None:
    order = json.dumps({"event": "order-request", "data": ORDER})
    with served.client() as client:
        client.connection.send(order + " " * (4096 - len(order)))
        assert client.receive_event("order-response")["data"]["status"] == "accepted"


def test_more_than_64_fragments_are_closed_with_1008_even_empty_ones(served: Gateway) -> None:
    with served.raw() as client:
        client.send_frame(Opcode.TEXT, b"", fin=False)
        client.socket.sendall(
            b"".join(build_masked(Opcode.CONTINUATION, b"", b"mask", fin=False) for _ in range(64))
        )
        assert client.close_code() == 1008


def test_64_fragments_are_taken(served: Gateway) -> None:
    text = json.dumps({"event": "order-request", "data": ORDER}).encode()
    with served.raw() as client:
        client.send_frame(Opcode.TEXT, b"", fin=False)
        for _ in range(62):
            client.send_frame(Opcode.CONTINUATION, b"", fin=False)
        client.send_frame(Opcode.CONTINUATION, text)
        assert client.receive_event("order-response")["data"]["status"] == "accepted"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (build_masked(Opcode.BINARY, b"data", b"mask"), 1003),
        (header(Opcode.TEXT, 2) + b"{}", 1002),
        (build_masked(Opcode.TEXT, b"\xff\xfe", b"mask"), 1007),
        (build_masked(Opcode.CONTINUATION, b"x", b"mask"), 1002),
        (build_masked(3, b"x", b"mask"), 1002),
        (build_masked(Opcode.PING, b"x", b"mask", fin=False), 1002),
        (build_masked(Opcode.CLOSE, b"\x03\xed", b"mask"), 1002),  # 1005 never travels
        (b"\xc1\x80mask", 1002),  # a reserved bit
    ],
)
def test_a_frame_that_breaks_the_protocol_is_closed_with_its_code(
    served: Gateway, frame: bytes, code: int
) -> None:
    with served.raw() as client:
        client.socket.sendall(frame)
        assert client.close_code() == code


def test_a_closing_client_gets_its_code_back(served: Gateway) -> None:
    with served.raw() as client:
        client.send_frame(Opcode.CLOSE, b"\x0b\xb8bye")  # 3000
        messages, code = client.until_closed()
        assert ([message["event"] for message in messages], code) == (["hello"], 3000)
        assert client.next() is None  # and the connection is over


def test_nothing_is_answered_behind_a_close(served: Gateway) -> None:
    with served.raw() as client:
        close = build_masked(Opcode.CLOSE, b"\x03\xe8", b"mask")
        late = build_masked(Opcode.TEXT, b"nonsense", b"mask")
        client.socket.sendall(close + late)
        messages, code = client.until_closed()
        assert ([message["event"] for message in messages], code) == (["hello"], 1000)


def test_a_ping_is_answered_with_its_payload_within_a_fragmented_message_too(served: Gateway) -> None:
    with served.raw() as client:
        client.receive_event("hello")
        client.send_frame(Opcode.TEXT, b'{"event":', fin=False)
        client.send_frame(Opcode.PING, b"how are you")
        assert client.next() is not None
        client.send_frame(Opcode.CONTINUATION, b'"no-such"}')
        assert client.receive()["data"]["code"] == "unknown-event"


@pytest.mark.parametrize(
    "half",
    [
        header(Opcode.TEXT, 100, masked=True) + b"mask" + b"x" * 50,
        build_masked(Opcode.TEXT, b"x", b"mask", fin=False),
        b"\x81",
    ],
)
def test_a_half_message_is_closed_with_1008_in_time(served: Gateway, half: bytes) -> None:
    with served.raw() as client:
        begun = time.monotonic()
        client.socket.sendall(half)
        assert client.close_code(3.0) == 1008
        assert 0.4 < time.monotonic() - begun < 2.0


def test_a_trickled_message_is_closed_with_1008_in_time_whatever_still_comes(served: Gateway) -> None:
    with served.raw() as client:
        client.receive_event("hello")
        client.socket.sendall(header(Opcode.TEXT, 4000, masked=True) + b"mask")
        client.socket.settimeout(0.02)
        begun = time.monotonic()
        while time.monotonic() - begun < 3.0:
            try:
                client.socket.sendall(b"x")
                if client.socket.recv(2):
                    break
            except TimeoutError:
                continue
        assert 0.4 < time.monotonic() - begun < 2.0


def test_messages_in_a_row_that_each_become_whole_are_no_half_message(served: Gateway) -> None:
    """Every read ends in the middle of a message, but never of the same one for long."""
    frame = build_masked(Opcode.TEXT, json.dumps({"event": "order-request", "data": ORDER}).encode(), b"mask")
    with served.raw() as client:
        client.socket.sendall(frame[:20])
        begun = time.monotonic()
        while time.monotonic() - begun < 1.0:
            client.socket.sendall(frame[20:] + frame[:20])
            assert client.receive_event("order-response")["data"]["status"] == "accepted"
