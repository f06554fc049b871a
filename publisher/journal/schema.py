"""The journal's tables, how the file is opened, and what SQLite's errors mean in our words.

`id` numbers all rows of the file, over all its epochs; a seq is `id - epochs.base`. So ids are contiguous,
retention is a range, and an epoch that ended stays readable until it is old.
"""

import sqlite3
import zlib
from pathlib import Path
from typing import Any

from execgate.wire.errors import ExecgateError

FILE_NAME = "journal.db"
VERSION = 1
_APPLICATION_ID = 0x58474A4C  # "XGJL", so that file(1) and we know whose it is
INCREMENTAL = 2
"""SQLite's number for a file that free pages can be cut off from; one that was made without must be made anew."""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE epochs (
    number INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, base INTEGER NOT NULL, began_us INTEGER NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE updates (
    id INTEGER PRIMARY KEY, tseq INTEGER NOT NULL, ts_us INTEGER NOT NULL, topic TEXT NOT NULL, key TEXT NOT NULL,
    crc INTEGER NOT NULL, payload TEXT NOT NULL
);
CREATE TABLE topics (topic TEXT PRIMARY KEY, tseq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE newest (topic TEXT, key TEXT, id INTEGER NOT NULL, PRIMARY KEY (topic, key)) WITHOUT ROWID;
CREATE TABLE kept (
    id INTEGER PRIMARY KEY, tseq INTEGER NOT NULL, ts_us INTEGER NOT NULL, topic TEXT NOT NULL, key TEXT NOT NULL,
    crc INTEGER NOT NULL, payload TEXT NOT NULL
);
CREATE TABLE batches (
    number INTEGER PRIMARY KEY, batch_id BLOB NOT NULL UNIQUE, epoch INTEGER NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL
);
CREATE VIEW history AS
    SELECT printf('%016x', e.epoch) AS epoch, u.id - e.base AS seq, u.tseq, u.ts_us, u.topic, u.key, u.payload
    FROM updates u JOIN epochs e ON e.number = (SELECT max(number) FROM epochs WHERE base < u.id);
INSERT INTO meta VALUES ('compacted', 0), ('bytes', 0), ('synced_us', 0);
"""


class JournalError(ExecgateError):
    """The journal can't be used, or is damaged; the message says how."""


ODD_VALUES = (TypeError, ValueError, LookupError, AttributeError)
"""What reading a damaged file may raise: a column of SQLite holds a value of any type, or a row is missing."""


def connect(directory: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the journal's database; text comes back as bytes, transactions are begun by hand.

    Raises:
        sqlite3.Error: it can't be opened.
    """
    uri = f"{(directory / FILE_NAME).resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, timeout=5.0, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables if the file is new; check that it is ours and of this version.

    Raises:
        JournalError: it is another program's, or of another version.
        sqlite3.Error: it can't be read or written.
    """
    connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")  # of a new file, hence before anything is in it
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    (tables,) = one(connection, "SELECT count(*) FROM sqlite_master")
    if not tables:
        connection.executescript(
            f"BEGIN; PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {VERSION}; {_TABLES} COMMIT"
        )
    check_version(connection)


def check_version(connection: sqlite3.Connection) -> None:
    """Raise JournalError unless the file is a journal of this version."""
    if one(connection, "PRAGMA application_id") != (_APPLICATION_ID,):
        raise JournalError("is a database, but no journal of a publisher")
    (version,) = one(connection, "PRAGMA user_version")
    if version != VERSION:
        raise JournalError(f"is of version {version}, expected {VERSION}")


def one(connection: sqlite3.Connection, statement: str, *values: Any) -> Any:
    """Return the one row of a query."""
    return connection.execute(statement, values).fetchone()


def row_crc(epoch: int, seq: int, tseq: int, ts_us: int, topic: bytes, key: bytes, payload: bytes) -> int:
    """Return the checksum of a row: SQLite has none, and a flipped bit of a payload is still a payload."""
    start = (epoch ^ (epoch >> 32) ^ seq ^ (tseq << 7) ^ (ts_us << 3) ^ (ts_us >> 29)) & 0xFFFFFFFF
    return zlib.crc32(payload, zlib.crc32(key, zlib.crc32(topic, start)))


def explain(error: sqlite3.Error | OSError) -> str:
    """Say in one line what went wrong with the journal's files, and what helps where that is known."""
    if isinstance(error, OSError):
        return f"{error.strerror or error}"
    name = getattr(error, "sqlite_errorname", "")
    text = f"{error} ({name})" if name else str(error)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"is damaged: {text}"
    if name.startswith("SQLITE_FULL"):
        return f"no space left: {text}"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return f"can't be written: {text}"
    return text
