"""The live view of a run, on standard error: a screen drawn over itself, or lines where that is no terminal."""

import sys
from collections.abc import Mapping
from typing import Any

from execgate.service.terminal import Terminal
from loadgen.core import screen
from loadgen.core.figures import Figures
from loadgen.core.screen import Progress

LINE_EVERY_S = 5.0
"""Between plain lines, so that an hour is 720 of them; each phase begins with one."""


class Live:
    """Shows the run that it is told of once an interval; nothing if `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = Terminal(sys.stderr)
        self._phase = ""
        self._next_line_s = 0.0

    def show(self, progress: Progress, record: Mapping[str, Any], figures: Figures) -> None:
        """Show where the run stands; whoever reads may go, which is no reason to end a run."""
        if self._quiet:
            return
        if self._terminal.can_draw:
            self._terminal.draw(lambda width: screen.screen(progress, record, figures, width))
            return
        if progress.phase == self._phase and progress.phase_s < self._next_line_s:
            return
        self._phase, self._next_line_s = progress.phase, progress.phase_s + LINE_EVERY_S
        self._terminal.write(screen.line(progress, record, figures) + "\n")
