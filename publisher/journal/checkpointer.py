"""The checkpointer: moves committed pages from the write-ahead log into the database, on a thread of its own.

SQLite would do it inside a COMMIT, which then takes as long as two fsyncs and some megabytes of writing. Here
commits go on meanwhile. The price: the log begins anew only when all of it was moved and nobody writes, so once
it is long the committer is held for the short rest. The committer wakes this thread; `disk` starts and ends it.
"""

import logging
import sqlite3
import threading
from pathlib import Path

from execgate.service.logs import Throttle
from publisher.journal import schema

MAX_WAL_BYTES = 128 * 1024 * 1024
"""Length of the write-ahead log from which on commits are held until it can begin anew."""
_FRAME_BYTES = 4096 + 24
_LOG = logging.getLogger("publisher.journal")


class Checkpointer(threading.Thread):
    """One thread, with a connection of its own.

    Args:
        writing: held by the committer during each transaction.

    Attributes:
        holds: how often commits were held.
    """

    def __init__(self, directory: Path, writing: threading.Lock, max_wal_bytes: int = MAX_WAL_BYTES) -> None:
        super().__init__(name="checkpointer", daemon=True)
        self.holds = 0
        self._writing = writing
        self._max_frames = max_wal_bytes // _FRAME_BYTES
        self._connection = schema.connect(directory)
        self._due = threading.Event()
        self._ended = False
        self._throttle = Throttle(_LOG, 10.0)

    def wake(self) -> None:
        """Much was committed, or a pause has come: it is time for a checkpoint."""
        self._due.set()

    def end(self) -> None:
        """Wait for the checkpoint under way, and close."""
        self._ended = True
        self._due.set()
        if self.ident is not None:
            self.join()
        self._connection.close()

    def run(self) -> None:
        """Checkpoint whenever it is due, until the end."""
        while True:
            self._due.wait()
            self._due.clear()
            if self._ended:
                return
            try:
                if self._checkpoint() > self._max_frames:
                    with self._writing:
                        self.holds += 1
                        self._checkpoint()
            except sqlite3.Error as error:  # the log grows until it can; nothing is lost by it
                self._throttle.warning("checkpoint failed reason=%s", schema.explain(error))

    def _checkpoint(self) -> int:
        """Move what can be moved; return how many frames the log has."""
        _busy, frames, _moved = schema.one(self._connection, "PRAGMA wal_checkpoint(PASSIVE)")
        return int(frames)
