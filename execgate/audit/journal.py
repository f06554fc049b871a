"""Reads a publisher's journal through its view `history`, which is there for other programs; read-only."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from execgate.audit.chain import digest
from execgate.audit.truth import Entry
from execgate.wire.errors import UsageError

FILE_NAME = "journal.db"


def entries(directory: Path) -> Iterator[Entry]:
    """Yield all updates of the journal, in order.

    Raises:
        UsageError: there is no journal, or it can't be read.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        raise UsageError(f"{directory}: no {FILE_NAME} there, expected a publisher's --data-dir")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            for epoch, seq, topic, key, payload in connection.execute(
                "SELECT epoch, seq, topic, key, CAST(payload AS BLOB) FROM history"
            ):
                yield Entry(epoch, seq, topic, key, digest(payload))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UsageError(f"{path}: {error}; 'execgate publisher verify' says more") from None
