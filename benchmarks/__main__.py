"""`python -m benchmarks`: lists the cases, runs one side by side, prints a table of medians and ratios."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.cases import CASES, Case, Figures, is_void
from benchmarks.profiling import profile
from benchmarks.servers import OURS, SERVERS, Server
from benchmarks.setup_peers import SetupError
from benchmarks.tables import table

_EXAMPLES = """\
examples:
  ./run bench                                       list the cases
  ./run bench fanout                                ours against the kernel's limit
  ./run bench fanout --against limit,uws,ws,picows  and against others, installed on first use
  ./run bench knee --against limit,uws --rounds 1 --json docs/benchmarks/knee.json
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


def compare(case: Case, servers: Sequence[Server], rounds: int) -> dict[str, list[Figures]]:
    """Run `case` against each server, `rounds` times, interleaved; return the runs of each."""
    runs: dict[str, list[Figures]] = {server.name: [] for server in servers}
    for round_number in range(1, rounds + 1):
        for server in servers:
            print(f"round {round_number} of {rounds}: {server.name} ...", file=sys.stderr, flush=True)
            figures = case.measure(server)
            figures["void"] = is_void(figures)
            runs[server.name].append(figures)
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
    parser.add_argument("--json", metavar="FILE", help="save all runs, with machine and versions")
    options = parser.parse_args()
    if options.case is None:
        print(listing())
        return 0
    if options.case == "report":
        for path in report.write():
            print(path)
        return 0
    chosen = options.profiled if options.case == "profile" else options.case
    names = [OURS, *(name for name in options.against.split(",") if name and name != OURS)]
    unknown = [name for name in names if name not in SERVERS]
    if chosen not in CASES or unknown:
        wrong = f"server {unknown[0]!r}" if unknown else f"case {chosen!r}"
        print(f"./run bench: unknown {wrong}; './run bench' lists them", file=sys.stderr)
        return 2
    if (os.cpu_count() or 1) < 2:
        print("./run bench: needs two cores, one for the server and one for the client", file=sys.stderr)
        return 1
    case = CASES[chosen]
    try:
        if options.case == "profile":
            print(profile(case))
            return 0
        return _compare(case, [SERVERS[name] for name in names], options.rounds, options.json)
    except SetupError as error:
        print(f"./run bench: {error}", file=sys.stderr)
        return 1


def _compare(case: Case, asked: Sequence[Server], rounds: int, save_as: str | None) -> int:
    servers = [
        server
        for server in asked
        if server.name == OURS or (not case.only_ours and (server.takes_orders or not case.needs_orders))
    ]
    runs = compare(case, servers, rounds)
    versions = {server.name: server.version() for server in servers}
    about = machine()
    print(f"{case.question}\n\n{table(case, runs)}\n")
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(", ".join(f"{name} {version}" for name, version in versions.items() if version))
    if save_as:
        taken = date.today().isoformat()
        saved = {"case": case.name, "taken": taken, "machine": about, "versions": versions, "runs": runs}
        Path(save_as).write_text(json.dumps(saved, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
