"""The file of a ledger: what a process did, told at its end (and a gateway's sessions at theirs), as JSON lines.

Each line is one write to the end of the file, so that processes may share it: the workers of one port, and those
that come after them. `execgate audit` reads it. Called a line at a time, never for an update.
"""

import logging
import os
import time
from typing import Any

import ujson

from execgate.wire.errors import UsageError

_log = logging.getLogger("ledger")


class LedgerFile:
    """One process' way to the file.

    Args:
        path: is made, or appended to.

    Attributes:
        life: the microsecond since 1970 at which this process began to write: a process' name may come again.

    Raises:
        UsageError: it can't be written.
    """

    def __init__(self, path: str) -> None:
        self.life = time.time_ns() // 1000
        self._path = path
        try:
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise UsageError(f"--ledger-file {path}: {error.strerror or error}") from None

    def append(self, kind: str, **fields: Any) -> None:
        """Append one line; a file that can't be written is given up with one line of the log."""
        if self._file is None:
            return
        line = {"is": kind, "life": self.life, **fields}
        data = ujson.dumps(line, escape_forward_slashes=False).encode() + b"\n"
        try:
            if os.write(self._file, data) != len(data):
                raise OSError("not all of a line was written")
        except OSError as error:
            _log.error("ledger given up path=%s error=%r", self._path, error.strerror or str(error))
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
