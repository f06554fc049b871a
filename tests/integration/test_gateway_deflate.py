"""`--deflate`: who offers permessage-deflate gets the same updates in fewer bytes; nobody else is touched."""

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from execgate.wire.deflate import RSV1, compress
from execgate.wire.frame_builder import Opcode
from tests.clients import Client, exchange, handshake_request
from tests.rig import Gateway, scripted
from tests.scripted_publisher import ScriptedPublisher
from tests.unit.gateway.core.test_orders import GOOD

OFFER = "permessage-deflate; client_max_window_bits"
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"
Rig = tuple[Gateway, ScriptedPublisher]


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with scripted("--deflate", "--max-message-kib", "64") as made:
        yield made


def compressing(gateway: Gateway, **options: Any) -> Client:
    client = gateway.client(compression="deflate", **options)
    assert [type(extension).__name__ for extension in client.connection.protocol.extensions] == [
        "PerMessageDeflate"
    ]
    return client


def updates(client: Client, count: int) -> list[dict[str, Any]]:
    return [client.receive_event("receive-execs") for _ in range(count)]


def test_each_client_gets_the_same_data_compressed_or_not(rig: Rig) -> None:
    """Four windows and a plain client; topics, `max_messages` and a second subscription group as usual."""
    gateway, feed = rig
    small = [ClientPerMessageDeflateFactory(True, True, bits, None) for bits in (9, 10, 15)]
    clients = [
        gateway.client(),
        compressing(gateway),
        *(gateway.client(extensions=[factory]) for factory in small),
    ]
    for client in clients:
        client.subscribe(topics=["ex.*"])
    limited = compressing(gateway)
    limited.subscribe(max_messages=2)
    for size in (1, 10, 100, 1000, 50_000):
        feed.update(topic="ex.A.", padding=size)
    plain, *others = [updates(client, 5) for client in clients]
    assert [len(update["data"]["execs"][0]["note"]) for update in plain] == [1, 10, 100, 1000, 50_000]
    for other in others:
        assert other == plain
    assert updates(limited, 2) == plain[:2]
    assert limited.receive()["event"] == "unsubscribed"
    for client in [*clients, limited]:
        client.connection.close()


def test_an_order_that_came_compressed_is_answered(rig: Rig) -> None:
    gateway, _ = rig
    with compressing(gateway) as client:
        answer = client.ask("order-request", GOOD)
        assert (answer["event"], answer["data"]["status"]) == ("order-response", "accepted")


def test_an_update_takes_fewer_bytes_and_control_events_stay_plain(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.raw(headers={"Sec-WebSocket-Extensions": OFFER}) as client:
        assert f"Sec-WebSocket-Extensions: {ANSWER}\r\n" in client.head
        assert client.receive()["event"] == "hello"
        client.send("subscribe-execs")
        assert client.receive()["event"] == "subscribed"
        feed.update(topic="ex.A.", padding=1000)
        head = client.socket.recv(2)
        assert head[0] == 0x80 | RSV1 | Opcode.TEXT
        assert head[1] < 126 or int.from_bytes(client.socket.recv(2)) < 400


def test_a_bomb_is_stopped_and_the_others_live_on(rig: Rig) -> None:
    gateway, _ = rig
    with gateway.raw(headers={"Sec-WebSocket-Extensions": OFFER}) as client:
        client.send_frame(Opcode.TEXT | RSV1, compress(b" " * (32 << 20)))
        assert client.close_code() == 1009
    with compressing(gateway) as client:
        assert client.ask("order-request", GOOD)["event"] == "order-response"


@pytest.mark.parametrize(
    "offer", ["permessage-deflate; server_max_window_bits=8", "permessage-deflate; x", "other"]
)
def test_an_offer_that_cannot_be_accepted_leaves_a_plain_connection(rig: Rig, offer: str) -> None:
    gateway, _ = rig
    with gateway.raw(headers={"Sec-WebSocket-Extensions": offer}) as client:
        assert "Extensions" not in client.head
        client.send_frame(Opcode.TEXT | RSV1, compress(b"{}"))
        assert client.close_code() == 1002


def test_a_header_against_the_grammar_is_answered_400(rig: Rig) -> None:
    gateway, _ = rig
    request = handshake_request(gateway.address, Sec_WebSocket_Extensions="permessage-deflate; =")
    assert exchange(gateway.address, request)[0] == 400


def test_without_the_flag_no_offer_is_accepted() -> None:
    with scripted() as (gateway, _), gateway.raw(headers={"Sec-WebSocket-Extensions": OFFER}) as client:
        assert "Extensions" not in client.head
        client.send_frame(Opcode.TEXT | RSV1, compress(b"{}"))
        assert client.close_code() == 1002
