"""`./run bench profile CASE`: where the gateway spends its time under a case's load, by py-spy.

Prints the functions by their own share of the samples, and writes a flame graph next to the raw stacks.
"""

import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks.case import Case
from benchmarks.running import Work, run
from benchmarks.servers import OURS, SERVERS
from benchmarks.setup_peers import BENCH, SetupError, peer_python

_RATE_HZ = 500
_TOP = 25
_LOAD_S, _SAMPLED_S = 12, 6  # py-spy takes seconds to read symbols before its first sample


def profile(case: Case) -> str:
    """Run the case's work against our gateway under the sampler, once a form; return the report.

    Native frames are included, so that `send` and the parser of JSON are seen next to Python's functions.

    Raises:
        SetupError: py-spy may not look into another process, or the case has no work for it.
    """
    if case.work is None:
        raise SetupError(f"{case.name} can't be profiled")
    raw = _sample(case.work, "raw", BENCH / f"profile-{case.name}.txt")
    graph = _sample(case.work, "flamegraph", BENCH / f"profile-{case.name}.svg")
    return f"{case.question}\n\n{_top(raw)}\n\nflame graph {graph}\nraw stacks  {raw}"


def _sample(work: Work, form: str, path: Path) -> Path:
    sampler = str(peer_python().parent / "py-spy")
    options = ["-d", str(_SAMPLED_S), "-r", str(_RATE_HZ), "--native", "-f", form]
    started: list[subprocess.Popen[str]] = []

    def begin(pid: int) -> None:
        command = [sampler, "record", *options, "-o", str(path), "-p", str(pid)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))

    run(SERVERS[OURS], replace(work, seconds=_LOAD_S), on_start=begin)
    for process in started:
        said, _ = process.communicate(timeout=30)
        if process.returncode:
            raise SetupError(f"py-spy failed (it needs root, or kernel.yama.ptrace_scope=0): {said.strip()}")
    return path


def _top(raw: Path) -> str:
    own: Counter[str] = Counter()
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        own[stack.rpartition(";")[2]] += int(count)
    total = sum(own.values())
    return "\n".join(f"{count / total:6.1%}  {name}" for name, count in own.most_common(_TOP))
