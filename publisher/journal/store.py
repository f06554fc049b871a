"""The store: the journal's writing side in SQLite. Open it, append groups, tidy up, have all on disk.

Opened on the loop's thread before anything runs, then used by the committer's thread alone. Reading is `reader`'s.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from execgate.wire.update import Update
from publisher.journal import schema
from publisher.journal.ceiling import CeilingFile, boot_id, read_ceiling
from publisher.journal.checkpointer import MAX_WAL_BYTES
from publisher.journal.recovery import recover
from publisher.journal.schema import row_crc
from publisher.journal.tidying import LAG, Tidying
from publisher.log import Entry, Retention

MAX_BATCH_IDS = 1_000_000
"""Batch ids that are remembered; the oldest is forgotten, and its batch would then be taken for a new one."""
_MAX_ROWS = 128
"""Rows of one INSERT. Few statements matter more than they seem: each gives Python's lock away and must wait for
it again, up to 5 ms while the loop is busy. 7 values each: below the 999 that an old SQLite takes."""
_ROW = "(?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, CAST(? AS TEXT))"


def _insert_statement(rows: int) -> str:
    return "INSERT INTO updates VALUES " + ", ".join([_ROW] * rows)


_INSERTS = [(1 << power, _insert_statement(1 << power)) for power in reversed(range(_MAX_ROWS.bit_length()))]


class Store:
    """One open journal.

    Args:
        directory: exists and is locked by us.
        new_epoch: taken where an epoch has to begin.
        synced: fsync each commit (`--durability power`).
        boot: names this run of the machine; by default what the system says.
        lag: rows that compaction stays behind the end.

    Attributes:
        recovered: what was found.

    Raises:
        JournalError, sqlite3.Error, OSError: it can't be used.
    """

    def __init__(
        self,
        directory: Path,
        retention: Retention,
        new_epoch: int,
        *,
        synced: bool,
        boot: str | None = None,
        lag: int = LAG,
    ) -> None:
        boot = boot_id() if boot is None else boot
        self._synced = synced
        self._ceiling: CeilingFile | None = None
        self._batches = 0
        self._connection = schema.connect(directory)
        try:
            schema.prepare(self._connection)
            # The checkpointer does it, on its own thread.
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
            # Whatever made it longer, a reader that took long: it is cut to this when it begins anew.
            self._connection.execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}")
            self.recovered = found = recover(
                self._connection, new_epoch, read_ceiling(directory), boot, retention.max_keys
            )
            self._base, self._last = found.base, found.last
            self._tidying = Tidying(self._connection, retention, found, lag)
            (self._batches,) = schema.one(self._connection, "SELECT coalesce(max(number), 0) FROM batches")
            self.sync()
            self._ceiling = CeilingFile(directory, found.epoch, found.last, boot, synced=synced)
        except BaseException:
            self.close()
            raise

    @property
    def floor(self) -> int:
        """The oldest seq of this epoch that is held."""
        return max(self._tidying.first - self._base, 1)

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep a group; when it returns the group may be published. After an error the same group must come again.

        Raises:
            sqlite3.Error, OSError: it is not kept, or nobody knows; none of it may be published or given up.
        """
        assert self._ceiling is not None
        last = entries[-1].updates[-1].seq
        self._ceiling.reserve(last)
        if last > self._last:  # else it is kept already, and only saying so had failed
            updates = [update for entry in entries for update in entry.updates]
            with self._transaction():
                self._insert(updates)
                batches = self._insert_batches([entry for entry in entries if entry.batch_id])
            self._last, self._batches = last, batches
            self._tidying.extend(updates)
        self._ceiling.publish(last)

    def tidy(self, now_us: int, *, idle: bool) -> bool:
        """Let go of a piece of what is too old or too much, and of space; return whether there is more to do.

        Raises:
            sqlite3.Error: it may be tried again.
        """
        tidying = self._tidying
        is_due = tidying.is_due(now_us, idle=idle)
        if not is_due and not tidying.spare_pages:
            return False
        self._set_synchronous(full=False)  # nothing is told by it; the next fsync takes it along
        try:
            if is_due:
                with self._transaction():
                    after = tidying.do_a_piece(now_us)
                tidying.conclude(after)
            tidying.give_back()
        finally:
            self._set_synchronous(full=self._synced)
        return tidying.is_due(now_us, idle=idle) or tidying.spare_pages > 0

    def settle(self) -> None:
        """In a pause: have all on disk, so that not even a power failure from now on costs the epoch.

        Raises:
            sqlite3.Error, OSError: it is not.
        """
        if self._ceiling is not None and not self._ceiling.is_tight:
            self.sync()
            self._ceiling.tighten()

    def sync(self) -> None:
        """Have all that was committed on disk: one commit with fsync takes the whole write-ahead log along."""
        self._set_synchronous(full=True)
        try:
            statement = "UPDATE meta SET value = ? WHERE name = 'synced_us'"
            self._connection.execute(statement, (time.time_ns() // 1000,))
        finally:
            self._set_synchronous(full=self._synced)

    def close(self) -> None:
        """Close the files. Without `settle` before it, a power failure after it may cost the epoch."""
        self._connection.close()
        if self._ceiling is not None:
            self._ceiling.close()

    def _insert(self, updates: Sequence[Update]) -> None:
        execute, base, at = self._connection.execute, self._base, 0
        for rows, statement in _INSERTS:
            while len(updates) - at >= rows:
                values: list[int | bytes] = []
                for _, topic, epoch, seq, tseq, ts_us, key, payload in updates[at : at + rows]:
                    crc = row_crc(epoch, seq, tseq, ts_us, topic, key, payload)
                    values += (base + seq, tseq, ts_us, topic, key, crc, payload)
                execute(statement, values)
                at += rows

    def _insert_batches(self, entries: Sequence[Entry]) -> int:
        """Remember the entries' batch ids; return the number of the last one remembered."""
        if not entries:
            return self._batches
        rows = [
            (number, entry.batch_id, entry.updates[0].epoch, entry.updates[0].seq, entry.updates[-1].seq)
            for number, entry in enumerate(entries, self._batches + 1)
        ]
        self._connection.executemany("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", rows)
        number = self._batches + len(rows)
        self._connection.execute("DELETE FROM batches WHERE number <= ?", (number - MAX_BATCH_IDS,))
        return number

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite itself rolls back after some errors
                try:
                    self._connection.execute("ROLLBACK")
                except sqlite3.Error:
                    pass  # the first error tells more, and it rolls back as soon as it can
            raise

    def _set_synchronous(self, *, full: bool) -> None:
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
