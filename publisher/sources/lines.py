"""The line source: JSON lines or CSV from a file or standard input, at the pace that was asked for.

`app` makes one for each `file:PATH` and for `-`. What the first line that is not blank looks like decides
between the two forms. A line that is refused is counted and the next one is read.
"""

import fcntl
import os
from collections.abc import AsyncIterator, Callable

from execgate.measure import pacer
from execgate.wire.errors import RowError, UsageError
from publisher.core import rows as exec_rows
from publisher.core.lines import Line, LineSplitter
from publisher.core.recorded import RecordedPace
from publisher.core.rows import Row
from publisher.refusals import Refusals
from publisher.sources.base import Batch, SourceError
from publisher.sources.reader import Reader, open_file
from publisher.sources.waiting import Waiter

MAX_LINE_BYTES = exec_rows.MAX_MESSAGE_BYTES
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Schedule = Callable[[Row], int | None]
"""Says when a line, by its first row, is due: nanoseconds from the first line; None is now."""


def schedule(pace: str, rate: float | None) -> Schedule:
    """Return the schedule of a pace: `asap`, `rate` (lines a second) or `recorded`."""
    if pace == "recorded":
        recorded = RecordedPace()
        return lambda row: recorded.offset_ns(row.fields)
    if pace == "rate" and rate is not None:
        offsets = pacer.constant_rate(rate)
        return lambda _row: next(offsets)
    return lambda _row: None


class LineSource:
    """Lines of a file or of standard input.

    Args:
        name: `file:PATH` or `-`.
        due: when each line is due.
        refusals: takes the lines that are refused.

    Raises:
        UsageError: the file can't be read.
    """

    unit = "line"

    def __init__(self, name: str, due: Schedule, refusals: Refusals) -> None:
        self.name = name
        self._due = due
        self._refusals = refusals
        self._check: Callable[[bytes], list[Row]] | None = None
        if name == "-":
            self._reader = Reader(_standard_input(), owned=False)
        else:
            self._reader = Reader(open_file(f"--source {name}", name.removeprefix("file:")), owned=True)

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the batch of each good line when it is due, to the end of the file.

        Raises:
            SourceError: the heading of a CSV table is wrong, so none of its lines can be read.
            OSError: the file can't be read to its end.
        """
        waiter = Waiter()
        async for line in self._lines():
            batch = self._take(line)
            if batch is None:
                continue
            offset_ns = self._due(batch.rows[0])
            if offset_ns is not None:
                await waiter.until(offset_ns)
            yield batch

    def close(self) -> None:
        """Close the file; standard input is not ours to close."""
        self._reader.close()

    async def _lines(self) -> AsyncIterator[Line]:
        splitter = LineSplitter(MAX_LINE_BYTES)
        while chunk := await self._reader.read():
            for line in splitter.feed(chunk):
                yield line
        for line in splitter.finish():
            yield line

    def _take(self, line: Line) -> Batch | None:
        """Return the batch of a line; None where it is blank, a heading, or refused."""
        content = line.content
        try:
            if content is None:
                raise RowError(f"line is too long: expected at most {MAX_LINE_BYTES} bytes")
            if line.number == 1:
                content = content.removeprefix(_BYTE_ORDER_MARK)
            if not content.strip():
                return None
            if self._check is None:
                if exec_rows.is_csv_heading(content):
                    self._check = self._heading(line.number, content)
                    return None
                if not content.lstrip().startswith((b"{", b"[")):
                    raise RowError(
                        f"first line is {exec_rows.shown(content.decode(errors='replace'))}: expected an exec as "
                        "JSON, a list of them, or CSV column names, one of them symbol"
                    )
                self._check = exec_rows.check
            return Batch(self._check(content), line.number)
        except RowError as error:
            self._refusals.refuse(self, line.number, error)
            return None

    def _heading(self, number: int, content: bytes) -> Callable[[bytes], list[Row]]:
        """Return the check of the table that this heading begins. A wrong one ends the source."""
        try:
            return exec_rows.CsvRows(content).check
        except RowError as error:
            raise SourceError(f"line {number}: {error}") from None


def _standard_input() -> int:
    try:
        is_readable = fcntl.fcntl(0, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY
    except OSError:
        is_readable = False
    if not is_readable:
        raise UsageError("--source -: standard input is closed, expected something to read")
    return 0
