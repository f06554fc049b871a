"""Records as JSON lines, written as they happen: the crowd's interval log, and what clients write down.

A line that is flushed is had at once by a reader at the other end of a pipe (`execgate demo`), and a run that is
killed keeps it.
"""

import logging
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ujson

from execgate.wire.errors import UsageError

_log = logging.getLogger("loadgen.lines")


class LineLog:
    """Writes to `path`, which may be a pipe such as /dev/fd/3; writes nothing where it is None.

    Args:
        flag: by which the file was given, for messages.
        path: see above.
        flushes: each line at once; else when a buffer is full, and at the end.

    Attributes:
        is_lost: whether something could not be written.

    Raises:
        UsageError: the file can't be opened.
    """

    def __init__(self, flag: str, path: str | None, *, flushes: bool = True) -> None:
        self.is_lost = False
        self._flag = flag
        self._flushes = flushes
        try:
            self._file = Path(path).open("w", encoding="ascii") if path else None  # noqa: SIM115
        except OSError as error:
            raise UsageError(f"{flag} {path}: {error.strerror or error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether anything is written."""
        return self._file is not None

    def write(self, record: dict[str, Any]) -> None:
        """Append one record. A log that can't be written any more is given up with one line; the run goes on."""
        if self._file is None:
            return
        try:
            self._file.write(ujson.dumps(record) + "\n")
            if self._flushes:
                self._file.flush()
        except OSError as error:
            self._lose(error)

    def close(self) -> None:
        """Write what is buffered, and let go of the file."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        if not self.is_lost:
            _log.warning("event=log-lost option=%s error=%r", self._flag, error.strerror or str(error))
        self.is_lost = True
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError:
            pass  # it was told already
