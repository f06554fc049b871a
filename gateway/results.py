"""Standard output, where the CSV lines go: a reader that goes away takes nothing but the lines with it."""

import logging
import os
import sys

log = logging.getLogger("gateway")


class Results:
    """Prints lines until nobody reads them any more; that is logged once and changes nothing else."""

    def __init__(self) -> None:
        self._gone = False

    def say(self, line: str) -> None:
        """Print one line at once."""
        if self._gone:
            return
        try:
            print(line, flush=True)
        except OSError as error:  # `... | head -1`
            self._gone = True
            log.warning("standard output is gone, no more lines there error=%r", error.strerror)
            # The line is still in Python's buffer, and would fail once more when the process ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
