"""Updates on ZeroMQ: what is encoded is decoded, and everything else is an UpdateError."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.wire.errors import UpdateError
from execgate.wire.update import HEADER_BYTES, MAX_SEQ, Kind, Update, decode, encode, epoch_text

u64 = st.integers(0, 2**64 - 1)
updates = st.builds(
    Update,
    kind=st.sampled_from(Kind),
    topic=st.binary(max_size=20),
    epoch=u64,
    seq=st.integers(1, MAX_SEQ),
    tseq=st.integers(1, MAX_SEQ),
    ts_us=u64,
    key=st.binary(max_size=20),
    payload=st.binary(max_size=50),
)
GOOD = Update(Kind.DATA, b"ex.QQQ.", 0xABC, 7, 3, 1_700_000_000_000_000, b"QQQ:::S", b"{}")


@settings(max_examples=200, deadline=None)
@given(update=updates, publisher=st.integers(0, 65535))
def test_what_is_encoded_is_decoded(update: Update, publisher: int) -> None:
    frames = encode(update, publisher)
    assert decode(frames) == update
    assert all(type(frame) is bytes for frame in frames)


def test_the_header_is_protocol_version_1_to_the_byte() -> None:
    topic, header, key, payload = encode(GOOD, 0x0102)
    assert (topic, key, payload) == (b"ex.QQQ.", b"QQQ:::S", b"{}")
    assert len(header) == HEADER_BYTES == 40
    assert header.hex() == ("58470101000001020000000000000abc0000000000000007000000000000000300060a24181e4000")


def with_header(start: int, replacement: bytes) -> list[bytes]:
    topic, header, key, payload = encode(GOOD)
    return [topic, header[:start] + replacement + header[start + len(replacement) :], key, payload]


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        pytest.param([], "0 frames", id="no-frames"),
        pytest.param(encode(GOOD)[:3], "3 frames", id="3-frames"),
        pytest.param([*encode(GOOD), b""], "5 frames", id="5-frames"),
        pytest.param([b"", b"", b"", b""], "0 bytes", id="empty-header"),
        pytest.param([b"", encode(GOOD)[1][:-1], b"", b""], "39 bytes", id="short-header"),
        pytest.param([b"", encode(GOOD)[1] + b"x", b"", b""], "41 bytes", id="long-header"),
        pytest.param(with_header(0, b"xg"), "magic b'xg'", id="magic"),
        pytest.param(with_header(2, b"\0"), "version 0", id="version-0"),
        pytest.param(with_header(2, b"\2"), "version 2", id="version-2"),
        pytest.param(with_header(3, b"\0"), "type 0", id="type-0"),
        pytest.param(with_header(3, b"\5"), "type 5", id="type-5"),
        pytest.param(with_header(16, (2**53).to_bytes(8, "big")), "seq", id="seq-2^53"),
        pytest.param(with_header(24, (2**53).to_bytes(8, "big")), "tseq", id="tseq-2^53"),
        pytest.param(with_header(16, bytes(8)), "seq 0", id="seq-0"),
        pytest.param(with_header(24, bytes(8)), "tseq 0", id="tseq-0"),
    ],
)
def test_what_is_no_update_is_refused_and_named(frames: list[bytes], what: str) -> None:
    with pytest.raises(UpdateError, match="expected") as caught:
        decode(frames)
    assert what in str(caught.value)


@pytest.mark.parametrize("kind", [Kind.HEARTBEAT, Kind.EPOCH, Kind.BYE])
def test_a_publisher_that_has_published_nothing_may_say_so(kind: Kind) -> None:
    update = Update(kind, b"", 1, 0, 0, 0, b"", b"")
    assert decode(encode(update)) == update


def test_the_greatest_seq_passes_and_flags_are_for_later_versions_to_use() -> None:
    assert decode(with_header(16, MAX_SEQ.to_bytes(8, "big"))).seq == MAX_SEQ
    assert decode(with_header(4, b"\xff\xff")) == GOOD


@settings(max_examples=300, deadline=None)
@given(
    frames=st.lists(
        st.one_of(
            st.binary(max_size=50),
            st.binary(min_size=40, max_size=40),
            st.binary(min_size=36, max_size=36).map(b"XG\x01\x01".__add__),
        ),
        max_size=5,
    )
)
def test_whatever_arrives_only_an_update_error_leaves(frames: list[bytes]) -> None:
    try:
        update = decode(frames)
    except UpdateError:
        return
    assert update.kind in set(Kind)
    assert decode(encode(update)) == update


def test_an_epoch_is_16_lower_case_hex_digits() -> None:
    assert epoch_text(0xABC) == "0000000000000abc"
    assert epoch_text(2**64 - 1) == "f" * 16
