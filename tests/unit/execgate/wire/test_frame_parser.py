"""The frame parser: RFC 6455 clause by clause, and as a whole against a naive model."""

import random
import struct
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.speedups import websocket_mask

from execgate.wire.close_codes import CloseCode
from execgate.wire.frame_builder import Opcode, build, build_close, build_masked, close_payload, xor_mask
from execgate.wire.frame_parser import (
    Binary,
    Closing,
    Event,
    Failure,
    FrameParser,
    Ping,
    Pong,
    Text,
)
from tests.unit.execgate.wire.naive_frames import Model, Told

MASK = b"\x37\xfa\x21\x3d"  # of the examples in RFC 6455 section 5.7
SMALL = Model(max_message_bytes=300, max_fragments=5)


def told(events: Iterable[Event]) -> list[Told]:
    """Events in the model's words; a failure's reason is for people."""
    result: list[Told] = []
    for event in events:
        match event:
            case Text(text):
                result.append(("text", text, ""))
            case Binary(data):
                result.append(("binary", data, ""))
            case Ping(payload):
                result.append(("ping", payload, ""))
            case Pong(payload):
                result.append(("pong", payload, ""))
            case Closing(code, reason):
                result.append(("closing", code, reason))
            case Failure(code, reason):
                assert reason
                result.append(("failure", int(code), ""))
    return result


def parser_like(model: Model) -> FrameParser:
    return FrameParser(
        server=model.server,
        max_message_bytes=model.max_message_bytes,
        max_fragments=model.max_fragments,
        unmask=websocket_mask,
    )


def feed_all(parser: FrameParser, chunks: Iterable[bytes]) -> list[Told]:
    return [event for chunk in chunks for event in told(parser.feed(chunk))]


def cut(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    edges = [0, *sorted(min(at, len(data)) for at in cuts), len(data)]
    return (data[start:end] for start, end in pairwise(edges))


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return build_masked(opcode, payload, MASK, fin=fin)


def parse(data: bytes, *, server: bool = True, max_message_bytes: int = 64 * 1024) -> list[Told]:
    return told(FrameParser(server=server, max_message_bytes=max_message_bytes).feed(data))


def failure(code: CloseCode) -> Told:
    return ("failure", int(code), "")


PROTOCOL_ERROR = failure(CloseCode.PROTOCOL_ERROR)
INVALID_TEXT = failure(CloseCode.INVALID_TEXT)


# --- against the model ---------------------------------------------------------------------------------------

texts = st.text(st.sampled_from("a€é😀\U0010ffff\x00"), max_size=8).map(str.encode)
bad_texts = st.sampled_from(
    [
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xed\xa0",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"a\x80",
        b"\xf0\x9f\x98",
        b"\xc3(",
    ]
)
payloads = st.one_of(
    texts,
    texts,
    bad_texts,
    st.binary(max_size=6),
    st.sampled_from([0, 1, 125, 126, 127, 299, 300, 301]).map(lambda length: b"x" * length),
)
close_payloads = st.one_of(
    st.sampled_from([b"", b"\x03", b"\x03\xe8"]),
    st.builds(
        lambda code, reason: struct.pack("!H", code) + reason,
        st.one_of(st.integers(995, 1020), st.sampled_from([0, 2999, 3000, 4999, 5000, 65535])),
        st.one_of(texts, bad_texts),
    ),
)
opcodes = st.sampled_from([0, 0, 0, 1, 1, 2, 9, 10])


@st.composite
def good_message(draw: st.DrawFn, masked: bool = True) -> bytes:
    """A message in fragments that split characters, with control frames between them."""
    opcode = draw(st.sampled_from([1, 2]))
    parts = list(cut(draw(texts), draw(st.lists(st.integers(0, 30), max_size=3))))
    out = b""
    for index, part in enumerate(parts):
        out += _encode(draw, (index == len(parts) - 1) << 7 | (opcode if index == 0 else 0), part, masked=masked)
        if draw(st.booleans()):
            out += _encode(draw, 0x80 | draw(st.sampled_from([9, 10])), draw(st.binary(max_size=5)), masked=masked)
    return out


@st.composite
def any_frame(draw: st.DrawFn, masked: bool = True) -> bytes:
    """A frame that is likely, but not sure, to be right where it stands."""
    opcode = draw(st.one_of(opcodes, opcodes, opcodes, st.just(8), st.integers(0, 15)))
    first = (draw(st.integers(0, 4)) > 0) << 7 | opcode
    if draw(st.integers(0, 30)) == 0:
        first |= draw(st.sampled_from([0x10, 0x20, 0x40]))
    payload = draw(close_payloads if opcode == 8 else payloads)
    overlong = draw(st.integers(0, 30)) == 0
    right_mask = draw(st.integers(0, 30)) > 0
    return _encode(draw, first, payload, masked=masked == right_mask, overlong=overlong)


def _encode(draw: st.DrawFn, first: int, payload: bytes, *, masked: bool, overlong: bool = False) -> bytes:
    length, bit = len(payload), 128 if masked else 0
    if overlong:
        size = draw(st.sampled_from([2, 8, 9]))
        lengths = {
            2: struct.pack("!BH", bit | 126, length),
            8: struct.pack("!BQ", bit | 127, length),
            9: struct.pack("!BQ", bit | 127, length | 1 << 63),
        }[size]
    else:
        lengths = struct.pack("!B", bit | length) if length < 126 else struct.pack("!BH", bit | 126, length)
    if not masked:
        return bytes([first]) + lengths + payload
    mask = draw(st.binary(min_size=4, max_size=4))
    return bytes([first]) + lengths + mask + xor_mask(mask, payload)


def streams(masked: bool) -> st.SearchStrategy[bytes]:
    pieces = st.one_of(good_message(masked), any_frame(masked), any_frame(masked))
    return st.lists(pieces, max_size=8).map(b"".join)


cuts = st.lists(st.integers(0, 400), max_size=6)


@settings(max_examples=400, deadline=None)
@given(data=streams(masked=True), cuts=cuts, tail=st.integers(0, 5))
def test_a_client_s_frames_give_the_model_s_events_however_they_are_split(
    data: bytes, cuts: list[int], tail: int
) -> None:
    data = data[: len(data) - tail]  # the last frame may not be whole
    expected = SMALL.read(data)
    assert told(parser_like(SMALL).feed(data)) == expected
    assert feed_all(parser_like(SMALL), cut(data, cuts)) == expected
    assert feed_all(parser_like(SMALL), (data[i : i + 1] for i in range(len(data)))) == expected


@settings(max_examples=150, deadline=None)
@given(data=streams(masked=False), cuts=cuts)
def test_a_server_s_frames_give_the_model_s_events_however_they_are_split(data: bytes, cuts: list[int]) -> None:
    model = Model(server=False, max_message_bytes=300, max_fragments=5)
    expected = model.read(data)
    assert told(parser_like(model).feed(data)) == expected
    assert feed_all(parser_like(model), cut(data, cuts)) == expected


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60), cuts=cuts)
def test_any_bytes_at_all_give_the_model_s_events_and_never_an_exception(data: bytes, cuts: list[int]) -> None:
    for model in (SMALL, Model(server=False, max_message_bytes=300, max_fragments=5)):
        assert feed_all(parser_like(model), cut(data, cuts)) == model.read(data)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536])
@pytest.mark.parametrize("opcode", [1, 2])
def test_messages_of_all_boundary_lengths_arrive_whole_and_in_any_pieces(length: int, opcode: int) -> None:
    payload = (b"0123456789abcdefg" * (length // 17 + 1))[:length]
    data = frame(opcode, payload) + frame(9, b"next")
    expected = [("text", payload.decode(), "") if opcode == 1 else ("binary", payload, ""), ("ping", b"next", "")]
    parser = FrameParser(server=True, unmask=websocket_mask)
    assert told(parser.feed(data)) == expected
    for size in (1, 3, 7, 1000, 4096):
        if len(data) // size < 20_000:
            pieces = (data[i : i + size] for i in range(0, len(data), size))
            assert feed_all(FrameParser(server=True, unmask=websocket_mask), pieces) == expected


# --- clause by clause ----------------------------------------------------------------------------------------

EXAMPLES = [  # section 5.7; (bytes, does the sender mask, events)
    pytest.param("810548656c6c6f", False, [("text", "Hello", "")], id="5.7-unmasked-text"),
    pytest.param("818537fa213d7f9f4d5158", True, [("text", "Hello", "")], id="5.7-masked-text"),
    pytest.param("010348656c80026c6f", False, [("text", "Hello", "")], id="5.7-fragmented-text"),
    pytest.param("890548656c6c6f", False, [("ping", b"Hello", "")], id="5.7-unmasked-ping"),
    pytest.param("8a8537fa213d7f9f4d5158", True, [("pong", b"Hello", "")], id="5.7-masked-pong"),
    pytest.param("827e0100" + "5a" * 256, False, [("binary", b"Z" * 256, "")], id="5.7-binary-256"),
    pytest.param(
        "827f0000000000010000" + "5a" * 65536, False, [("binary", b"Z" * 65536, "")], id="5.7-binary-64KiB"
    ),
]


@pytest.mark.parametrize(("data", "masked", "expected"), EXAMPLES)
def test_the_rfc_s_own_examples_are_read(data: str, masked: bool, expected: list[Told]) -> None:
    assert parse(bytes.fromhex(data), server=masked) == expected


def _close(payload: bytes) -> bytes:
    return frame(8, payload)


HELLO = ("text", "hello", "")
CLAUSES = [
    *(
        pytest.param(bytes([0x81 | bit, 0x80]) + MASK, [PROTOCOL_ERROR], id=f"5.2-reserved-bit-{bit:#x}")
        for bit in (0x10, 0x20, 0x40)
    ),
    *(
        pytest.param(bytes([0x80 | opcode, 0x80]) + MASK, [PROTOCOL_ERROR], id=f"5.2-reserved-opcode-{opcode}")
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ),
    pytest.param(b"\x81\xfe\x00\x7d" + MASK + b"x" * 125, [PROTOCOL_ERROR], id="5.2-125-in-16-bits"),
    pytest.param(b"\x81\xff" + bytes(6) + b"\xff\xff", [PROTOCOL_ERROR], id="5.2-65535-in-64-bits"),
    pytest.param(b"\x81\xff\x80" + bytes(7), [PROTOCOL_ERROR], id="5.2-first-bit-of-64-set"),
    pytest.param(b"\x81\xff\x7f" + b"\xff" * 7, [failure(CloseCode.TOO_BIG)], id="5.2-2^63-1-is-too-big"),
    pytest.param(build(1, b"hello"), [PROTOCOL_ERROR], id="5.1-unmasked-from-a-client"),
    pytest.param(build_masked(1, b"hello", bytes(4)), [HELLO], id="5.3-a-mask-of-zeros"),
    pytest.param(
        build_masked(1, b"hello", b"abcd") + build_masked(1, b"hello", b"wxyz"),
        [HELLO, HELLO],
        id="5.3-each-frame-has-its-mask",
    ),
    pytest.param(frame(0, b"x"), [PROTOCOL_ERROR], id="5.4-continuation-of-nothing"),
    pytest.param(
        frame(1, b"hello") + frame(0, b"x"), [HELLO, PROTOCOL_ERROR], id="5.4-continuation-after-the-end"
    ),
    pytest.param(frame(1, b"x", fin=False) + frame(1, b"y"), [PROTOCOL_ERROR], id="5.4-text-within-a-message"),
    pytest.param(frame(2, b"x", fin=False) + frame(2, b"y"), [PROTOCOL_ERROR], id="5.4-binary-within-a-message"),
    pytest.param(
        frame(1, fin=False) + frame(0, fin=False) + frame(0), [("text", "", "")], id="5.4-empty-fragments"
    ),
    pytest.param(
        frame(1, b"he", fin=False) + frame(9, b"!") + frame(0, b"llo"),
        [("ping", b"!", ""), HELLO],
        id="5.4-ping-between",
    ),
    pytest.param(
        frame(1, b"he", fin=False) + frame(8, b"\x03\xe8") + frame(0, b"llo"),
        [("closing", 1000, "")],
        id="5.4-close-between-ends-all",
    ),
    pytest.param(frame(9, b"x", fin=False), [PROTOCOL_ERROR], id="5.5-fragmented-ping"),
    pytest.param(frame(8, b"", fin=False), [PROTOCOL_ERROR], id="5.5-fragmented-close"),
    pytest.param(frame(9, b"x" * 125), [("ping", b"x" * 125, "")], id="5.5-ping-of-125"),
    pytest.param(frame(9, b"x" * 126), [PROTOCOL_ERROR], id="5.5-ping-of-126"),
    pytest.param(_close(b""), [("closing", None, "")], id="5.5.1-close-without-a-code"),
    pytest.param(_close(b"\x03"), [PROTOCOL_ERROR], id="5.5.1-close-of-one-byte"),
    pytest.param(_close(b"\x03\xe8\xe2\x82\xac"), [("closing", 1000, "€")], id="5.5.1-close-with-a-reason"),
    pytest.param(_close(b"\x03\xe8\xff"), [INVALID_TEXT], id="5.5.1-reason-that-is-not-text"),
    pytest.param(
        _close(b"\x03\xe8") + frame(1, b"hello"), [("closing", 1000, "")], id="5.5.1-nothing-after-close"
    ),
    *(
        pytest.param(_close(struct.pack("!H", code)), [PROTOCOL_ERROR], id=f"7.4-{code}-never-travels")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ),
    *(
        pytest.param(_close(struct.pack("!H", code)), [("closing", code, "")], id=f"7.4-{code}-may-travel")
        for code in (
            1000,
            1001,
            1002,
            1003,
            1007,
            1008,
            1009,
            1010,
            1011,
            1012,
            1013,
            1014,
            3000,
            3999,
            4000,
            4999,
        )
    ),
    *(
        pytest.param(frame(1, bad), [INVALID_TEXT], id=f"8.1-{bad.hex()}")
        for bad in (
            b"\x80",
            b"\xc0\x80",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xf8\x88\x80\x80\x80",
            b"\xe2\x82",
        )
    ),
    pytest.param(
        frame(1, "€".encode()[:1], fin=False) + frame(0, "€".encode()[1:]),
        [("text", "€", "")],
        id="8.1-split-character",
    ),
    pytest.param(
        frame(1, b"\xe2", fin=False) + frame(0, b"\x82"), [INVALID_TEXT], id="8.1-ends-within-a-character"
    ),
    pytest.param(frame(2, b"\xff"), [("binary", b"\xff", "")], id="8.1-binary-is-not-checked"),
]


@pytest.mark.parametrize(("data", "expected"), CLAUSES)
def test_clauses_of_rfc_6455(data: bytes, expected: list[Told]) -> None:
    assert parse(data) == expected
    assert feed_all(FrameParser(server=True), (bytes([byte]) for byte in data)) == expected


def test_a_server_s_masked_frame_fails_at_the_client() -> None:
    assert parse(frame(1, b"hello"), server=False) == [PROTOCOL_ERROR]


# --- early failure, bounds, state ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x83", id="opcode"),
        pytest.param(b"\xc1", id="reserved-bit"),
        pytest.param(b"\x80", id="continuation-of-nothing"),
        pytest.param(b"\x09", id="fragmented-ping"),
        pytest.param(b"\x81\x05", id="unmasked"),
        pytest.param(b"\x89\xfe", id="long-ping"),
        pytest.param(b"\x81\xfe\x00\x7d", id="overlong"),
        pytest.param(frame(1, b"a\xffbc")[:8], id="bad-byte-in-the-first-chunk-of-a-frame"),
        pytest.param(frame(1, b"\xed\xa0\x80!")[:9], id="surrogate-at-its-third-byte"),
        pytest.param(frame(1, b"\xf4\x90\x80\x80")[:8], id="beyond-unicode-at-its-second-byte"),
        pytest.param(frame(1, b"\xff", fin=False), id="bad-byte-in-a-first-fragment"),
    ],
)
def test_a_violation_fails_before_the_rest_arrives(data: bytes) -> None:
    [(kind, code, _)] = parse(data)
    assert kind == "failure"
    assert code in (1002, 1007)


@pytest.mark.parametrize("length", [101, 126, 65536, 1 << 40])
def test_a_message_too_big_fails_at_its_header_before_any_payload(length: int) -> None:
    size = struct.pack("!B", 128 | length) if length < 126 else struct.pack("!BQ", 255, length)
    size = struct.pack("!BH", 254, length) if 126 <= length < 65536 else size
    assert parse(b"\x82" + size, max_message_bytes=100) == [failure(CloseCode.TOO_BIG)]


def test_a_message_of_exactly_the_bound_passes_and_fragments_add_up() -> None:
    assert parse(frame(2, b"x" * 100), max_message_bytes=100) == [("binary", b"x" * 100, "")]
    halves = frame(2, b"x" * 60, fin=False) + frame(0, b"x" * 40)
    assert parse(halves, max_message_bytes=100) == [("binary", b"x" * 100, "")]
    beyond = frame(2, b"x" * 60, fin=False) + frame(0, b"x" * 41)
    assert parse(beyond, max_message_bytes=100) == [failure(CloseCode.TOO_BIG)]


def test_fragments_are_bounded_empty_ones_count_and_each_message_counts_anew() -> None:
    def message(fragments: int) -> bytes:
        return frame(1, fin=False) + frame(0, fin=False) * (fragments - 2) + frame(0)

    parser = FrameParser(server=True)
    assert told(parser.feed(message(64) + message(64) + frame(1))) == [("text", "", "")] * 3
    assert told(parser.feed(message(65))) == [failure(CloseCode.POLICY)]


def test_control_frames_between_are_no_fragments() -> None:
    data = frame(1, b"a", fin=False) + frame(10) * 200 + frame(0, b"b")
    assert parse(data)[-1] == ("text", "ab", "")


@pytest.mark.parametrize(
    "last", [pytest.param(build_masked(8, b"", MASK), id="closing"), pytest.param(b"\x83", id="failure")]
)
def test_after_a_closing_or_a_failure_nothing_happens(last: bytes) -> None:
    parser = FrameParser(server=True)
    assert len(parser.feed(frame(1, b"x", fin=False) + last + frame(9, b"ignored"))) == 1
    assert parser.feed(frame(9, b"ignored")) == []
    assert parser.feed(b"\x83") == []
    assert not parser.is_mid_message


def test_is_mid_message_says_whether_something_has_begun() -> None:
    parser = FrameParser(server=True)
    text = frame(1, b"hello")
    states = []
    for byte in text:
        states.append(parser.is_mid_message)
        parser.feed(bytes([byte]))
    assert states == [False] + [True] * (len(text) - 1)
    assert not parser.is_mid_message
    parser.feed(frame(1, b"he", fin=False))
    assert parser.is_mid_message, "between the fragments of a message"
    parser.feed(frame(9))
    assert parser.is_mid_message, "after a control frame between fragments"
    parser.feed(frame(0, b"llo"))
    assert not parser.is_mid_message
    parser.feed(frame(9, b"hello")[:-1])
    assert parser.is_mid_message, "within a control frame"
    assert parser.feed(b"") == []


def test_100_000_tiny_frames_in_one_read_neither_recurse_nor_take_long() -> None:
    """The first blocker of 2012: a parser that recursed at a message within a message."""
    data = (frame(1, b"x") + frame(9)) * 50_000
    started = time.monotonic()
    events = FrameParser(server=True, unmask=websocket_mask).feed(data)
    assert len(events) == 100_000
    assert time.monotonic() - started < 5.0


def test_cost_is_linear_byte_by_byte() -> None:
    data = frame(2, b"x" * 65536)
    started = time.monotonic()
    parser = FrameParser(server=True, unmask=websocket_mask)
    assert len(feed_all(parser, (data[i : i + 1] for i in range(len(data))))) == 1
    assert time.monotonic() - started < 5.0


def test_xor_mask_is_tornado_s_websocket_mask() -> None:
    random_source = random.Random(1)
    for length in (0, 1, 2, 3, 4, 5, 7, 8, 9, 125, 126, 1000, 65537):
        mask, data = random_source.randbytes(4), random_source.randbytes(length)
        masked = xor_mask(mask, data)
        assert masked == websocket_mask(mask, data)
        assert xor_mask(mask, masked) == data


def test_what_frame_builder_builds_is_read() -> None:
    data = build(Opcode.TEXT, b"hello") + build(Opcode.PING, b"!") + build_close(CloseCode.DRAIN, "moving")
    assert parse(data, server=False) == [HELLO, ("ping", b"!", ""), ("closing", 4200, "moving")]
    assert parse(frame(Opcode.CLOSE, close_payload(1000))) == [("closing", 1000, "")]
