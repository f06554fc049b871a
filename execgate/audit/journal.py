"""Reads a publisher's journal, read-only, through its view `history`, which is there for other programs.

And its table `epochs`, since one that nothing was published in yet is not in the view.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from execgate.audit.chain import digest
from execgate.audit.truth import Entry, Truth
from execgate.wire.errors import UsageError

FILE_NAME = "journal.db"


def read(directory: Path) -> Truth:
    """Return all that the journal holds.

    Raises:
        UsageError: there is no journal, or it can't be read.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        raise UsageError(f"{directory}: no {FILE_NAME} there, expected a publisher's --data-dir")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return Truth(_entries(connection), _epochs(connection))
    except sqlite3.Error as error:
        raise UsageError(f"{path}: {error}; 'execgate publisher verify' says more") from None


def _epochs(connection: sqlite3.Connection) -> Iterator[str]:
    for (epoch,) in connection.execute("SELECT printf('%016x', epoch) FROM epochs ORDER BY number"):
        yield epoch


def _entries(connection: sqlite3.Connection) -> Iterator[Entry]:
    for epoch, seq, topic, key, payload in connection.execute(
        "SELECT epoch, seq, topic, key, CAST(payload AS BLOB) FROM history"
    ):
        yield Entry(epoch, seq, topic, key, digest(payload))
