"""Frames built: read back by an independent decoder and by the `websockets` library."""

from collections.abc import Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets import frames
from websockets.streams import StreamReader

from execgate.wire.close_codes import CloseCode, may_be_sent
from execgate.wire.frame_builder import Opcode, build, build_close, build_masked, close_payload, header
from tests.unit.execgate.wire.naive_frames import decode_frames

BOUNDARIES = [0, 1, 125, 126, 127, 65535, 65536]
payloads = st.one_of(st.binary(max_size=200), st.sampled_from(BOUNDARIES).map(bytes))


def read_by_websockets(data: bytes, *, masked: bool) -> frames.Frame:
    reader = StreamReader()
    reader.feed_data(data)
    parsing: Generator[None, None, frames.Frame] = frames.Frame.parse(reader.read_exact, mask=masked)
    try:
        next(parsing)
    except StopIteration as done:
        assert reader.at_eof is not None
        frame: frames.Frame = done.value
        return frame
    raise AssertionError("websockets wants more bytes")


@settings(max_examples=100, deadline=None)
@given(
    opcode=st.sampled_from([0, 1, 2]), payload=payloads, fin=st.booleans(), mask=st.binary(min_size=4, max_size=4)
)
def test_frames_are_read_back_by_others(opcode: int, payload: bytes, fin: bool, mask: bytes) -> None:
    for data, masked in (
        (build(opcode, payload, fin=fin), False),
        (build_masked(opcode, payload, mask, fin=fin), True),
    ):
        assert decode_frames(data) == [(fin, opcode, payload)]
        frame = read_by_websockets(data, masked=masked)
        assert (frame.fin, frame.opcode, bytes(frame.data)) == (fin, opcode, payload)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (127, "817e007f"),
        (65535, "817effff"),
        (65536, "817f0000000000010000"),
    ],
)
def test_lengths_stand_in_their_shortest_form(length: int, expected: str) -> None:
    """RFC 6455 section 5.2."""
    assert header(Opcode.TEXT, length).hex() == expected


def test_the_mask_bit_and_fin_bit_stand_where_they_must() -> None:
    assert header(Opcode.TEXT, 5, masked=True) == b"\x81\x85"
    assert header(Opcode.TEXT, 5, fin=False) == b"\x01\x05"
    assert header(Opcode.PING, 300, masked=True)[:2] == b"\x89\xfe"


@settings(max_examples=100, deadline=None)
@given(code=st.sampled_from(CloseCode), reason=st.text(max_size=200))
def test_a_close_fits_a_control_frame_and_its_reason_is_cut_at_a_character(code: CloseCode, reason: str) -> None:
    [(fin, opcode, payload)] = decode_frames(build_close(code, reason))
    assert (fin, opcode) == (True, Opcode.CLOSE)
    assert len(payload) <= 125
    assert int.from_bytes(payload[:2], "big") == code
    text = payload[2:].decode()
    assert reason.encode(errors="replace").decode().startswith(text)
    assert len(text.encode()) >= min(len(reason.encode(errors="replace")), 123 - 3)


def test_a_close_reason_with_a_lone_surrogate_is_no_exception() -> None:
    assert close_payload(1000, "a\ud800b")[2:] == b"a?b"


def test_every_close_code_of_ours_may_travel() -> None:
    assert all(may_be_sent(code) for code in CloseCode)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_codes_that_never_travel_may_not_be_sent(code: int) -> None:
    """RFC 6455 section 7.4."""
    assert not may_be_sent(code)
