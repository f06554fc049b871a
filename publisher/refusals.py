"""What was not taken: counted for each source, and logged with source, place and reason, but never as a flood.

Sources refuse what is no exec, the road refuses what can't be stamped; `app` tells the sum at the end.
"""

import logging
from collections import Counter

from execgate.service.logs import Throttle
from execgate.wire.errors import RowError
from publisher.sources.base import Source

LOGGED_IN_FULL = 20
"""The first refusals of a source are logged each; later ones once a second, with the number held back."""

MAX_REASON_CHARACTERS = 300
"""A reason may quote what was sent, which may be a megabyte."""

_LOG = logging.getLogger("publisher.refusals")


class Refusals:
    """The refused lines and messages of all sources."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._throttle = Throttle(_LOG)

    def refuse(self, source: Source, number: int, error: RowError) -> None:
        """Count one line or message of `source` as refused, and log why."""
        self.counts[source.name] += 1
        reason = str(error)[:MAX_REASON_CHARACTERS]
        log = _LOG if self.counts[source.name] <= LOGGED_IN_FULL else self._throttle
        log.warning("refused source=%s %s=%d reason=%s", source.name, source.unit, number, reason)
