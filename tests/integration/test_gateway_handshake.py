"""What a gateway does before there is a WebSocket: pages, refusals, bounds of a request."""

import json
import socket
import struct
from collections.abc import Iterator

import pytest

from execgate.wire.frame_builder import Opcode, build_masked
from execgate.wire.update import Kind
from tests.clients import Client, RawClient, exchange, handshake_request, open_socket
from tests.harness import wait_until
from tests.rig import Gateway, gateway, scripted
from tests.scripted_publisher import ScriptedPublisher


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with scripted("--header-timeout-s", "0.4", "--allowed-origin", "https://trusted.example") as (gateway, _):
        yield gateway


@pytest.mark.parametrize("origin", [None, "same", "https://trusted.example"])
def test_an_origin_that_may_connect_does(served: Gateway, origin: str | None) -> None:
    value = f"http://{served.address}" if origin == "same" else origin
    with served.raw(headers={"Origin": value}) as client:
        assert client.receive()["event"] == "hello"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://trusted.example.evil.example", "http://trusted.example"]
)
def test_any_other_origin_is_refused(served: Gateway, origin: str) -> None:
    status, answer = exchange(served.address, handshake_request(served.address, Origin=origin))
    assert status == 403
    assert "--allowed-origin" in answer


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": None}, 426),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Upgrade": None}, 426),
        ({"Connection": "keep-alive"}, 400),
    ],
)
def test_a_wrong_handshake_is_refused_with_its_status(
    served: Gateway, headers: dict[str, str | None], expected: int
) -> None:
    status, answer = exchange(served.address, handshake_request(served.address, **headers))
    assert status == expected
    assert expected != 426 or "\r\nSec-Websocket-Version: 13" in answer or "\r\nUpgrade: websocket" in answer


def test_another_path_is_not_found_and_says_what_is_there(served: Gateway) -> None:
    status, answer = exchange(served.address, handshake_request(served.address, "/elsewhere"))
    assert status == 404
    status, body = served.get("/nothing")
    assert status == 404
    assert "/readyz" in body
    assert "404" in answer


def test_a_query_after_the_path_is_no_other_path(served: Gateway) -> None:
    with served.raw(path="/ws?from=a-proxy") as client:
        assert client.receive()["event"] == "hello"


def test_the_pages_are_served_with_headers_that_keep_them_from_harm(served: Gateway) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {served.address}\r\n\r\n".encode()
    status, answer = exchange(served.address, request)
    assert status == 200
    assert "Content-Security-Policy: default-src 'self'" in answer
    assert "X-Content-Type-Options: nosniff" in answer
    for path in ("/page.js", "/page.css", "/healthz", "/readyz", "/stats"):
        assert served.get(path)[0] == 200


def test_a_method_other_than_get_or_head_is_refused(served: Gateway) -> None:
    for path in ("/stats", "/ws"):
        request = f"DELETE {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert exchange(served.address, request)[0] == 405


def test_stats_are_json_and_name_their_process(served: Gateway) -> None:
    stats = served.stats()
    assert stats["pid"] == served.process.pid
    assert stats["process"] == f"gateway-{served.process.pid}"
    assert json.loads(served.get("/readyz")[1])["process"] == stats["process"]


def test_headers_over_8_kib_are_refused(served: Gateway) -> None:
    status, _ = exchange(served.address, handshake_request(served.address, X_Long="x" * 9000))
    assert status in (0, 400, 431)
    with served.raw(headers={"X-Long": "x" * 7000}) as client:
        assert client.receive()["event"] == "hello"


@pytest.mark.parametrize("path", ["/healthz", "/ws"])
def test_a_body_is_refused(served: Gateway, path: str) -> None:
    request = handshake_request(served.address, path, Content_Length="5") + b"12345"
    assert exchange(served.address, request)[0] in (0, 400, 413)


@pytest.mark.parametrize("half", [b"", b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgr"])
def test_a_connection_whose_headers_do_not_come_is_closed_in_time(served: Gateway, half: bytes) -> None:
    with open_socket(served.address) as sock:
        sock.sendall(half)
        sock.settimeout(3.0)
        assert sock.recv(1024) == b""


def test_nonsense_instead_of_a_request_harms_nobody(served: Gateway) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"\0" * 5000):
        with open_socket(served.address) as sock:
            sock.sendall(nonsense)
    assert served.get("/healthz")[0] == 200


def test_frames_sent_together_with_the_handshake_are_not_lost(served: Gateway) -> None:
    order = (
        b'{"event":"order-request","data":{"request":1,"rows":1,"timestamp":1,"address":"a",'
        b'"execs":[{"symbol":"Q"}]}}'
    )
    frame = build_masked(Opcode.TEXT, order, b"mask")
    with RawClient(served.address, early=frame * 20) as client:
        for _ in range(20):
            assert client.receive_event("order-response")["data"]["status"] == "accepted"


def test_clients_that_reset_in_the_middle_of_the_handshake_leave_nothing_behind(served: Gateway) -> None:
    for _ in range(200):
        sock = open_socket(served.address)
        sock.sendall(handshake_request(served.address))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    served.wait_for_stats("all gone", connections=0)


def test_one_more_than_max_connections_is_told_503_until_one_leaves() -> None:
    with scripted("--max-connections", "1") as (served, _):
        with served.client() as client:
            client.subscribe()
            status, answer = exchange(served.address, handshake_request(served.address))
            assert status == 503
            assert "full" in answer
            assert "Retry-After" in answer
            assert served.get("/healthz")[0] == 200
        wait_until(lambda: served.stats()["connections"] == 0, "the place is free")
        with served.client() as client:
            client.subscribe()
        assert served.stats()["refused"] == {"full": 1}


def test_before_the_feed_is_joined_it_lives_but_is_not_ready_and_takes_no_client() -> None:
    with ScriptedPublisher() as feed, gateway(feed.endpoint, await_ready=False) as served:
        feed.wait_for_gateways()
        assert served.get("/healthz") == (200, "ok\n")
        status, body = served.get("/readyz")
        assert status == 503
        assert json.loads(body)["feed"] == "joining"
        status, answer = exchange(served.address, handshake_request(served.address))
        assert status == 503
        assert "feed-not-joined" in answer
        assert not served.process.stdout
        feed.say(Kind.HEARTBEAT, 41)
        assert served.process.ready()["seq"] == "41"
        assert served.get("/readyz")[0] == 200
        with Client(served.address) as client:
            assert client.receive()["data"]["seq"] == 41
