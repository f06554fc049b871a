"""Tidying: compaction, retention and giving space back, a piece at a time, between two groups.

Compaction carries rows into the tables that recovery begins with: `topics` (last tseq) and `newest` (row of each
topic and key). It stays a way behind the end, so that of a key that is updated all the time only few rows are
carried. Retention lets rows go, oldest first and compacted ones only; a row that is still the newest of its key
moves to `kept`. The bound of bytes is of pages in use, as the file has them, so that it is one of the disk. The
space of deleted rows is used again; what is free beyond some slack is given back to the disk, in bites.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from execgate.wire.newest import Name
from execgate.wire.update import Update
from publisher.journal.recovery import Recovered
from publisher.journal.schema import INCREMENTAL, one
from publisher.log import Retention

LAG = 20_000
"""Rows that compaction stays behind, and so the rows that a start has to read: 75 ms."""
PIECE = 512
"""Rows of one piece: 2 ms for which the next group waits."""
SLACK = 256
"""Rows by which a bound may be passed in a busy time, so that a piece is worth its transaction."""
_SLACK_US = 1_000_000
"""The same for ages."""
ROW_BYTES = 56
"""About what an update takes beside its payload: a guess, until the pages are counted again."""
BITE_PAGES = 16
"""Free pages given back behind one group: 0.8 ms, since a page from the file's end moves into each (ADR 11)."""
FREE_PAGES = 1_024
"""Free pages that are left alone, besides a sixteenth of the file: else updates to come would fetch them again."""

_DoomedRow = tuple[int, bytes, bytes, int, int]
"""id, topic, key, ts_us, bytes of payload."""


class Marks(NamedTuple):
    """How far things have come.

    Attributes:
        first: id of the oldest row; `first_us` its time.
        compacted: id up to which rows are carried; `compacted_bytes` of payload from `first` up to it.
        bytes_held: of payload, of all rows.
        used_bytes: of pages in use: counted behind each piece, and guessed for what came since.
    """

    first: int
    first_us: int | None
    compacted: int
    compacted_bytes: int
    bytes_held: int
    used_bytes: int


class Tidying:
    """The state of one open journal; the store calls it, in its transactions.

    Args:
        lag: rows that compaction stays behind.

    Attributes:
        spare_pages: free ones beyond the slack, to be given back; 0 where the file was made without.
    """

    def __init__(self, connection: sqlite3.Connection, retention: Retention, found: Recovered, lag: int) -> None:
        self._connection = connection
        self._retention = retention
        self._newest = found.newest_ids
        self._gone = found.gone
        self._base = found.base
        self._last = found.last_id
        self._lag = lag
        (self._page_bytes,) = one(connection, "PRAGMA page_size")
        self._shrinks = one(connection, "PRAGMA auto_vacuum") == (INCREMENTAL,)
        self.spare_pages = 0
        self._marks = Marks(
            found.first_id,
            self._time_of(found.first_id),
            found.compacted,
            found.compacted_bytes,
            found.compacted_bytes + found.tail_bytes,
            self._count_pages(),
        )

    @property
    def first(self) -> int:
        """The id of the oldest row that is held."""
        return self._marks.first

    def extend(self, updates: Sequence[Update]) -> None:
        """Take note of updates that were committed."""
        base, put, size = self._base, self._newest.put, 0
        for update in updates:
            size += len(update.payload)
            if update.key:
                gone = put((update.topic, update.key), base + update.seq, len(update.payload))
                if gone:
                    self._gone.update(gone)
        self._last = base + updates[-1].seq
        marks = self._marks
        first_us = updates[0].ts_us if marks.first_us is None else marks.first_us
        self._marks = marks._replace(
            first_us=first_us,
            bytes_held=marks.bytes_held + size,
            used_bytes=marks.used_bytes + size + ROW_BYTES * len(updates),
        )

    def is_due(self, now_us: int, *, idle: bool) -> bool:
        """Whether there is something to do; in a busy time, whether it is worth it."""
        slack = 0 if idle else SLACK
        if len(self._gone) > slack or self._last - self._marks.compacted > self._lag + slack:
            return True
        marks, retention = self._marks, self._retention
        if marks.first >= self._last:  # the newest is always held
            return False
        return (
            self._last - marks.first + 1 > retention.max_updates + slack
            or self._excess_bytes(marks.used_bytes, marks.bytes_held) > (0 if idle else retention.max_bytes // 64)
            or self._is_old(marks.first_us, now_us - (0 if idle else _SLACK_US))
        )

    def do_a_piece(self, now_us: int) -> Marks:
        """Compact and delete up to PIECE rows each; return what holds once this is committed, for `conclude`."""
        marks = self._marks
        self._forget(self._gone)
        doomed = self._doomed(now_us)
        first = doomed[-1][0] + 1 if doomed else marks.first
        compacted = max(marks.compacted, min(max(self._last - self._lag, first - 1), marks.compacted + PIECE))
        added = self._compact(marks.compacted, compacted)
        deleted = self._delete(doomed)
        after = Marks(
            first,
            self._time_of(first),
            compacted,
            marks.compacted_bytes + added - deleted,
            marks.bytes_held - deleted,
            self._count_pages(),
        )
        values = [(compacted, "compacted"), (after.compacted_bytes, "bytes")]
        self._connection.executemany("UPDATE meta SET value = ? WHERE name = ?", values)
        return after

    def conclude(self, after: Marks) -> None:
        """The piece that returned `after` is committed."""
        self._gone.clear()
        self._marks = after

    def give_back(self) -> None:
        """Cut a bite of spare pages off the file; outside of any transaction."""
        if self.spare_pages > 0:
            # A script, since one `execute` gives back one page.
            self._connection.executescript(f"PRAGMA incremental_vacuum({BITE_PAGES})")
            self.spare_pages = max(self.spare_pages - BITE_PAGES, 0)
            if not self.spare_pages:  # of what is a smaller file by now a sixteenth is less
                self._count_pages()

    def _doomed(self, now_us: int) -> list[_DoomedRow]:
        """Return the oldest rows that some bound says must go; never the newest, nor more than a piece."""
        marks, retention = self._marks, self._retention
        held, excess_bytes = self._last - marks.first + 1, self._excess_bytes(marks.used_bytes, marks.bytes_held)
        doomed: list[_DoomedRow] = []
        for row in self._connection.execute(
            "SELECT id, topic, key, ts_us, length(CAST(payload AS BLOB)) FROM updates WHERE id BETWEEN ? AND ?",
            (marks.first, min(marks.first + PIECE, self._last) - 1),
        ):
            if held <= retention.max_updates and excess_bytes <= 0 and not self._is_old(row[3], now_us):
                break
            doomed.append(row)
            held -= 1
            excess_bytes -= row[4] + ROW_BYTES
        return doomed

    def _excess_bytes(self, used_bytes: int, bytes_held: int) -> int:
        """How many bytes must go: what is in use beyond the bound, but half of that is the updates' payload.

        Else batch ids and what is kept for its key could leave no room for history.
        """
        max_bytes = self._retention.max_bytes
        return min(used_bytes - max_bytes, bytes_held - max_bytes // 2)

    def _count_pages(self) -> int:
        """Return the bytes of pages in use, and note how many more than the slack are free."""
        (pages,) = one(self._connection, "PRAGMA page_count")
        (free,) = one(self._connection, "PRAGMA freelist_count")
        self.spare_pages = max(free - FREE_PAGES - pages // 16, 0) if self._shrinks else 0
        return int((pages - free) * self._page_bytes)

    def _is_old(self, ts_us: int | None, now_us: int) -> bool:
        max_age_s = self._retention.max_age_s
        return max_age_s is not None and ts_us is not None and ts_us < now_us - max_age_s * 1e6

    def _compact(self, after: int, upto: int) -> int:
        """Carry rows `after` + 1 to `upto` into the tables; return their bytes of payload."""
        tseqs: dict[bytes, int] = {}
        ids: dict[Name, int] = {}
        size = 0
        for row_id, topic, key, tseq, row_size in self._connection.execute(
            "SELECT id, topic, key, tseq, length(CAST(payload AS BLOB)) FROM updates WHERE id BETWEEN ? AND ?",
            (after + 1, upto),
        ):
            tseqs[topic] = tseq
            size += row_size
            if key and self._newest.get((topic, key)) == row_id:
                ids[topic, key] = row_id
        self._connection.executemany(
            "INSERT INTO topics VALUES (CAST(? AS TEXT), ?) ON CONFLICT DO UPDATE SET tseq = excluded.tseq",
            tseqs.items(),
        )
        self._forget(ids)
        self._connection.executemany(
            "INSERT INTO newest VALUES (CAST(? AS TEXT), CAST(? AS TEXT), ?)",
            ((topic, key, row_id) for (topic, key), row_id in ids.items()),
        )
        return size

    def _delete(self, doomed: Sequence[_DoomedRow]) -> int:
        """Delete rows, all compacted; return their bytes of payload."""
        if not doomed:
            return 0
        kept = [(row[0],) for row in doomed if row[2] and self._newest.get((row[1], row[2])) == row[0]]
        self._connection.executemany("INSERT INTO kept SELECT * FROM updates WHERE id = ?", kept)
        self._connection.execute("DELETE FROM updates WHERE id <= ?", (doomed[-1][0],))
        return sum(row[4] for row in doomed)

    def _forget(self, names: Iterable[Name]) -> None:
        """Take names out of `newest`, and what was kept for them."""
        where = "WHERE topic = CAST(? AS TEXT) AND key = CAST(? AS TEXT)"
        self._connection.executemany(f"DELETE FROM kept WHERE id = (SELECT id FROM newest {where})", names)
        self._connection.executemany(f"DELETE FROM newest {where}", names)

    def _time_of(self, row_id: int) -> int | None:
        row = self._connection.execute("SELECT ts_us FROM updates WHERE id = ?", (row_id,)).fetchone()
        return None if row is None else int(row[0])
