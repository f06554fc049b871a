"""PURE: chunks of bytes into numbered lines, however the chunks fall and however long a line is.

The line source feeds it what it read. What is held is bounded: of a line that is too long nothing is kept but
its number.
"""

from typing import NamedTuple


class Line(NamedTuple):
    """One line, numbered from 1, without its end (LF or CRLF); `content` is None where it was too long."""

    number: int
    content: bytes | None


class LineSplitter:
    """Splits a stream of bytes at its newlines.

    Args:
        max_bytes: of a line, its end not counted (a CR before the LF is).
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._begun = bytearray()
        self._too_long = False
        self._number = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """Return the lines that `chunk` ends."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for piece in ended:
            self._extend(piece)
            lines.append(self._end())
        self._extend(rest)
        return lines

    def finish(self) -> list[Line]:
        """Return the last line if the stream ended without a newline."""
        return [self._end()] if self._begun or self._too_long else []

    def _extend(self, piece: bytes) -> None:
        if self._too_long or len(self._begun) + len(piece) > self._max_bytes:
            self._too_long = True
            self._begun.clear()
        else:
            self._begun += piece

    def _end(self) -> Line:
        self._number += 1
        content = None if self._too_long else bytes(self._begun).removesuffix(b"\r")
        self._begun.clear()
        self._too_long = False
        return Line(self._number, content)
