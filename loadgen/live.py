"""The live view of a run, on standard error: a screen drawn over itself, or lines where that is no terminal."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from loadgen.core import screen
from loadgen.core.figures import Figures
from loadgen.core.screen import Progress

LINE_EVERY_S = 5.0
"""Between plain lines, so that an hour is 720 of them; each phase begins with one."""


class Live:
    """Shows the run that it is told of once an interval; nothing if `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = not quiet and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._drawn = 0
        self._phase = ""
        self._next_line_s = 0.0

    def show(self, progress: Progress, record: Mapping[str, Any], figures: Figures) -> None:
        """Show where the run stands; whoever reads may go, which is no reason to end a run."""
        if self._quiet:
            return
        if self._terminal:
            self._draw(lambda width: screen.screen(progress, record, figures, width))
            return
        if progress.phase == self._phase and progress.phase_s < self._next_line_s:
            return
        self._phase, self._next_line_s = progress.phase, progress.phase_s + LINE_EVERY_S
        self._write(screen.line(progress, record, figures) + "\n")

    def _draw(self, lines_of: Callable[[int], list[str]]) -> None:
        try:
            width, height = os.get_terminal_size(sys.stderr.fileno())
        except OSError:
            width, height = 80, 24
        lines = lines_of(max(width, 20) - 1)[: max(height, 4) - 1]  # what has scrolled away can't be drawn over
        back = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._write(back + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self._drawn = len(lines)

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self._quiet = True
