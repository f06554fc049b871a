"""The journal on disk, as the loop sees it: entries go to the committer's thread and come back when they are kept.

`app` opens it. It is a `publisher.log.Journal`; everything here runs on the loop.
"""

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from execgate.measure.buckets import Buckets
from execgate.wire.errors import UsageError
from execgate.wire.update import Update
from publisher.journal import lock
from publisher.journal.checkpointer import Checkpointer
from publisher.journal.committer import Committer
from publisher.journal.reader import Reader
from publisher.journal.schema import JournalError, explain
from publisher.journal.store import Store
from publisher.log import Entry, Range, Retention

WAITING_UPDATES = 10_000
WAITING_BYTES = 16 * 1024 * 1024
"""What may be stamped and not yet kept, of payload; a batch begun below it may pass it. Then sources wait."""

_LOG = logging.getLogger("publisher.journal")


class DiskJournal:
    """One journal in a directory, which is made if need be.

    Args:
        new_epoch: taken where an epoch has to begin.
        synced: have each group on disk before it is published (`--durability power`).

    Attributes:
        recovered: what was found.
        crashed: raises what ended the committer, a bug of ours.
        trouble: see `publisher.log.Log`.
        waiting_updates, waiting_bytes: stamped and not kept yet; bytes of payload.

    Raises:
        UsageError: it can't be used; one line says why.
    """

    def __init__(self, directory: Path, retention: Retention, new_epoch: int, *, synced: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self.crashed: asyncio.Future[None] = self._loop.create_future()
        self.trouble: str | None = None
        self._failing_since_s = 0.0
        self.waiting_updates = self.waiting_bytes = 0
        self._has_room, self._is_empty = asyncio.Event(), asyncio.Event()
        self._has_room.set()
        self._is_empty.set()
        self._files = ExitStack()
        try:
            self._open(directory, retention, new_epoch, synced=synced)
        except (JournalError, sqlite3.Error, OSError) as error:
            self._files.close()
            reason = str(error) if isinstance(error, JournalError) else explain(error)
            if "damaged" in reason:
                reason += (
                    "; 'execgate publisher verify' and 'export' tell what is left, move it away to begin anew"
                )
            raise UsageError(f"--data-dir {directory}: {reason}") from None
        self.epoch = self.recovered.epoch
        self.ceiling = self.recovered.last
        self._newest = self.recovered.newest
        self._checkpointer.start()
        self._committer.start()

    def _open(self, directory: Path, retention: Retention, new_epoch: int, *, synced: bool) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files.callback(os.close, lock.take(directory))
        self._store = Store(directory, retention, new_epoch, synced=synced)
        self._files.callback(self._store.close)
        self.recovered = self._store.recovered
        self.floor = self._store.floor
        self._reader = Reader(directory, self.recovered.epoch, self.recovered.base)
        self._files.callback(self._reader.close)
        writing = threading.Lock()
        self._checkpointer = Checkpointer(directory, writing)
        self._files.callback(self._checkpointer.end)
        self._committer = Committer(
            self._store,
            writing,
            self._checkpointer,
            committed=lambda group, floor: self._tell(self._publish, group, floor),
            failing=lambda reason: self._tell(self._set_trouble, reason),
            crashed=lambda error: self._tell(self._crash, error),
        )

    @property
    def commit_s(self) -> Buckets:
        """How long each commit took, with the wait for whoever else writes."""
        return self._committer.commit_s

    def append(self, entry: Entry) -> None:
        """Hand an entry to the committer."""
        self.waiting_updates += len(entry.updates)
        self.waiting_bytes += entry.size
        if self.waiting_updates >= WAITING_UPDATES or self.waiting_bytes >= WAITING_BYTES:
            self._has_room.clear()
        self._is_empty.clear()
        self._committer.put(entry)

    async def room(self) -> None:
        """Return when there is room: less than WAITING_UPDATES and WAITING_BYTES wait, and commits work."""
        while not self._has_room.is_set():
            await self._has_room.wait()

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all is kept; return False where that took too long."""
        try:
            await asyncio.wait_for(self._is_empty.wait(), timeout_s)
        except TimeoutError:
            pass
        return self._is_empty.is_set()

    def read(self, first: int, last: int, max_bytes: int) -> list[Update]:
        """Return updates from the database; what can't be read any more raises the floor above it."""
        last = min(last, self.ceiling)
        if not self.floor <= first <= last:
            return []
        updates = self._reader.read(first, last, max_bytes)
        if not updates:
            reason = self._reader.why_not(first)
            self.floor = max(self.floor, self._reader.next_after(first, self.ceiling))
            if reason is not None:
                _LOG.error("journal damaged seq=%d reason=%s; held from %d on", first, reason, self.floor)
        return updates

    def newest(self) -> list[Update]:
        """Return the newest update of each topic and key, in order of seq."""
        return list(self._newest.values())

    def known(self, batch_id: bytes) -> Range | None:
        """Return where a batch is kept that came before.

        Raises:
            JournalError: the journal can't be read.
        """
        try:
            return self._reader.known(batch_id)
        except sqlite3.Error as error:
            raise JournalError(f"journal: {explain(error)}") from None

    def close(self) -> None:
        """End both threads and have all on disk that was committed."""
        self._committer.end()
        try:
            self._store.settle()
        except (sqlite3.Error, OSError) as error:
            _LOG.warning("journal not settled reason=%s", explain(error))
        self._files.close()

    def _tell(self, what: Callable[..., None], *words: Any) -> None:
        """From another thread: have the loop call `what`."""
        self._loop.call_soon_threadsafe(what, *words)

    def _publish(self, group: list[Entry], floor: int) -> None:
        put = self._newest.put
        for entry in group:
            for update in entry.updates:
                if update.key:
                    put((update.topic, update.key), update, len(update.payload))
            self.ceiling = entry.updates[-1].seq
            self.waiting_updates -= len(entry.updates)
            self.waiting_bytes -= entry.size
            entry.published(entry)
        self.floor = max(self.floor, floor)
        if not self.waiting_updates:
            self._is_empty.set()
        self._make_room()

    def _make_room(self) -> None:
        full = self.waiting_updates >= WAITING_UPDATES or self.waiting_bytes >= WAITING_BYTES
        if not full and self.trouble is None:
            self._has_room.set()

    def _set_trouble(self, reason: str | None) -> None:
        """Note and tell, once each, that commits fail and that they work again."""
        before, self.trouble = self.trouble, reason
        if reason is None:
            _LOG.info("journal heals after_s=%.1f", time.monotonic() - self._failing_since_s)
            self._make_room()
        elif before is None:
            self._failing_since_s = time.monotonic()
            self._has_room.clear()
            _LOG.error("journal failing reason=%s; ingest waits, history is served", reason)

    def _crash(self, error: BaseException) -> None:
        if not self.crashed.done():
            self.crashed.set_exception(error)
