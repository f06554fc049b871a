"""Compressed messages in the frame parser: RFC 7692's use of RSV1, and bounds on what a message inflates to."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.close_codes import CloseCode
from execgate.wire.deflate import RSV1, compress
from execgate.wire.frame_builder import Opcode, build_masked
from execgate.wire.frame_parser import Binary, Event, Failure, FrameParser, Ping, Text

MASK = b"\x01\x02\x03\x04"
CONTINUATION, TEXT, BINARY, PING = Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY, Opcode.PING


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    return build_masked(opcode, payload, MASK, fin=fin)


def fragments(opcode: int, payload: bytes, size: int) -> bytes:
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    return b"".join(
        frame(CONTINUATION if at else opcode, piece, fin=at == len(pieces) - 1) for at, piece in enumerate(pieces)
    )


def read(data: bytes, *, most: int = 65536, inflates: bool = True, piece: int = 0) -> list[Event]:
    parser = FrameParser(server=True, max_message_bytes=most, max_fragments=1 << 20, inflates=inflates)
    piece = piece or len(data)
    return [event for at in range(0, len(data), piece) for event in parser.feed(data[at : at + piece])]


def code(events: Sequence[Event]) -> CloseCode:
    assert isinstance(events[-1], Failure), events
    return events[-1].code


@given(st.text(max_size=300), st.integers(1, 100), st.integers(1, 100))
def test_any_split_of_a_compressed_message_gives_its_text(text: str, fragment: int, piece: int) -> None:
    payload = compress(text.encode())
    plain = frame(TEXT, text.encode())
    sent = plain + fragments(TEXT | RSV1, payload, fragment) + fragments(BINARY | RSV1, payload, fragment) + plain
    expected = [Text(text), Text(text), Binary(text.encode()), Text(text)]
    assert read(sent, piece=piece) == expected


def test_a_ping_may_stand_between_compressed_fragments() -> None:
    payload = compress(b"hello")
    first, last = frame(TEXT | RSV1, payload[:2], fin=False), frame(CONTINUATION, payload[2:])
    assert read(first + frame(PING, b"p") + last) == [Ping(b"p"), Text("hello")]


def test_the_first_fragment_may_be_empty() -> None:
    sent = frame(TEXT | RSV1, b"", fin=False) + frame(CONTINUATION, compress(b"hello"))
    assert read(sent) == [Text("hello")]


@pytest.mark.parametrize(
    "data",
    [
        frame(PING | RSV1, b""),
        frame(Opcode.CLOSE | RSV1, b""),
        frame(TEXT | RSV1, b"", fin=False) + frame(CONTINUATION | RSV1, compress(b"x")),
        frame(TEXT, b"x", fin=False) + frame(CONTINUATION | RSV1, compress(b"x")),
        frame(TEXT | RSV1 | 0x20, compress(b"x")),
        frame(TEXT | 0x10, compress(b"x")),
        frame(3 | RSV1, compress(b"x")),
    ],
)
def test_rsv1_stands_on_the_first_frame_of_a_message_alone(data: bytes) -> None:
    assert code(read(data)) == CloseCode.PROTOCOL_ERROR


def test_rsv1_without_an_agreement_is_an_error() -> None:
    assert code(read(frame(TEXT | RSV1, compress(b"x")), inflates=False)) == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("fragment", [7, 1 << 20])
def test_the_bound_holds_while_inflating(fragment: int) -> None:
    payload = compress(bytes(1001))
    assert read(fragments(BINARY | RSV1, payload, fragment), most=1001) == [Binary(bytes(1001))]
    assert code(read(fragments(BINARY | RSV1, payload, fragment), most=1000)) == CloseCode.TOO_BIG


def test_a_frame_that_claims_too_much_fails_at_its_header() -> None:
    assert code(read(frame(BINARY | RSV1, bytes(3000))[:8], most=1000)) == CloseCode.TOO_BIG


def test_text_fails_at_its_bad_byte_before_the_message_is_whole() -> None:
    """The good byte behind it keeps the compressed block open: what came so far is checked all the same."""
    payload = b"\x00\x02\x00\xfd\xffa\xff"  # a stored block of two bytes
    assert code(read(frame(TEXT | RSV1, payload, fin=False))) == CloseCode.INVALID_TEXT


def test_what_is_no_deflate_fails_with_1007() -> None:
    assert code(read(frame(BINARY | RSV1, b"\xff\xff"))) == CloseCode.INVALID_TEXT


def test_a_plain_message_after_a_compressed_one_is_plain() -> None:
    sent = frame(TEXT | RSV1, compress(b"one")) + fragments(TEXT, b"two", 1)
    assert read(sent) == [Text("one"), Text("two")]
