"""The journal's reading side: short reads on the loop, on a connection of its own, beside the committer's.

`disk` calls it. Each read is over when it returns: an open one would keep the write-ahead log from beginning anew.
"""

import sqlite3
from pathlib import Path

from execgate.wire.update import Update
from publisher.journal import schema
from publisher.journal.recovery import SELECT_UPDATES, update_of
from publisher.log import MAX_READ, Range


class Reader:
    """Reads one epoch of one journal.

    Args:
        base: `id - seq` of the epoch.
    """

    def __init__(self, directory: Path, epoch: int, base: int) -> None:
        self._epoch = epoch
        self._base = base
        self._connection = schema.connect(directory, read_only=True)

    def read(self, first: int, last: int, max_bytes: int) -> list[Update]:
        """Return the updates from `first` on as far as they are there and whole; see `publisher.log.Log.read`."""
        updates: list[Update] = []
        cursor = self._connection.cursor()
        try:
            cursor.execute(
                f"{SELECT_UPDATES} updates WHERE id BETWEEN ? AND ? ORDER BY id LIMIT {MAX_READ}",
                (self._base + first, self._base + last),
            )
            for row in cursor:
                update = update_of(row, self._epoch, self._base)
                if update is None or update.seq != first + len(updates):
                    break
                max_bytes -= len(update.payload)
                if max_bytes < 0 and updates:
                    break
                updates.append(update)
        except sqlite3.Error:
            pass  # what was read before is good; `why_not` tells of the rest
        finally:
            cursor.close()
        return updates

    def why_not(self, seq: int) -> str | None:
        """Say why update `seq` can't be read; None where it is simply not there."""
        try:
            row = schema.one(self._connection, f"{SELECT_UPDATES} updates WHERE id = ?", self._base + seq)
        except sqlite3.Error as error:
            return schema.explain(error)
        return None if row is None else "its checksum is wrong"

    def next_after(self, seq: int, last: int) -> int:
        """Return the next seq behind `seq` that can be read, `last` + 1 where there is none.

        Where whole pages are damaged it looks at greater and greater steps, so it may skip some that could be
        read.
        """
        try:
            (found,) = schema.one(self._connection, "SELECT min(id) FROM updates WHERE id > ?", self._base + seq)
        except sqlite3.Error:
            found = None
        if found is not None and self.read(found - self._base, last, 0):
            return int(found) - self._base
        step = 1
        while seq + step <= last and not self.read(seq + step, last, 0):
            step *= 2
        return min(seq + step, last + 1)

    def known(self, batch_id: bytes) -> Range | None:
        """Return the range of a batch, of whatever epoch; None where it is not known.

        Raises:
            sqlite3.Error: it can't be read.
        """
        found = schema.one(self._connection, "SELECT epoch, first, last FROM batches WHERE batch_id = ?", batch_id)
        return None if found is None else Range(*found)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
