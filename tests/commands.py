"""Many command lines that end by themselves: each in a process of its own, all forked from one interpreter.

What takes time in such tests is starting Python and importing a program, a quarter of a second of CPU each.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

TIMEOUT_S = 60.0

# A process that does not end is ended by its alarm, whose signal is its exit status then.
_FORK_EACH = f"""\
import importlib, json, os, signal, sys, tempfile
from execgate.cli import main
for module in json.loads(sys.argv[1]):
    importlib.import_module(module)
for line in sys.stdin:
    words, environment = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            signal.alarm({TIMEOUT_S:.0f})
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ.update(environment)
            status = 1
            try:
                status = main(words)
            except SystemExit as end:
                status = end.code
            except BaseException:
                sys.excepthook(*sys.exc_info())
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    print(json.dumps([status, *texts]), flush=True)
"""


class Ended(NamedTuple):
    """What became of one: its exit status, and the lines that it printed."""

    status: int
    stdout: list[str]
    stderr: list[str]


def run_each(
    commands: Sequence[tuple[Sequence[str], Mapping[str, str]]], *, imports: Sequence[str] = ()
) -> list[Ended]:
    """Run `execgate` with the words of each command, and its environment on top of ours, one after the other.

    Args:
        commands: each with what stands behind `execgate`, and its environment.
        imports: modules that all of them need, imported once.
    """
    done = subprocess.run(
        [sys.executable, "-c", _FORK_EACH, json.dumps(list(imports))],
        input="".join(f"{json.dumps([list(words), dict(extra)])}\n" for words, extra in commands),
        capture_output=True,
        text=True,
        env=os.environ,
        timeout=TIMEOUT_S + len(commands),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ends) == len(commands), done.stderr
    return [Ended(status, out.splitlines(), err.splitlines()) for status, out, err in ends]
