"""The opening handshake: what is asked for, what is accepted, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.core.handshake import MAX_HEAD_BYTES, Handshake, HandshakeError, accept_of
from loadgen.core.target import Target

TARGET = Target("127.0.0.1", 8124, "/ws")
NONCE = b"the sample nonce"  # of RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def answer(**changed: str | None) -> bytes:
    fields: dict[str, str | None] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": ACCEPT,
    }
    fields |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode()


def test_the_accept_value_is_that_of_the_rfc() -> None:
    assert accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == ACCEPT.encode()


def test_the_request_offers_what_it_was_told_to() -> None:
    request = Handshake(TARGET, NONCE, "execgate.1").request
    assert request.startswith(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:8124\r\n")
    assert b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in request
    assert b"Sec-WebSocket-Protocol: execgate.1\r\n\r\n" in request
    assert b"Protocol" not in Handshake(TARGET, NONCE, None).request
    assert b"Host: [::1]:80\r\n" in Handshake(Target("::1", 80, "/"), NONCE, None).request


@given(st.lists(st.integers(1, 40)))
def test_any_split_gives_the_same_rest(sizes: list[int]) -> None:
    handshake, data, rest = Handshake(TARGET, NONCE, None), answer() + b"\x81\x02hi", b""
    opened = False
    while data:
        size = sizes.pop() if sizes else 17
        piece, data = data[:size], data[size:]
        if opened:
            rest += piece
        else:
            given_back = handshake.feed(piece)
            opened = given_back is not None
            rest += given_back or b""
    assert rest == b"\x81\x02hi"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\r\n\r\n",
        answer(Upgrade=None),
        answer(Upgrade="h2c"),
        answer(Connection=None),
        answer(Sec_WebSocket_Accept="AAAA"),
        answer(Sec_WebSocket_Accept=None),
        answer(Sec_WebSocket_Extensions="permessage-deflate"),
        answer(Sec_WebSocket_Protocol="chat"),
        b"a" * (MAX_HEAD_BYTES + 4),
        answer(X="a" * MAX_HEAD_BYTES),
    ],
)
def test_what_is_no_upgrade_is_refused(head: bytes) -> None:
    with pytest.raises(HandshakeError):
        Handshake(TARGET, NONCE, None).feed(head)


def test_the_offered_subprotocol_may_be_chosen_or_left() -> None:
    for head in (answer(), answer(Sec_WebSocket_Protocol="execgate.1")):
        assert Handshake(TARGET, NONCE, "execgate.1").feed(head) == b""
