"""A run on disk, `runs/NAME/`: written as the run goes, and all that any report is made from.

    manifest.json    what was run, where, and with what: written first
    intervals.jsonl  a raw record an interval, flushed: the truth that everything else is made from
    NAME.hlog        each kind of latency as HdrHistogram's log, an interval a line
    errors.log       the first lines about attempts that failed and connections that were lost
    end.json         what only the end knows: which streams were broken, why clients could not connect
    verdict.json     may it be believed, did it hold

Bounded: `config.MAX_INTERVALS` records, `MAX_ERROR_LINES` lines. A run that is killed keeps all but its last
interval. A full disk ends a run: figures that are not kept can't be reported.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import ujson

from execgate.measure import hdr_log
from execgate.measure.histogram import Histogram
from execgate.wire.errors import UsageError
from loadgen.core.figures import LATENCIES
from loadgen.core.recorder import Record

FORMAT = 1
MANIFEST, INTERVALS, ERRORS, END, VERDICT = (
    "manifest.json",
    "intervals.jsonl",
    "errors.log",
    "end.json",
    "verdict.json",
)
REPORT = "report.html"
MAX_ERROR_LINES = 10_000
_MAX_RECORD_BYTES = 16 * 1024 * 1024


class ErrorLog(logging.Handler):
    """Keeps the first lines that clients log about their connections, and says how many it left out."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(logging.INFO)
        self._file = file
        self._lines = 0

    def leave_out(self, lines: int) -> None:
        """Take note of lines that other processes had no room for."""
        self._lines = max(self._lines, MAX_ERROR_LINES) + lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self._lines += 1
        if self._lines <= MAX_ERROR_LINES:
            self._file.write(f"{record.created:.3f} {record.getMessage()}\n")

    def finish(self) -> None:
        """Write how many lines there was no room for."""
        if self._lines > MAX_ERROR_LINES:
            self._file.write(f"and {self._lines - MAX_ERROR_LINES} more\n")


class RunFolder:
    """A folder that is being written, for the length of a block.

    Raises:
        UsageError: there is a run of this name already, or it can't be written.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], start_s: float) -> None:
        self.path = path
        self._start_s = start_s
        self._open: list[TextIO] = []
        if path.exists():
            raise UsageError(f"--name {path.name}: {path} is there already, and a run is never written over")
        try:
            path.mkdir(parents=True)
            self._write_json(MANIFEST, manifest)
            self._intervals = self._create(INTERVALS)
            self._logs = {name: self._create(f"{name}.hlog") for name in LATENCIES}
            self._errors = ErrorLog(self._create(ERRORS))
        except OSError as error:
            raise UsageError(f"--run-dir: {path}: {error.strerror or error}") from None
        for name, (_, what) in LATENCIES.items():
            self._logs[name].write(hdr_log.heading(what, start_s))

    def __enter__(self) -> Self:
        # The clients' own logger says each failure at level info, which the terminal does not show.
        logger = logging.getLogger("loadgen")
        self._level_before = logger.level
        for handler in logging.getLogger().handlers:
            handler.setLevel(max(handler.level, logging.getLogger().level))
        logger.setLevel(logging.INFO)
        logger.addHandler(self._errors)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logger = logging.getLogger("loadgen")
        logger.removeHandler(self._errors)
        logger.setLevel(self._level_before)
        self._errors.finish()
        for file in self._open:
            file.close()

    def write(self, record: Record) -> None:
        """Append one record."""
        self._intervals.write(ujson.dumps(record) + "\n")
        self._intervals.flush()
        for name, (field, _) in LATENCIES.items():
            if record[field]:
                histogram = Histogram()
                histogram.add(record[field].items())
                from_s = record["t"] - record["seconds"] - self._start_s
                self._logs[name].write(hdr_log.line(max(0.0, from_s), record["seconds"], histogram))
                self._logs[name].flush()

    def leave_out_errors(self, lines: int) -> None:
        """Say at the end of the log of errors that there were so many more."""
        if lines:
            self._errors.leave_out(lines)

    def write_end(self, end: Mapping[str, Any], verdict: Mapping[str, Any]) -> None:
        """Write what only the end knows, and the verdict."""
        self._write_json(END, end)
        self._write_json(VERDICT, verdict)

    def _create(self, name: str) -> TextIO:
        file = (self.path / name).open("x", encoding="utf-8")
        self._open.append(file)
        return file

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        text = ujson.dumps(content, indent=2, escape_forward_slashes=False) + "\n"
        (self.path / name).write_text(text, encoding="utf-8")


def default_name() -> str:
    """Return a name for a run that begins now."""
    return time.strftime("%Y%m%d-%H%M%S")


class StoredRun:
    """A run folder that is read. Records are read one at a time: a long run need not fit into memory.

    Raises:
        UsageError: it is none, or not one that this version reads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = self._read_json(MANIFEST)
        if self.manifest.get("format") != FORMAT:
            raise UsageError(
                f"{path / MANIFEST}: format {self.manifest.get('format')!r}; this version reads format {FORMAT}"
            )
        self.end: Mapping[str, Any] = self._read_json(END) if (path / END).exists() else {}

    def records(self) -> Iterator[Record]:
        """Yield the records. A last line that is cut off, in a run that was killed, is no record.

        Raises:
            UsageError: a line is none, and not the last.
        """
        path = self.path / INTERVALS
        try:
            with path.open(encoding="utf-8") as file:
                for number, line in enumerate(iter(lambda: file.readline(_MAX_RECORD_BYTES), ""), 1):
                    if not line.endswith("\n"):
                        return
                    try:
                        record = ujson.loads(line)
                    except ValueError:
                        record = None
                    if type(record) is not dict or "phase" not in record:
                        raise UsageError(f"{path}: line {number} is no record")
                    yield record
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            content = ujson.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}; expected the folder of a run") from None
        except ValueError:
            raise UsageError(f"{path}: no JSON; expected the folder of a run") from None
        if type(content) is not dict:
            raise UsageError(f"{path}: no object; expected the folder of a run")
        return content
