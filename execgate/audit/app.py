"""`execgate audit DIR FILE...`: do the books balance? Called by `execgate.cli`.

The judging is in `books` (what clients wrote) and `ledgers` (what gateways and publishers did).
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from execgate.audit import journal, records
from execgate.audit.books import Books, Fates, Flaw
from execgate.audit.ledgers import Ledgers
from execgate.audit.records import Described
from execgate.audit.truth import Truth
from execgate.service.exits import EXIT_FAILED, EXIT_OK
from execgate.wire.errors import UsageError

_SHOWN = 20
_LEDGER_COUNTS = ("gateways", "unfinished", "sessions", "compared", "publishers", "unjudged")
_EPILOG = """\
exit status: 0 every update has its fate and none is lost; 1 something does not balance; 2 a file can't be used

examples:
  execgate audit /var/lib/execgate clients.jsonl
  execgate audit --json DIR crowd-1.jsonl crowd-2.jsonl gateway.jsonl publisher.jsonl"""


def main(arguments: Sequence[str]) -> int:
    """Compare, print, and return the exit status.

    Raises:
        UsageError: a file can't be used.
    """
    parser = argparse.ArgumentParser(
        prog="execgate audit",
        description="Hold what clients, gateways and publishers wrote down against the publisher's journal.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", metavar="DIR", help="the publisher's --data-dir")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="JSON lines: records of clients, ledgers of gateways and publishers, in any order",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    found = audit(Path(options.directory), [Path(name) for name in options.files])
    if options.json:
        print(json.dumps(found))
    else:
        _print(found)
    return EXIT_OK if found["balanced"] else EXIT_FAILED


def audit(directory: Path, files: Iterable[Path]) -> dict[str, Any]:
    """Return the fates of all updates, by mode and in all, and the first pairs and lines that do not balance.

    Raises:
        UsageError: a file can't be used.
    """
    truth = journal.read(directory)
    books: dict[str, Books] = {}
    ledgers = Ledgers(truth)
    for path in files:
        try:
            with path.open("rb") as lines:
                _keep(books, ledgers, truth, lines)
        except (OSError, records.RecordError) as error:
            raise UsageError(f"{path}: {error}") from None
    if not (books or ledgers.gateways or ledgers.publishers):
        raise UsageError("nothing to be held against the journal in these files")
    ledgers.close()
    total, kinds, flaws = Fates(), Counter[str](), list[Flaw]()
    modes: dict[str, Fates] = {}
    for each in books.values():
        each.close()
        total.add(each.fates)
        modes.setdefault(each.mode, Fates()).add(each.fates)
        kinds += Counter(kind.split()[0] for kind in each.kinds.elements())
        flaws += each.flaws
    return {
        "balanced": not (total.flaws or ledgers.wrongs),
        "journal": truth.heads,
        "clients": len(books),
        "sessions": sum(each.sessions for each in books.values()),
        "all": asdict(total),
        "modes": {mode: asdict(fates) for mode, fates in sorted(modes.items())},
        "kinds": dict(kinds),
        "flaws": [flaw._asdict() for flaw in flaws[:_SHOWN]],
        "ledgers": {
            **{name: getattr(ledgers, name) for name in _LEDGER_COUNTS},
            "wrong": len(ledgers.wrongs),
            "wrongs": [wrong._asdict() for wrong in ledgers.wrongs[:_SHOWN]],
        },
    }


def _keep(books: dict[str, Books], ledgers: Ledgers, truth: Truth, lines: Iterable[bytes]) -> None:
    for record in records.read(lines):
        if isinstance(record, dict):
            try:
                ledgers.take(record)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise records.RecordError(f"{str(record)[:60]!r}: {error!r}: expected a ledger's line") from None
            continue
        ledgers.hear(record)
        held = books.get(record.client)
        if isinstance(record, Described):
            if held is not None:
                raise records.RecordError(f"client {record.client!r} comes twice")
            books[record.client] = Books(truth, record)
        elif held is None:
            raise records.RecordError(f"client {record.client!r}: expected its line 'is: client' first")
        else:
            held.take(record)


def _print(found: dict[str, Any]) -> None:
    columns = ("owed", "received", "told", "conflated", "lost", "flaws")
    print(f"{'mode':<10}" + "".join(f"{name:>14}" for name in columns))
    for mode, fates in (*found["modes"].items(), ("all", found["all"])):
        print(f"{mode:<10}" + "".join(f"{fates[name]:>14}" for name in columns))
    heads = ", ".join(f"{epoch} to {head}" for epoch, head in found["journal"].items())
    print(f"{found['clients']} clients, {found['sessions']} sessions; journal: {heads or 'empty'}")
    ledgers = found["ledgers"]
    if ledgers["gateways"] or ledgers["publishers"]:
        print("ledgers: " + ", ".join(f"{ledgers[name]} {name}" for name in _LEDGER_COUNTS))
    for wrong in ledgers["wrongs"]:
        print(f"{wrong['who']}: {wrong['what']}", file=sys.stderr)
    for flaw in found["flaws"]:
        print(f"client {flaw['client']} epoch {flaw['epoch']} seq {flaw['seq']}: {flaw['what']}", file=sys.stderr)
    print("the books balance" if found["balanced"] else f"THE BOOKS DO NOT BALANCE: {_kinds(found)}")


def _kinds(found: dict[str, Any]) -> dict[str, int]:
    wrong = found["ledgers"]["wrong"]
    return {**found["kinds"], **({"ledgers": wrong} if wrong else {})}
