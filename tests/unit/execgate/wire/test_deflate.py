"""Permessage-deflate: what is agreed on, that nothing is lost, and that nothing inflates beyond its bound."""

import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire import deflate
from execgate.wire.deflate import DEFLATED, MIN_BYTES, WINDOW_BITS, Inflater, agree, compress
from execgate.wire.errors import ExtensionError, InflateError
from execgate.wire.events import PLAIN

PLENTY = 1 << 24
ALL = WINDOW_BITS


@pytest.mark.parametrize(
    ("offers", "bits"),
    [
        ("", 0),
        ("permessage-deflate", ALL),
        ("permessage-deflate; client_max_window_bits", ALL),  # what browsers offer
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", ALL),
        ("permessage-deflate; client_max_window_bits=8", ALL),  # nothing is kept of what it sends
        ("permessage-deflate; client_max_window_bits=15", ALL),
        ("permessage-deflate; server_max_window_bits=15", ALL),
        ("permessage-deflate; server_max_window_bits=12", 12),
        ("permessage-deflate; server_max_window_bits=11", 11),
        ('permessage-deflate; server_max_window_bits="10"', 10),
        (r'permessage-deflate; server_max_window_bits="1\0"', 10),
        ("permessage-deflate ;server_max_window_bits = 9", 9),
        ("permessage-deflate; server_max_window_bits=8", 0),  # zlib can't
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", ALL),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", 9),  # the first that will do
        ("permessage-bzip2, permessage-deflate", ALL),
        (" , ,permessage-deflate, ", ALL),
        ("x-webkit-deflate-frame", 0),
        ("Permessage-Deflate", 0),
        # invalid parameters decline
        ("permessage-deflate; server_max_window_bits", 0),
        ("permessage-deflate; server_max_window_bits=16", 0),
        ("permessage-deflate; server_max_window_bits=7", 0),
        ("permessage-deflate; server_max_window_bits=010", 0),
        ("permessage-deflate; server_max_window_bits=+10", 0),
        ("permessage-deflate; server_max_window_bits=1000", 0),
        ("permessage-deflate; client_max_window_bits=7", 0),
        ("permessage-deflate; client_max_window_bits=08", 0),
        ("permessage-deflate; client_max_window_bits=x", 0),
        ("permessage-deflate; server_no_context_takeover=1", 0),
        ("permessage-deflate; client_no_context_takeover=true", 0),
        ("permessage-deflate; x=1", 0),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", 0),
        ("permessage-deflate; server_max_window_bits=10; server_max_window_bits=11", 0),
    ],
)
def test_the_first_acceptable_offer_is_agreed_on(offers: str, bits: int) -> None:
    assert agree(offers) == bits


@pytest.mark.parametrize(
    "offers",
    ["permessage deflate", ";", "a;", "a; b=", "a=b", "a; b c", 'a; b="', 'a; b=""', 'a; b="x y"', "a; =b", "a(b"],
)
def test_a_header_against_the_grammar_is_refused(offers: str) -> None:
    with pytest.raises(ExtensionError):
        agree(offers)


@given(st.text(alphabet='abc;,="\\ \t-9', max_size=40))
def test_any_header_is_agreed_on_or_refused(offers: str) -> None:
    try:
        assert agree(offers) == 0
    except ExtensionError:
        pass


def test_the_answer_asks_for_no_context_on_either_side() -> None:
    expected = (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9"
    )
    assert deflate.answer(9) == expected


def inflated(payload: bytes, most: int = PLENTY, piece: int = PLENTY) -> bytes:
    inflater = Inflater(most)
    taken = [inflater.take(payload[at : at + piece]) for at in range(0, len(payload), piece)]
    return b"".join(taken) + inflater.finish()


@given(st.binary(max_size=5000), st.integers(1, 20), st.sampled_from(sorted(DEFLATED)), st.integers(1, 700))
def test_what_is_compressed_comes_back_whatever_the_pieces(data: bytes, times: int, bits: int, piece: int) -> None:
    data *= times
    assert inflated(compress(data, bits), len(data), piece) == data


@pytest.mark.parametrize("bits", sorted(DEFLATED))
def test_a_window_is_no_larger_than_agreed(bits: int) -> None:
    """A client that keeps just 2^bits bytes, and takes what it reads bit by bit, can read it."""
    noise = Random(1).randbytes(300)
    data = noise + bytes(400) + noise + bytes(1500) + noise + bytes(5000) + noise
    reader = zlib.decompressobj(-bits)
    payload, read = compress(data, bits) + b"\x00\x00\xff\xff", b""
    while payload:
        read += reader.decompress(payload, 64)
        payload = reader.unconsumed_tail
    assert read == data


@pytest.mark.parametrize(
    "payload",  # RFC 7692 section 7.2.3: 'Hello' in each way
    [
        "f2 48 cd c9 c9 07 00",
        "00 05 00 fa ff 48 65 6c 6c 6f 00",
        "f3 48 cd c9 c9 07 00 00",
        "f2 48 05 00 00 00 ff ff ca c9 c9 07 00",
    ],
)
@pytest.mark.parametrize("piece", [1, 2, 100])
def test_the_examples_of_the_rfc_are_read(payload: str, piece: int) -> None:
    assert inflated(bytes.fromhex(payload), piece=piece) == b"Hello"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        compress(b"hello world")[:5],
        compress(b"x" * 500)[:-3],
        bytes.fromhex("9a 32 69"),  # cut, where zlib by itself would read a line of garbage
        bytes.fromhex("f3 48 cd c9 c9 07 00 01"),  # something behind the final block
        bytes.fromhex("f3 48 cd c9 c9 07 00 00 00 00 ff ff 00"),
    ],
)
@pytest.mark.parametrize("piece", [1, 100])
def test_what_is_no_whole_deflate_is_refused(payload: bytes, piece: int) -> None:
    with pytest.raises(InflateError) as caught:
        inflated(payload, piece=piece)
    assert not caught.value.is_too_big


def test_the_bound_is_on_what_comes_out_to_the_byte() -> None:
    payload = compress(bytes(1000))
    assert len(inflated(payload, 1000)) == 1000
    with pytest.raises(InflateError) as caught:
        inflated(payload, 999)
    assert caught.value.is_too_big


def test_a_bomb_is_stopped_at_the_bound_not_behind_it() -> None:
    """64 MiB in 64 KiB: `take` gives up before it has made more than the bound and one byte."""
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(64))
    made: list[int] = []

    class Watched:
        eof = False
        stream = zlib.decompressobj(-15)

        def decompress(self, piece: bytes, most: int) -> bytes:
            data = self.stream.decompress(piece, most)
            made.append(len(data))
            return data

    inflater = Inflater(65536)
    inflater._stream = Watched()  # type: ignore[assignment]
    with pytest.raises(InflateError) as caught:
        inflater.take(payload)
    assert caught.value.is_too_big
    assert made == [65537]


def test_blocks_that_inflate_to_nothing_are_bounded_too() -> None:
    with pytest.raises(InflateError) as caught:
        inflated(b"\x00\x00\x00\xff\xff" * 1000, 1000, 5)
    assert caught.value.is_too_big


@given(st.binary(min_size=2000, max_size=2000))
def test_what_cannot_be_compressed_passes_at_the_bound(data: bytes) -> None:
    assert inflated(compress(data), len(data)) == data


def test_an_envelope_compresses_where_that_pays() -> None:
    envelope = DEFLATED[WINDOW_BITS]
    small, large = b'"%s"' % (b"x" * 10), b'"%s"' % (b"x" * MIN_BYTES)
    assert envelope.frame(small) == PLAIN.frame(small)
    frame = envelope.frame(large)
    assert frame[0] == 0xC1  # a final text frame with RSV1
    assert inflated(frame[2:]) == PLAIN.frame(large)[4:]


def test_an_envelope_sends_what_would_grow_as_it_is() -> None:
    noise = Random(1).randbytes(2 * MIN_BYTES)
    assert DEFLATED[9].frame(noise) == PLAIN.frame(noise)
