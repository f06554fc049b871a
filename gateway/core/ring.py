"""The ring: the last updates that this gateway has passed on, bounded in bytes, of one epoch and without a hole.

What is in it needs no question to the publisher. Where something was lost or another epoch began it is begun anew,
so that a read never skips over a hole.
"""

from execgate.wire.history import MemoryLog
from execgate.wire.update import MAX_SEQ


class Ring(MemoryLog):
    """A log that is bounded in bytes alone.

    Args:
        max_bytes: of payloads; the newest update is held whatever its size.
    """

    __slots__ = ()

    def __init__(self, max_bytes: int) -> None:
        super().__init__(MAX_SEQ, max_bytes)
