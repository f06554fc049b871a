"""A screen of text that is drawn over itself on a terminal, as live views do."""

import os
from collections.abc import Callable
from typing import TextIO

_FALLBACK = (80, 24)


class Terminal:
    """Draws on `stream`.

    Attributes:
        can_draw: whether the stream is a terminal that understands how to go back; else write lines.
        is_gone: whether whoever reads has gone.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0
        self.can_draw = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.is_gone = False

    def draw(self, lines_of: Callable[[int], list[str]]) -> None:
        """Put the lines, made for a width, in place of those that were drawn before."""
        try:
            width, height = os.get_terminal_size(self._stream.fileno())
        except OSError:
            width, height = _FALLBACK
        lines = lines_of(max(width, 20) - 1)[: max(height, 4) - 1]  # what has scrolled away can't be drawn over
        back = f"\x1b[{self._drawn}F" if self._drawn else ""
        self.write(back + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._drawn = len(lines)

    def write(self, text: str) -> None:
        """Write, unless nobody reads any more."""
        if self.is_gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self.is_gone = True
