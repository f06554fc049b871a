"""The committer: one thread that commits what waits, a group at a time, and tells the loop in the same order.

`disk` feeds it. All that waits becomes one transaction (up to a bound), so that under load a commit is shared by
many. A group that could not be committed is tried again, and nothing else before it: what is stamped has its
number, and a commit of which nobody knows whether it is on disk must not be followed by other updates of the
same numbers.
"""

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable

from execgate.measure.buckets import Buckets
from execgate.service.logs import Throttle
from publisher.journal.checkpointer import Checkpointer
from publisher.journal.schema import explain
from publisher.journal.store import Store
from publisher.journal.tidying import PIECE
from publisher.log import Entry

GROUP_UPDATES = 2_048
GROUP_BYTES = 4 * 1024 * 1024
"""A group is closed by the entry that reaches one of these: the loop publishes a group in one go."""
PACE_S = 0.002
"""Groups begin so far apart: at 10,000 updates a second without it an update costs 78 us of CPU, with it 42."""
RETRY_S = 0.25
"""Between two attempts to commit a group."""
TIDY_EVERY_S = 0.02
"""In a busy time: a piece holds the next group up, and a bound that was lowered asks for thousands of them."""
PAUSE_S = 1.0
"""The longest wait for entries; after it there is time to tidy up."""
QUIET_PAUSES = 10
"""Pauses after which all is put on disk: not at each, since the first update after it costs an fsync."""
_CHECKPOINT_BYTES = 4 * 1024 * 1024
"""Of payload committed since the last checkpoint, and of pieces of tidying."""
_PIECE_BYTES = 256 * 1024
"""What a piece of tidying writes, about."""

_LOG = logging.getLogger("publisher.journal")


class Committer(threading.Thread):
    """Commits entries in the order in which they were put.

    Args:
        store: used by this thread alone from now on, but for `close` after `end`.
        writing: held during each transaction.
        committed: called in this thread with each group.
        failing: called in this thread with a reason when a group can't be committed, with None when one can again.
        crashed: called in this thread with what ended it, a bug.

    Attributes:
        commit_s: how long each commit took that succeeded; written by this thread alone.
    """

    def __init__(
        self,
        store: Store,
        writing: threading.Lock,
        checkpointer: Checkpointer,
        committed: Callable[[list[Entry], int], None],
        failing: Callable[[str | None], None],
        crashed: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name="committer", daemon=True)
        self.commit_s = Buckets()
        self._store = store
        self._writing = writing
        self._checkpointer = checkpointer
        self._committed = committed
        self._failing = failing
        self._crashed = crashed
        self._waiting: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._throttle = Throttle(_LOG, 10.0)
        self._bytes = 0
        self._pauses = 0
        self._untidied = 0  # updates committed since
        self._tidy_at_s = 0.0

    def put(self, entry: Entry) -> None:
        """Take the next entry; the caller bounds what waits."""
        self._waiting.put(entry)

    def end(self) -> None:
        """End after the group under way; what waits behind it is not committed."""
        self._ended.set()
        self._waiting.put(None)
        self.join()

    def run(self) -> None:
        """Commit and tidy until the end."""
        try:
            while not self._ended.is_set():
                self._turn()
        except BaseException as error:  # a bug of ours: the daemon must not live on without its journal
            self._crashed(error)

    def _turn(self) -> None:
        group = self._next_group()
        began = time.monotonic()
        if group:
            self._commit(group)
        self._pauses = 0 if group else self._pauses + 1
        self._tidy(sum(len(entry.updates) for entry in group))
        if group:
            rest_s = PACE_S - (time.monotonic() - began)
            if rest_s > 0:
                time.sleep(rest_s)

    def _next_group(self) -> list[Entry]:
        """Wait for entries, a pause at most; return what waits, in order."""
        group: list[Entry] = []
        updates = size = 0
        try:
            entry = self._waiting.get(timeout=PAUSE_S)
            while entry is not None:
                group.append(entry)
                updates += len(entry.updates)
                size += entry.size
                if updates >= GROUP_UPDATES or size >= GROUP_BYTES:
                    break
                entry = self._waiting.get_nowait()
        except queue.Empty:
            pass
        self._bytes += size
        return group

    def _commit(self, group: list[Entry]) -> None:
        failed = False
        while True:
            began_s = time.perf_counter()
            try:
                with self._writing:
                    self._store.append(group)
                self.commit_s.observe(time.perf_counter() - began_s)
                break
            except sqlite3.IntegrityError:
                raise  # somebody else wrote, or we count wrongly
            except (sqlite3.Error, OSError) as error:
                failed = True
                self._failing(explain(error))
                if self._ended.wait(RETRY_S):
                    return
        if failed:
            self._failing(None)
        self._committed(group, self._store.floor)

    def _tidy(self, committed: int) -> None:
        """Let the old go, at least as fast as new has come; in a pause all of it, and in a long one settle."""
        idle, now_s = not committed, time.monotonic()
        self._untidied += committed
        pieces = 0
        if idle or now_s >= self._tidy_at_s:
            pieces = 1 + self._untidied // PIECE
            self._untidied, self._tidy_at_s = 0, now_s + TIDY_EVERY_S
        try:
            while pieces or (idle and self._waiting.empty()):
                with self._writing:
                    more = self._store.tidy(time.time_ns() // 1000, idle=idle)
                if not more:
                    break
                pieces = max(pieces - 1, 0)
                self._note_written(_PIECE_BYTES, idle=False)
            if self._pauses == QUIET_PAUSES:
                with self._writing:
                    self._store.settle()
        except (sqlite3.Error, OSError) as error:  # nothing is lost by it
            self._throttle.warning("tidying failed reason=%s", explain(error))
        self._note_written(0, idle=idle)

    def _note_written(self, size: int, *, idle: bool) -> None:
        """Have a checkpoint made when much is in the write-ahead log, or anything in a pause."""
        self._bytes += size
        if self._bytes >= _CHECKPOINT_BYTES or (idle and self._bytes):
            self._bytes = 0
            self._checkpointer.wake()
