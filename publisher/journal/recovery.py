"""What the journal holds at the start: which epoch goes on, at which seq, with which tseqs and newest of each key.

The store calls it once. Not the whole file is read: the tables `topics` and `newest` stand for the rows up to the
mark `compacted` (see `tidying`), and only rows after it are looked at.
"""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from execgate.wire.newest import Name, Newest
from execgate.wire.update import Kind, Update
from publisher.core.ceiling import Ceiling, why_not
from publisher.journal.schema import ODD_VALUES, JournalError, one, row_crc

NEW = "the journal is new"
SELECT_UPDATES = "SELECT id, tseq, ts_us, topic, key, crc, payload FROM"
Row = tuple[int, int, int, bytes, bytes, int, bytes]
_UPDATES_OF_NEWEST = (
    "SELECT u.id, u.tseq, u.ts_us, u.topic, u.key, u.crc, u.payload FROM newest n JOIN updates u ON u.id = n.id "
    "UNION ALL "
    "SELECT k.id, k.tseq, k.ts_us, k.topic, k.key, k.crc, k.payload FROM newest n JOIN kept k ON k.id = n.id "
    "ORDER BY 1"
)


@dataclass(slots=True)
class Recovered:
    """What was found, and stands for the first seq to come.

    Attributes:
        begun_because: why an epoch was begun; None where the last one goes on.
        base: `id - seq` of the epoch.
        last: seq of the last update, 0 in a new epoch.
        first_id: of the oldest row, of whatever epoch; `last_id + 1` where there is none.
        compacted: the mark, an id; `compacted_bytes` of payload up to it, `tail_bytes` after it.
        tseqs: the last of each topic.
        newest: updates of each topic and key; `newest_ids` the same with ids.
        gone: names that had to go for others, which the tables may still hold.
    """

    epoch: int
    begun_because: str | None
    base: int
    last: int
    first_id: int
    compacted: int
    compacted_bytes: int
    tail_bytes: int
    newest: Newest[Update]
    newest_ids: Newest[int]
    tseqs: dict[str, int] = field(default_factory=dict)
    gone: set[Name] = field(default_factory=set)

    @property
    def last_id(self) -> int:
        """The id of the last row."""
        return self.base + self.last


def update_of(row: Row, epoch: int, base: int) -> Update | None:
    """Return the update that a row of SELECT_UPDATES is; None where its checksum says that it was damaged."""
    row_id, tseq, ts_us, topic, key, crc, payload = row
    try:
        if row_crc(epoch, row_id - base, tseq, ts_us, topic, key, payload) != crc:
            return None
    except TypeError:  # damaged too: a column holds a value of any type
        return None
    return Update(Kind.DATA, topic, epoch, row_id - base, tseq, ts_us, key, payload)


def recover(
    connection: sqlite3.Connection, new_epoch: int, ceiling: Ceiling | None, boot: str, max_keys: int
) -> Recovered:
    """Read the state of the journal; begin `new_epoch` in it where the last one must not go on, or there is none.

    Raises:
        JournalError: it is damaged.
        sqlite3.Error: it can't be read, or not be written.
    """
    try:
        return _recover(connection, new_epoch, ceiling, boot, max_keys)
    except ODD_VALUES as error:
        raise JournalError(f"is damaged: a table holds what it can't ({error})") from error


def _recover(
    connection: sqlite3.Connection, new_epoch: int, ceiling: Ceiling | None, boot: str, max_keys: int
) -> Recovered:
    marks = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    first_id, last_id = one(connection, "SELECT min(id), max(id) FROM updates")
    if last_id is None:
        first_id, last_id = 1, 0
    found = Recovered(
        epoch=new_epoch,
        begun_because=NEW,
        base=last_id,
        last=0,
        first_id=first_id,
        compacted=marks[b"compacted"],
        compacted_bytes=marks[b"bytes"],
        tail_bytes=0,
        newest=Newest(max_keys),
        newest_ids=Newest(max_keys),
    )
    last_epoch = one(connection, "SELECT epoch, base FROM epochs ORDER BY number DESC LIMIT 1")
    if last_epoch is not None:
        epoch, base = last_epoch
        found.begun_because = why_not(epoch, last_id - base, ceiling, boot) or _load(
            connection, found, epoch, base, last_id
        )
    if found.begun_because is None:
        found.epoch, found.base, found.last = epoch, base, last_id - base
    else:
        _begin(connection, found, max_keys)
    return found


def _load(connection: sqlite3.Connection, found: Recovered, epoch: int, base: int, last_id: int) -> str | None:
    """Fill in what an epoch that goes on needs; say what is damaged if it can't."""
    for topic, tseq in connection.execute("SELECT topic, tseq FROM topics"):
        found.tseqs[topic.decode()] = tseq
    for row in connection.execute(_UPDATES_OF_NEWEST):
        update = update_of(row, epoch, base)
        if update is None:
            return f"seq {row[0] - base} is damaged"
        _note(found, row[0], update)
    if found.compacted > last_id:
        return f"seq {last_id - base + 1} is missing"
    expected = found.compacted + 1
    for row in connection.execute(f"{SELECT_UPDATES} updates WHERE id > ? ORDER BY id", (found.compacted,)):
        update = update_of(row, epoch, base)
        if row[0] != expected or update is None:
            return f"seq {expected - base} is {'damaged' if row[0] == expected else 'missing'}"
        expected += 1
        found.tseqs[update.topic.decode()] = update.tseq
        found.tail_bytes += len(update.payload)
        _note(found, row[0], update)
    return None if expected > last_id else f"seq {expected - base} is missing"


def _note(found: Recovered, row_id: int, update: Update) -> None:
    if update.key:
        name, size = (update.topic, update.key), len(update.payload)
        found.newest.put(name, update, size)
        found.gone.update(found.newest_ids.put(name, row_id, size))


def _begin(connection: sqlite3.Connection, found: Recovered, max_keys: int) -> None:
    """Begin `found.epoch` behind the last row. What the tables say of the epoch before is of no use any more."""
    found.tseqs.clear()
    found.gone.clear()
    found.newest, found.newest_ids = Newest(max_keys), Newest(max_keys)
    (tail_bytes,) = one(
        connection,
        "SELECT coalesce(sum(length(CAST(payload AS BLOB))), 0) FROM updates WHERE id > ?",
        found.compacted,
    )
    found.compacted, found.tail_bytes = found.base, 0
    found.compacted_bytes += tail_bytes
    statements: Iterable[tuple[str, tuple[object, ...]]] = (
        ("BEGIN IMMEDIATE", ()),
        ("DELETE FROM topics", ()),
        ("DELETE FROM newest", ()),
        ("DELETE FROM kept", ()),
        ("UPDATE meta SET value = ? WHERE name = 'compacted'", (found.compacted,)),
        ("UPDATE meta SET value = ? WHERE name = 'bytes'", (found.compacted_bytes,)),
        (
            "INSERT INTO epochs (epoch, base, began_us, reason) VALUES (?, ?, ?, ?)",
            (found.epoch, found.base, time.time_ns() // 1000, found.begun_because),
        ),
        ("COMMIT", ()),
    )
    for statement, values in statements:
        connection.execute(statement, values)
