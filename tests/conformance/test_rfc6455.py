"""RFC 6455 as a table by section, against the gateway's connection code over a real socket.

The cases are the field's (Autobahn's, `test_autobahn.py`); they stand here so that every Python holds them, with
no suite to install. Each is bytes in, and the frames that must come back until the connection ends.
"""

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import pytest

from execgate.wire.frame_builder import Opcode, build_masked, close_payload, header
from tests.clients import open_socket
from tests.conformance.serving import echo_server

MASK = b"\x37\xfa\x21\x3d"
MIB = 1 << 20
EURO = "\u20ac".encode()
CONTINUATION, TEXT, BINARY = Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG


class Frame(NamedTuple):
    """What came back, read by this file's own few lines, not by the parser under test."""

    opcode: int
    payload: bytes


class Peer:
    """A socket past its handshake; `get` reads one frame, None at the end of the stream."""

    def __init__(self, address: str, **fields: str) -> None:
        self.sock = open_socket(address)
        self.file = self.sock.makefile("rb")
        lines = [
            "GET /any/path?x=1 HTTP/1.1",
            f"Host: {address}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items()),
        ]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        self.head = b"".join(iter(self.file.readline, b"\r\n"))
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head

    def send(self, data: bytes, piece: int = 0) -> None:
        """Send at once, or in pieces that the server reads one by one; it may have closed before the last."""
        for start in range(0, len(data), piece or len(data) or 1):
            try:
                self.sock.sendall(data[start : start + (piece or len(data))])
            except (BrokenPipeError, ConnectionResetError):
                return
            if piece:
                time.sleep(0.001)  # no condition to wait for: it only makes a read of several pieces unlikely

    def get(self) -> Frame | None:
        try:
            head = self.file.read(2)
            if not head:
                return None
            assert head[0] & 0x80, "the echo never fragments"
            length = head[1]
            assert length < 0x80, "a server never masks"
            if length >= 126:
                length = int.from_bytes(self.file.read(2 if length == 126 else 8))
            return Frame(head[0] & 0x7F, self.file.read(length))
        except ConnectionResetError:
            return None

    def rest(self) -> list[Frame]:
        """Everything up to the end of the stream."""
        return list(iter(self.get, cast("Any", None)))

    def close(self) -> None:
        self.file.close()
        self.sock.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with echo_server() as listening:
        yield listening


@pytest.fixture
def peer(address: str) -> Iterator[Peer]:
    made = Peer(address)
    yield made
    made.close()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    whole = build_masked(opcode, payload, MASK, fin=fin)
    return bytes([whole[0] | rsv << 4]) + whole[1:]


def parts(opcode: int, *payloads: bytes) -> list[bytes]:
    """One message in as many frames."""
    opcodes = [opcode, *[CONTINUATION] * (len(payloads) - 1)]
    last = len(payloads) - 1
    return [
        frame(code, text, fin=at == last) for at, (code, text) in enumerate(zip(opcodes, payloads, strict=True))
    ]


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


GOODBYE = closing(1000)
CLOSED = Frame(CLOSE, close_payload(1000))


class Case(NamedTuple):
    """A clause: what is sent, and what comes back before the close frame of `code`."""

    section: str
    name: str
    sent: Sequence[bytes]
    expected: Sequence[Frame]
    code: int = 1000


def echoes(section: str, name: str, sent: Sequence[bytes], *expected: Frame) -> Case:
    return Case(section, name, [*sent, GOODBYE], expected)


def fails(section: str, name: str, code: int, *sent: bytes, before: Sequence[Frame] = ()) -> Case:
    """What follows the violation is never echoed."""
    return Case(section, name, [*sent, frame(TEXT, b"too late"), frame(PING, b"too late")], before, code)


def text(value: bytes) -> Frame:
    return Frame(TEXT, value)


def _framing() -> Iterator[Case]:
    for opcode in (TEXT, BINARY):
        for size in (0, 1, 125, 126, 127, 128, 65535, 65536, MIB):
            yield echoes(
                "5.2", f"{opcode.name} of {size}", [frame(opcode, b"*" * size)], Frame(opcode, b"*" * size)
            )
    yield echoes("5.2", "a binary of every byte", [frame(BINARY, bytes(range(256)))], Frame(2, bytes(range(256))))
    for rsv in range(1, 8):
        yield fails("5.2", f"reserved bits {rsv:03b} of a text", 1002, frame(TEXT, b"x", rsv=rsv))
        yield fails("5.2", f"reserved bits {rsv:03b} of a ping", 1002, frame(PING, b"x", rsv=rsv))
        yield fails("5.2", f"reserved bits {rsv:03b} of a close", 1002, frame(CLOSE, b"", rsv=rsv))
    for opcode_number in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield fails("5.2", f"reserved opcode {opcode_number}", 1002, frame(opcode_number, b"x"))
        first = frame(TEXT, b"whole")
        yield fails(
            "5.2",
            f"opcode {opcode_number} behind a text",
            1002,
            first,
            frame(opcode_number),
            before=[text(b"whole")],
        )
    yield fails("5.2", "126 where 7 bits would do", 1002, b"\x82\xfe\x00\x7d" + MASK)
    yield fails("5.2", "127 where 16 bits would do", 1002, b"\x82\xff" + (65535).to_bytes(8) + MASK)
    yield fails("5.2", "a length with its first bit set", 1002, b"\x82\xff" + (1 << 63).to_bytes(8) + MASK)
    yield fails("5.1", "a frame without a mask", 1002, header(TEXT, 1) + b"x")
    yield fails("5.2", "a message over the bound", 1009, b"\x82\xff" + (16 * MIB + 1).to_bytes(8) + MASK)


def _fragmentation() -> Iterator[Case]:
    yield echoes("5.4", "two fragments", parts(TEXT, b"a", b"b"), text(b"ab"))
    yield echoes("5.4", "three empty fragments", parts(TEXT, b"", b"", b""), text(b""))
    yield echoes("5.4", "empty ones around one that is not", parts(BINARY, b"", b"x", b""), Frame(BINARY, b"x"))
    yield echoes("5.4", "1000 fragments", parts(TEXT, *[b"x"] * 1000), text(b"x" * 1000))
    first, last = parts(TEXT, b"a", b"b")
    yield echoes("5.4", "a ping between", [first, frame(PING, b"p"), last], Frame(PONG, b"p"), text(b"ab"))
    yield echoes("5.4", "a pong between", [first, frame(PONG, b"p"), last], text(b"ab"))
    yield Case("5.5.1", "a close between", [first, closing(1000)], [])
    yield fails("5.4", "a continuation of nothing", 1002, frame(CONTINUATION, b"x"))
    yield fails("5.4", "an open continuation of nothing", 1002, frame(CONTINUATION, b"x", fin=False))
    yield fails(
        "5.4",
        "a continuation behind a whole message",
        1002,
        frame(TEXT, b"a"),
        frame(0, b"b"),
        before=[text(b"a")],
    )
    for opcode in (TEXT, BINARY):
        yield fails("5.4", f"a {opcode.name} within a message", 1002, first, frame(opcode, b"x"))
    for control in (CLOSE, PING, PONG):
        yield fails("5.5", f"a fragmented {control.name}", 1002, frame(control, b"", fin=False))
        yield fails("5.5", f"a {control.name} of 126 bytes", 1002, frame(control, b"\x03\xe8" + b"*" * 124))


def _pings() -> Iterator[Case]:
    yield echoes("5.5.2", "an empty ping", [frame(PING)], Frame(PONG, b""))
    yield echoes("5.5.2", "a ping of 125 bytes", [frame(PING, bytes(125))], Frame(PONG, bytes(125)))
    ten = [frame(PING, b"%d" % number) for number in range(10)]
    yield echoes("5.5.2", "ten pings in one read", ten, *[Frame(PONG, b"%d" % number) for number in range(10)])
    yield echoes(
        "5.5.3", "pongs that nobody asked for", [frame(PONG), frame(PONG, b"x"), frame(PING)], Frame(PONG, b"")
    )


VALID_TEXTS = (
    b"",
    "\u03ba\u1f79\u03c3\u03bc\u03b5".encode(),
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",  # U+D7FF, the last before the surrogates
    b"\xee\x80\x80",
    b"\xef\xbf\xbe",  # a noncharacter is a character
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf4\x8f\xbf\xbf",  # U+10FFFF
)
INVALID_TEXTS = (
    b"\x80",
    b"\xbf",
    b"\xc0\x80",  # overlong
    b"\xc1\xbf",
    b"\xc2",  # cut
    b"\xc2\xc2",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",  # U+D800
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",  # a pair of them
    b"\xe2\x82",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",  # U+110000
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe",
    b"\xff",
)


def _texts() -> Iterator[Case]:
    for valid in VALID_TEXTS:
        yield echoes("8.1", f"valid {valid.hex()}", [frame(TEXT, valid)], text(valid))
        split = parts(TEXT, *(valid[at : at + 1] for at in range(len(valid))), b"")
        yield echoes("8.1", f"valid {valid.hex()}, a byte a fragment", split, text(valid))
    for invalid in INVALID_TEXTS:
        yield fails("8.1", f"invalid {invalid.hex()}", 1007, frame(TEXT, b"a" + invalid))
        yield fails("8.1", f"invalid {invalid.hex()} in fragments", 1007, *parts(TEXT, b"a", invalid, b""))
        yield echoes("8.1", f"{invalid.hex()} in a binary", [frame(BINARY, invalid)], Frame(BINARY, invalid))
    yield fails("8.1", "a character cut by the end of the message", 1007, *parts(TEXT, EURO[:1], EURO[1:2]))


def _closes() -> Iterator[Case]:
    yield Case("5.5.1", "no code", [frame(CLOSE)], [])
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
        yield Case("7.4", f"close {code} is echoed", [closing(code)], [], code)
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield Case("7.4", f"close {code}", [closing(code)], [], 1002)
    yield Case("5.5.1", "a payload of one byte", [frame(CLOSE, b"\x03")], [], 1002)
    yield Case("5.5.1", "a reason of 123 bytes", [closing(1000, b"*" * 123)], [])
    yield Case("8.1", "a reason that is not UTF-8", [closing(1000, b"\xff")], [], 1007)
    after = [frame(TEXT, b"late"), frame(PING, b"late"), closing(1001)]
    yield Case("5.5.1", "what follows a close is ignored", [frame(TEXT, b"a"), GOODBYE, *after], [text(b"a")])


CASES = [*_framing(), *_fragmentation(), *_pings(), *_texts(), *_closes()]


def ids(case: Case) -> str:
    return f"{case.section} {case.name}"


def holds(peer: Peer, case: Case, piece: int) -> None:
    """The frames expected, one close frame, then the end of the stream, though we never closed our side."""
    peer.send(b"".join(case.sent), piece)
    came = peer.rest()
    assert [Frame(f.opcode, f.payload) for f in came[:-1]] == list(case.expected)
    assert came[-1].opcode == CLOSE
    assert int.from_bytes(came[-1].payload[:2]) == case.code


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_a_clause_holds_in_one_read(peer: Peer, case: Case) -> None:
    holds(peer, case, 0)


SHORT = [case for case in CASES if sum(map(len, case.sent)) <= 160]


@pytest.mark.parametrize("case", SHORT, ids=ids)
def test_a_clause_holds_byte_by_byte(peer: Peer, case: Case) -> None:
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    holds(peer, case, 1)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_of_16_mib_passes(peer: Peer, opcode: Opcode) -> None:
    payload = b"*" * (16 * MIB)
    peer.send(frame(opcode, payload) + GOODBYE)
    assert peer.rest() == [Frame(opcode, payload), CLOSED]


@pytest.mark.parametrize(
    "invalid", [bad for bad in INVALID_TEXTS if bad not in (b"\xc2", b"\xe2\x82")], ids=bytes.hex
)
def test_text_fails_at_the_byte_that_breaks_it(peer: Peer, invalid: bytes) -> None:
    """The frame is never completed: who waits for its end would wait for ever."""
    peer.send(frame(TEXT, EURO + invalid + b"x" * 1000)[: 8 + len(EURO + invalid)])
    assert peer.rest()[0].payload[:2] == (1007).to_bytes(2)


def test_nothing_is_awaited_of_a_peer_that_broke_the_protocol(peer: Peer) -> None:
    """Section 7.1.7: the stream ends behind our close frame, at once, not after the close timeout of 2 s."""
    peer.send(frame(3))
    began = time.monotonic()
    assert [came.opcode for came in peer.rest()] == [CLOSE]
    assert time.monotonic() - began < 1.0


def test_a_socket_that_is_closed_in_the_middle_of_a_message_is_let_go(peer: Peer) -> None:
    """Half-closed without a close frame: we close too, without one."""
    peer.send(frame(TEXT, b"whole") + frame(TEXT, b"half")[:3])
    peer.sock.shutdown(socket.SHUT_WR)
    assert peer.rest() == [text(b"whole")]


def test_a_peer_that_half_closes_behind_its_close_frame_gets_ours(peer: Peer) -> None:
    peer.send(GOODBYE)
    peer.sock.shutdown(socket.SHUT_WR)
    assert peer.rest() == [CLOSED]
