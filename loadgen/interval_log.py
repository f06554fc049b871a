"""The interval log: raw records as JSON lines, written as they happen. Called by the crowd's tick.

A record is one line, flushed, so that a reader at the other end of a pipe (`execgate demo`) has it at once and
a run that is killed keeps all but its last interval.
"""

import logging
from pathlib import Path
from types import TracebackType
from typing import Self

import ujson

from execgate.wire.errors import UsageError
from loadgen.core.recorder import Record

_log = logging.getLogger("loadgen.intervals")


class IntervalLog:
    """Writes to `path`, which may be a pipe such as /dev/fd/3; writes nothing where it is None.

    Raises:
        UsageError: the file can't be opened.
    """

    def __init__(self, path: str | None) -> None:
        try:
            self._file = Path(path).open("w", encoding="ascii") if path else None  # noqa: SIM115
        except OSError as error:
            raise UsageError(f"--intervals {path}: {error.strerror or error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass  # told when the write failed

    def write(self, record: Record) -> None:
        """Append one record. A log that can't be written any more is given up with one line; the run goes on."""
        if self._file is None:
            return
        try:
            self._file.write(ujson.dumps(record) + "\n")
            self._file.flush()
        except OSError as error:
            _log.warning("event=interval-log-lost error=%r", error.strerror or str(error))
            file, self._file = self._file, None
            try:
                file.close()
            except OSError:
                pass
