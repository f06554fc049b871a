"""`execgate publisher inspect | verify | export DIR`: look at a journal from outside, also while a publisher runs.

All three open it read-only. What they read, they read in short pieces, but for `verify`'s check of the file
itself: as long as that takes, the publisher's write-ahead log grows.
"""

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from execgate.service.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from execgate.wire.errors import UsageError
from execgate.wire.update import Update, epoch_text
from publisher.journal import schema
from publisher.journal.ceiling import FILE_NAME as CEILING
from publisher.journal.ceiling import read_ceiling
from publisher.journal.recovery import SELECT_UPDATES, update_of
from publisher.journal.schema import JournalError, explain, one

COMMANDS = ("inspect", "verify", "export")
_PIECE = 1_000
_EXECS = b'"execs":'
_RATE_UPDATES = 10_000
_EPILOG = """\
examples:
  execgate publisher inspect /var/lib/execgate
  execgate publisher verify /var/lib/execgate && echo all is well
  execgate publisher export /var/lib/execgate --from 1000 --to 1999 > execs.jsonl"""


class Epoch(NamedTuple):
    """One epoch of a journal, and which of its seqs are held: none where `first` is greater than `last`."""

    epoch: int
    base: int
    began_us: int
    reason: str
    first: int
    last: int


def main(arguments: Sequence[str]) -> int:
    """Run one of the three; return the exit status."""
    parser = argparse.ArgumentParser(
        prog=f"execgate publisher {arguments[0]}",
        description={
            "inspect": "Show what a journal holds: epochs, ranges, sizes, rate.",
            "verify": "Check a journal: the file, that nothing is missing, that each update is whole.",
            "export": "Write the execs of a journal as JSON lines, a list an update, which --source file: reads.",
        }[arguments[0]],
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", metavar="DIR", help="as given to --data-dir")
    if arguments[0] == "inspect":
        parser.add_argument("--json", action="store_true", help="for programs")
    if arguments[0] == "export":
        parser.add_argument("--epoch", help="16 hex digits (default: the last one)")
        parser.add_argument("--from", dest="first", type=int, default=0, metavar="SEQ", help="default: the oldest")
        parser.add_argument(
            "--to", dest="last", type=int, default=1 << 60, metavar="SEQ", help="default: the newest"
        )
    options = parser.parse_args(arguments[1:])
    directory = Path(options.directory)
    run: Callable[[sqlite3.Connection], int] = {
        "inspect": lambda connection: _inspect(connection, directory, as_json=options.json),
        "verify": lambda connection: _verify(connection, directory),
        "export": lambda connection: _export(connection, options.epoch, options.first, options.last),
    }[arguments[0]]
    try:
        connection = _open(directory)
        try:
            return run(connection)
        finally:
            connection.close()
    except BrokenPipeError:  # whoever read the export has enough
        sys.stdout = None  # nothing is left to flush at exit
        return EXIT_FAILED
    except (JournalError, sqlite3.Error, OSError, *schema.ODD_VALUES) as error:
        if isinstance(error, JournalError):
            reason = str(error)
        elif isinstance(error, sqlite3.Error | OSError):
            reason = explain(error)
        else:
            reason = f"is damaged: a table holds what it can't ({error})"
        print(f"{parser.prog}: {directory}: {reason}", file=sys.stderr)
        return EXIT_FAILED if arguments[0] == "verify" else EXIT_USAGE


def _open(directory: Path) -> sqlite3.Connection:
    """Open the journal read-only.

    Raises:
        UsageError: there is none.
        JournalError, sqlite3.Error: it is none, or can't be read.
    """
    if not (directory / schema.FILE_NAME).is_file():
        raise UsageError(f"{directory}: no {schema.FILE_NAME} there, expected a publisher's --data-dir")
    connection = schema.connect(directory, read_only=True)
    try:
        schema.check_version(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def epochs(connection: sqlite3.Connection) -> list[Epoch]:
    """Return all epochs of a journal, the oldest first."""
    rows = connection.execute("SELECT epoch, base, began_us, reason FROM epochs ORDER BY number").fetchall()
    first_id, last_id = one(connection, "SELECT min(id), max(id) FROM updates")
    if first_id is None:
        first_id, last_id = 1, 0
    ends = [row[1] for row in rows[1:]] + [last_id]
    return [
        Epoch(epoch, base, began_us, reason.decode(), max(first_id - base, 1), end - base)
        for (epoch, base, began_us, reason), end in zip(rows, ends, strict=True)
    ]


def facts(connection: sqlite3.Connection, directory: Path) -> dict[str, Any]:
    """Return what `inspect` shows."""
    found = epochs(connection)
    last_id = found[-1].base + found[-1].last if found else 0
    newest = one(connection, "SELECT ts_us FROM updates WHERE id = ?", last_id)
    before = one(connection, "SELECT id, ts_us FROM updates WHERE id >= ? LIMIT 1", last_id - _RATE_UPDATES)
    rate = None
    if newest is not None and newest[0] > before[1]:
        rate = round((last_id - before[0]) / (newest[0] - before[1]) * 1e6, 1)
    ceiling = read_ceiling(directory)
    names = (schema.FILE_NAME, f"{schema.FILE_NAME}-wal", CEILING)
    sizes = {name: (directory / name).stat().st_size for name in names if (directory / name).exists()}
    (free_pages,) = one(connection, "PRAGMA freelist_count")
    (page_bytes,) = one(connection, "PRAGMA page_size")
    return {
        "directory": str(directory),
        "epochs": [
            {
                "epoch": epoch_text(each.epoch),
                "first": each.first,
                "last": each.last,
                "updates": each.last - each.first + 1 if each.last >= each.first else 0,
                "began": _time_text(each.began_us),
                "reason": each.reason,
            }
            for each in found
        ],
        "newest": None if newest is None else _time_text(newest[0]),
        "updates_per_s": rate,
        "batch_ids": one(connection, "SELECT count(*) FROM batches")[0],
        "file_bytes": sizes,
        "reusable_bytes": free_pages * page_bytes,
        "published": None if ceiling is None else ceiling.published,
    }


def _time_text(ts_us: int) -> str:
    return datetime.fromtimestamp(ts_us / 1e6, UTC).isoformat(timespec="milliseconds")


def _inspect(connection: sqlite3.Connection, directory: Path, *, as_json: bool) -> int:
    found = facts(connection, directory)
    if as_json:
        print(json.dumps(found))
        return EXIT_OK
    print(f"{'epoch':<16}  {'first':>12}  {'last':>12}  {'updates':>12}  {'began':<29}  because")
    for each in found.pop("epochs"):
        print(
            f"{each['epoch']}  {each['first']:>12}  {each['last']:>12}  {each['updates']:>12}  "
            f"{each['began']:<29}  {each['reason']}"
        )
    print()
    for name, size in found.pop("file_bytes").items():
        print(f"{name:<16}  {size:>12} bytes")
    for name, value in found.items():
        print(f"{name:<16}  {'-' if value is None else value}")
    return EXIT_OK


def _verify(connection: sqlite3.Connection, directory: Path) -> int:
    """Print the first update that is wrong and what SQLite finds in the file, or how much is right."""
    began_s = time.monotonic()
    checked, wrong = 0, []
    for each in epochs(connection):
        for update in _updates(connection, each, each.first, each.last):
            if isinstance(update, str):
                wrong.append(f"epoch {epoch_text(each.epoch)}: {update}")
                break
            checked += 1
    try:
        found = [line.decode() for (line,) in connection.execute("PRAGMA integrity_check(10)")]
    except sqlite3.Error as error:
        found = [explain(error)]
    wrong += [f"{schema.FILE_NAME}: {line}" for line in found if line != "ok"]
    if wrong:
        print("\n".join(f"{directory}: {line}" for line in wrong))
        return EXIT_FAILED
    ceiling = read_ceiling(directory)
    last = epochs(connection)[-1]  # read after the ceiling: meanwhile more may have been committed
    print(f"{checked} updates are whole, checked in {time.monotonic() - began_s:.1f} s")
    if ceiling is not None and ceiling.epoch == last.epoch and ceiling.published <= last.last:
        return EXIT_OK
    which = (
        "is missing or damaged, as in a copy"
        if ceiling is None
        else f"says seq {ceiling.published} of epoch {epoch_text(ceiling.epoch)}, "
        f"and the journal ends at seq {last.last} of epoch {epoch_text(last.epoch)}"
    )
    print(f"{directory}: {CEILING} {which}: a publisher that starts here begins a new epoch")
    return EXIT_FAILED


def _updates(connection: sqlite3.Connection, of: Epoch, first: int, last: int) -> Iterator[Update | str]:
    """Yield updates in order, in pieces; a text says what is wrong with the next one, and is the last.

    What retention took since `of` was read is passed over.
    """
    tseqs: dict[bytes, int] = {}
    seq = max(first, of.first)
    while seq <= min(last, of.last):
        rows: list[Any] = []
        try:
            for row in connection.execute(
                f"{SELECT_UPDATES} updates WHERE id BETWEEN ? AND ? ORDER BY id LIMIT {_PIECE}",
                (of.base + seq, of.base + min(last, of.last)),
            ):
                rows.append(row)  # noqa: PERF402  # what came before an error is kept
        except sqlite3.Error as error:
            damage: str | None = explain(error)
        else:
            damage = None
        for row in rows:
            if row[0] != of.base + seq:
                (oldest,) = one(connection, "SELECT min(id) FROM updates")
                if row[0] != oldest:
                    yield f"seq {seq} is missing"
                    return
                seq = row[0] - of.base
            update = update_of(row, of.epoch, of.base)
            wrong = "its checksum is wrong" if update is None else _what_is_wrong(update, tseqs)
            if update is None or wrong:
                yield f"seq {seq}: {wrong}"
                return
            yield update
            seq += 1
        if damage is not None or not rows:
            yield f"seq {seq}: {damage}" if damage else f"seq {seq} is missing"
            return


def _what_is_wrong(update: Update, tseqs: dict[bytes, int]) -> str | None:
    """Say what in an update contradicts itself or the ones before it."""
    before = tseqs.get(update.topic)
    tseqs[update.topic] = update.tseq
    if before is not None and update.tseq != before + 1:
        return f"tseq is {update.tseq} after {before}"
    try:
        data = json.loads(update.payload)
    except ValueError:
        return "its payload is no JSON"
    told = [data.get("epoch"), data.get("seq"), data.get("tseq"), data.get("ts_us"), data.get("topic")]
    expected = [epoch_text(update.epoch), update.seq, update.tseq, update.ts_us, update.topic.decode()]
    return None if told == expected else f"its payload says {told}, expected {expected}"


def _export(connection: sqlite3.Connection, epoch: str | None, first: int, last: int) -> int:
    """Write the rows of each update as one line; the exit status is 1 where something asked for is not there."""
    found = epochs(connection)
    chosen = [each for each in found if epoch in (None, epoch_text(each.epoch))]
    if not chosen:
        known = ", ".join(epoch_text(each.epoch) for each in found)
        raise JournalError(f"epoch {epoch!r}: expected one of {known}")
    of = chosen[-1]
    output: TextIO = sys.stdout
    for update in _updates(connection, of, first, last):
        if isinstance(update, str):
            output.flush()
            print(f"execgate publisher export: {update}; exported up to there", file=sys.stderr)
            return EXIT_FAILED
        payload = update.payload
        output.write(payload[payload.index(_EXECS) + len(_EXECS) : -1].decode() + "\n")
    output.flush()
    return EXIT_OK
