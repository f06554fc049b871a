"""When an epoch may go on, and a line that is read back whole or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.core.ceiling import LINE_BYTES, Ceiling, decode, encode, why_not

AT_100 = Ceiling(epoch=7, published=100, reserved=5000, boot="b1")
TIGHT = AT_100._replace(reserved=100)


@pytest.mark.parametrize(
    ("last", "ceiling", "boot", "goes_on"),
    [
        (100, AT_100, "b1", True),  # kill -9 between publishing and the next commit
        (103, AT_100, "b1", True),  # kill -9 between a commit and publishing it
        (99, AT_100, "b1", False),  # a tail that was published is missing, on a machine that never went down
        (100, AT_100, "b2", False),  # the machine went down: more may have been published than the file says
        (4999, AT_100, "b2", False),
        (5000, AT_100, "b2", True),  # all that may have been published is there
        (100, TIGHT, "b2", True),  # it went down in a pause, or after a clean end
        (99, TIGHT, "b2", False),
        (100, AT_100, "", False),  # nobody knows whether it went down
        (100, TIGHT, "", True),
        (100, None, "b1", False),
        (100, AT_100._replace(epoch=8), "b1", False),
        (100, AT_100._replace(boot=""), "", False),
    ],
)
def test_an_epoch_goes_on_only_where_nothing_that_was_published_can_be_missing(
    last: int, ceiling: Ceiling | None, boot: str, goes_on: bool
) -> None:
    assert (why_not(7, last, ceiling, boot) is None) == goes_on


@given(
    epoch=st.integers(1, 2**64 - 1),
    published=st.integers(0, 2**53),
    reserved=st.integers(0, 2**53),
    boot=st.sampled_from(["", "d805e6d6-843b-4947-a3a3-f36c7b51c3ec"]),
)
def test_a_line_is_read_back_and_has_one_length(epoch: int, published: int, reserved: int, boot: str) -> None:
    ceiling = Ceiling(epoch, published, reserved, boot)
    line = encode(ceiling)
    assert (len(line), decode(line)) == (LINE_BYTES, ceiling)


def test_a_line_that_was_cut_or_changed_is_none() -> None:
    line = encode(AT_100)
    text = len(line.rstrip())
    assert all(decode(line[:cut]) is None for cut in range(text))
    for at in range(text):
        for flip in (1, 32):
            changed = decode(line[:at] + bytes([line[at] ^ flip]) + line[at + 1 :])
            assert changed in (None, AT_100)  # the case of a hex digit of the checksum says nothing
    assert decode(b"\xff" * LINE_BYTES) is None
