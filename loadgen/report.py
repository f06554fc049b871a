"""`execgate loadgen report` and `compare`: what is told of runs that are over, from their folders alone.

Called by `app.py`. Nothing is measured here and nothing asked of a server.
"""

import argparse
import csv
import io
import shutil
import string
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from math import ceil
from pathlib import Path
from typing import Any

import ujson

from execgate.service.exits import EXIT_INCOMPLETE, EXIT_OK
from execgate.service.output import as_json, write_output
from execgate.wire.errors import UsageError
from loadgen.core.comparison import UNKNOWN, compare, comparison_tables, other_settings
from loadgen.core.figures import Figures
from loadgen.core.report import Report, make_report
from loadgen.core.series import MOST_POINTS, curves, points
from loadgen.core.tables import Table, as_html, as_markdown, as_text
from loadgen.core.verdict import INVALID, IS_BROKEN, IS_INCOMPLETE, SUSPECT
from loadgen.run_folder import MANIFEST, REPORT, StoredRun

PROGRAM = "execgate loadgen"
_OUTPUT = "- is standard output"


def load_report(run: StoredRun) -> Report:
    """Make the report of a run from its raw records; its verdict is judged anew.

    Raises:
        UsageError: the folder is not one of ours.
    """
    try:
        return make_report(run.manifest, Figures(run.records()), run.end)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{run.path}: not a run that this version reads: {error!r}") from None


def report_main(arguments: Sequence[str]) -> int:
    """Write what is asked for of one run; return the exit status.

    Raises:
        UsageError: the run can't be read, or a file not be written.
    """
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} report",
        description="Tell of a run that is over, from the raw records in its folder.",
        epilog="Without an option the page is written into the folder of the run, and the tables are printed.",
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder, such as runs/NAME")
    parser.add_argument("--html", metavar="FILE", help=f"one page with everything in it; {_OUTPUT}")
    parser.add_argument("--json", metavar="FILE", help=f"figures, verdict and manifest; {_OUTPUT}")
    parser.add_argument("--csv", metavar="FILE", help=f"a line for each record; {_OUTPUT}")
    parser.add_argument("--markdown", metavar="FILE", help=f"the tables; {_OUTPUT}")
    options = parser.parse_args(arguments)
    run = StoredRun(Path(options.run))
    report = load_report(run)
    makers: list[tuple[str | None, Callable[[], str]]] = [
        (options.html, lambda: page(run, report)),
        (options.json, lambda: as_json(report.as_dict())),
        (options.csv, lambda: as_csv(run)),
        (options.markdown, lambda: as_markdown(report.tables())),
    ]
    wanted = [(name, make) for name, make in makers if name is not None]
    for name, make in wanted:
        write_output(name, make())
    if not wanted:
        path = run.path / REPORT
        write_output(str(path), page(run, report))
        print(f"{as_text(report.tables(), terminal_width())}\n\nwritten to {path}")
    return EXIT_OK


def compare_main(arguments: Sequence[str]) -> int:
    """Compare two sets of runs; return the exit status.

    Raises:
        UsageError: a run can't be read, or none is left to compare.
    """
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} compare",
        description="Say which differences between two sets of runs are real.",
        epilog="It takes two runs on each side, better five: one run does not tell how far the next is off.",
    )
    sides = "a run's folder, or a folder of runs that repeat each other"
    parser.add_argument("a", metavar="A", help=sides)
    parser.add_argument("b", metavar="B", help=sides)
    parser.add_argument("--json", metavar="FILE", help=f"for programs; {_OUTPUT}")
    parser.add_argument("--markdown", metavar="FILE", help=f"the tables; {_OUTPUT}")
    options = parser.parse_args(arguments)
    (a, left_out_a), (b, left_out_b) = _side(options.a), _side(options.b)
    differences = compare([one.figures.as_dict() for one in a], [one.figures.as_dict() for one in b])
    settings = other_settings([one.manifest for one in a], [one.manifest for one in b])
    tables = comparison_tables(differences, settings)
    told = {
        "runs": {"a": [one.manifest["name"] for one in a], "b": [one.manifest["name"] for one in b]},
        "left_out": left_out_a + left_out_b,
        "differences": {one.name: one.as_dict() for one in differences},
        "settings": settings,
    }
    if options.json is not None:
        write_output(options.json, as_json(told))
    if options.markdown is not None:
        write_output(options.markdown, as_markdown(tables))
    if options.json is None and options.markdown is None:
        print(as_text(tables, terminal_width()))
    for name in left_out_a + left_out_b:
        print(f"{PROGRAM}: {name}: INVALID, left out", file=sys.stderr)
    if all(one.real == UNKNOWN for one in differences):
        print(f"{PROGRAM}: {len(a)} and {len(b)} runs: it takes two on each side, better five", file=sys.stderr)
        return EXIT_INCOMPLETE
    return EXIT_OK


def _side(name: str) -> tuple[list[Report], list[str]]:
    """Return the runs of one side that may be believed, and the names of those that may not."""
    path = Path(name)
    folders = (
        [path] if (path / MANIFEST).exists() else sorted(found.parent for found in path.glob(f"*/{MANIFEST}"))
    )
    if not folders:
        raise UsageError(f"{path}: expected the folder of a run, or a folder with such folders in")
    reports = [load_report(StoredRun(folder)) for folder in folders]
    valid = [report for report in reports if report.verdict.level != INVALID]
    if not valid:
        raise UsageError(f"{path}: every run is INVALID: there is nothing to compare")
    names = [
        str(folder) for folder, report in zip(folders, reports, strict=True) if report.verdict.level == INVALID
    ]
    return valid, names


def page(run: StoredRun, report: Report) -> str:
    """Return the report as one HTML page that needs nothing else."""
    together = ceil(sum(1 for _ in run.records()) / MOST_POINTS)
    data = {"points": list(_points(run, together)), "curves": curves(report.figures)}
    told = f"{report.figures.measured.seconds:.1f} s measured"
    verdict = report.verdict
    mark = {IS_INCOMPLETE: SUSPECT, IS_BROKEN: INVALID}.get(verdict.outcome, verdict.level)
    return _fill("Run", report.manifest, mark, verdict.words, told, report.tables(), data)


def capacity_page(told: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """Return the page of a search for capacity.

    Args:
        told: `Capacity.told`.
        tables: what is told of it.
    """
    knee = told["knee"]
    load = {"unit": told["unit"], "points": told["curve"], "knee": knee["low"]}
    trials = f"{len(told['trials'])} trials, {', '.join(told['slo'])}"
    mark = "VALID" if knee["confidence"] in ("high", "fair") else "SUSPECT"
    return _fill(
        "Capacity", told["run"], told["words"], mark, trials, tables, {"points": [], "curves": {}, "load": load}
    )


def _fill(
    what: str,
    manifest: Mapping[str, Any],
    words: str,
    mark: str,
    measured: str,
    tables: Sequence[Table],
    data: Mapping[str, Any],
) -> str:
    """Return a page: `words` in the colour of the verdict `mark`, tables that lead, charts of `data`, the rest."""
    files = resources.files("loadgen.page")
    parts = {name: files.joinpath(file).read_text(encoding="utf-8") for name, file in _PARTS.items()}
    return string.Template(files.joinpath("report.html").read_text(encoding="utf-8")).substitute(
        parts,
        what=what,
        name=escape(str(manifest["name"])),
        started=escape(str(manifest["started"])),
        command=escape(str(manifest["command"])),
        measured=escape(measured),
        words=escape(words),
        mark=mark,
        first_tables=as_html([table for table in tables if table.leads]),
        tables=as_html([*(table for table in tables if not table.leads), _described(manifest)]),
        # Inside of a script element "<" may begin its end.
        data=ujson.dumps(data, escape_forward_slashes=False).replace("<", "\\u003c"),
    )


_PARTS = {
    "uplot_css": "uPlot.min.css",
    "uplot_js": "uPlot.iife.min.js",
    "css": "report.css",
    "js": "report.js",
}


def terminal_width() -> int | None:
    """Return the columns of standard output's terminal; None where it is none, and lines may be of any length."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def as_csv(run: StoredRun) -> str:
    """Return a line for each record of a run, with a heading."""
    rows = list(_points(run, 1))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _points(run: StoredRun, together: int) -> Iterator[dict[str, Any]]:
    return points(run.records(), together, float(run.manifest["start_s"]))


def _described(manifest: Mapping[str, Any]) -> Table:
    """Return what the run was made with."""
    told = {**manifest["machine"], **manifest["versions"], "git": manifest["git"], **manifest["config"]}
    rows = [
        (name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in told.items()
        if value not in (None, [], "")
    ]
    return Table("With what it was made", ("", ""), rows, texts=True)
