"""Lines: numbers and contents are those of a naive split, wherever the chunks fall."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.core.lines import Line, LineSplitter

MAX = 8


def naive(stream: bytes) -> list[Line]:
    pieces = stream.split(b"\n")
    if pieces[-1] == b"":
        pieces.pop()
    return [
        Line(number, None if len(piece) > MAX else piece.removesuffix(b"\r"))
        for number, piece in enumerate(pieces, 1)
    ]


def split(chunks: list[bytes]) -> list[Line]:
    splitter = LineSplitter(MAX)
    return [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.finish()


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (b"", []),
        (b"a", [Line(1, b"a")]),
        (b"a\n", [Line(1, b"a")]),
        (b"\n\na\r\n", [Line(1, b""), Line(2, b""), Line(3, b"a")]),
        (b"12345678\n123456789\nb", [Line(1, b"12345678"), Line(2, None), Line(3, b"b")]),
        (b"123456789", [Line(1, None)]),
        (b"\r\r\n", [Line(1, b"\r")]),
    ],
)
def test_lines_are_numbered_and_bounded(stream: bytes, lines: list[Line]) -> None:
    assert split([stream]) == lines == naive(stream)


@given(
    st.lists(
        st.lists(st.sampled_from([b"a", b"\n", b"\r", b"bcdefg", b"\r\n"]), max_size=5).map(b"".join), max_size=12
    )
)
def test_any_split_gives_the_same_lines(chunks: list[bytes]) -> None:
    assert split(chunks) == naive(b"".join(chunks))


def test_nothing_of_a_line_that_is_too_long_is_kept() -> None:
    splitter = LineSplitter(MAX)
    for _ in range(1000):
        assert splitter.feed(b"x" * 100) == []
        assert len(splitter._begun) <= MAX
    assert splitter.feed(b"\nok\n") == [Line(1, None), Line(2, b"ok")]
