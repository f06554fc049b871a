"""`python -m benchmarks`: lists the cases, runs one side by side, prints a table of medians and ratios."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.case import Case
from benchmarks.cases import CASES
from benchmarks.processes import CLIENT_CORE
from benchmarks.profiling import profile
from benchmarks.running import Figures, Work
from benchmarks.servers import OURS, SERVERS, Server
from benchmarks.setup_peers import SetupError
from benchmarks.tables import table
from benchmarks.validity import why_void
from execgate.wire.errors import UsageError

_EXAMPLES = """\
examples:
  ./run bench                                       list the cases
  ./run bench fanout                                ours against the kernel's limit
  ./run bench fanout --against limit,uws,ws,picows  and against others, installed on first use
  ./run bench knee --against limit,uws --rounds 1 --json docs/benchmarks/knee.json
  ./run bench slow                                  ours in several variants: those take no --against
  ./run bench profile fanout                        where our gateway's time goes, and a flame graph
  ./run bench report                                docs/benchmarks.md from the runs saved in docs/benchmarks/"""


def machine() -> dict[str, Any]:
    """Return what a figure must be read with: processor, cores, kernel, Python."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else platform.machine()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def compare(case: Case, rows: Mapping[str, tuple[Server, Work]], rounds: int) -> dict[str, list[Figures]]:
    """Run `case` for each row, `rounds` times, interleaved; return the runs of each."""
    runs: dict[str, list[Figures]] = {name: [] for name in rows}
    for round_number in range(1, rounds + 1):
        for name, (server, work) in rows.items():
            print(f"round {round_number} of {rounds}: {name} ...", file=sys.stderr, flush=True)
            figures = case.measure(server, work)
            if "void" not in figures:  # some measures know better what may not be believed
                figures["void"] = why_void(figures)
            runs[name].append(figures)
    return runs


def listing() -> str:
    """Return the cases and the servers."""
    cases = "\n".join(f"  {case.name:<18} {case.question}" for case in CASES.values())
    servers = "\n".join(f"  {server.name:<18} {server.what}" for server in SERVERS.values())
    return f"cases:\n{cases}\n\nservers (--against):\n{servers}\n\n{_EXAMPLES}"


def main() -> int:
    """Run one case, or list them all."""
    parser = argparse.ArgumentParser(
        prog="./run bench", epilog=listing(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", nargs="?", help="one of the cases below, report, or profile; none lists them")
    parser.add_argument("profiled", nargs="?", metavar="CASE", help="the case that profile runs")
    parser.add_argument("--against", default="limit", help="servers to compare with, separated by commas")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are shown (default 3)")
    parser.add_argument("--seconds", type=float, help="measured seconds of a run, instead of the case's own")
    parser.add_argument("--json", metavar="FILE", help="save all runs, with machine and versions")
    options = parser.parse_args()
    if options.case is None:
        print(listing())
        return 0
    try:
        if options.case == "report":
            print(*report.write(), sep="\n")
        elif options.case == "profile":
            print(profile(_case(options.profiled)))
        else:
            _compare(_case(options.case), _servers(options.against), options)
    except UsageError as error:
        print(f"./run bench: {error}; './run bench' lists them", file=sys.stderr)
        return 2
    except SetupError as error:
        print(f"./run bench: {error}", file=sys.stderr)
        return 1
    return 0


def _case(name: str | None) -> Case:
    if name is None:
        raise UsageError("profile takes one of the cases")
    if name not in CASES:
        raise UsageError(f"unknown case {name!r}")
    if (os.cpu_count() or 1) < 2:
        raise SetupError("needs two cores, one for the server and one for the client")
    os.sched_setaffinity(0, {CLIENT_CORE})  # what we do ourselves is not to be taken from the server's core
    return CASES[name]


def _servers(against: str) -> list[Server]:
    names = [OURS, *(name for name in against.split(",") if name and name != OURS)]
    for name in names:
        if name not in SERVERS:
            raise UsageError(f"unknown server {name!r}")
    return [SERVERS[name] for name in names]


def _compare(case: Case, servers: Sequence[Server], options: argparse.Namespace) -> None:
    rows = case.rows(servers)
    if options.seconds:
        rows = {name: (server, replace(work, seconds=options.seconds)) for name, (server, work) in rows.items()}
    runs = compare(case, rows, options.rounds)
    versions = {server.name: server.version() for server, _ in rows.values()}
    about = machine()
    print("\n\n".join(filter(None, (case.question, case.note, table(case, runs)))), end="\n\n")
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(", ".join(f"{name} {version}" for name, version in versions.items() if version))
    if options.json:
        saved = {
            "case": case.name,
            "note": case.note,
            "taken": date.today().isoformat(),
            "seconds": options.seconds,
            "machine": about,
            "versions": versions,
            "runs": runs,
        }
        Path(options.json).write_text(json.dumps(saved, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
