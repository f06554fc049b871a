"""Logs: to standard error, one line a state change, `key=value` words; never a line per message."""

import logging
import sys
import time
from typing import Any

_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s"


def set_up(level: str = "info") -> None:
    """Send this process' logs to standard error. Called once, by the program's entry."""
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format=_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S", force=True
    )
    # Tornado logs each broken handshake at warning; those are ordinary here, and counted.
    logging.getLogger("tornado").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Change what `set_up` was given."""
    logging.getLogger().setLevel(level.upper())


class Throttle:
    """A logger for what a peer can repeat: one line a second at most, with the number held back.

    The counts live elsewhere; this only keeps a flood out of the log.
    """

    def __init__(self, logger: logging.Logger, per_s: float = 1.0) -> None:
        self._logger = logger
        self._interval_s = per_s
        self._next = 0.0
        self._held = 0

    def warning(self, message: str, *arguments: Any) -> None:
        """Log a warning, or count it as held back."""
        now = time.monotonic()
        if now < self._next:
            self._held += 1
            return
        self._next = now + self._interval_s
        if self._held:
            message += " held_back=%s"
            arguments = (*arguments, self._held)
            self._held = 0
        self._logger.warning(message, *arguments)
