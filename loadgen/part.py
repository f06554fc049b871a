"""One of several processes of a run: `python -m loadgen.part`, started by `processes.py` and by nobody else.

Standard input has the task, pickled by a parent of the same version; then a line with the monotonic time at which
to begin. Standard output has JSON lines, see `part_words.py`. It ends with its parent, on SIGTERM as a run does.
"""

import logging
import pickle
import sys
from typing import Any

import ujson

from execgate.service import lifecycle, logs
from execgate.service.exits import EXIT_OK
from execgate.service.lifecycle import Stop
from loadgen.line_log import LineLog
from loadgen.part_words import PartEnd, Task, Word
from loadgen.run import LoadRun
from loadgen.run_folder import MAX_ERROR_LINES

PROGRAM = "execgate loadgen"


def say(word: Word, *rest: Any) -> None:
    """Tell the parent, which reads all the time."""
    sys.stdout.write(ujson.dumps([word.value, *rest]) + "\n")
    sys.stdout.flush()


class ToParent(logging.Handler):
    """Passes on the first lines that clients log about their connections."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines = 0

    @property
    def unsaid(self) -> int:
        """How many lines were left out."""
        return max(0, self._lines - MAX_ERROR_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on one line."""
        self._lines += 1
        if self._lines <= MAX_ERROR_LINES:
            say(Word.LOG, record.levelno, record.getMessage())


def main() -> int:
    """Do our share of a run; return the exit status."""
    lifecycle.end_with_parent()
    task: Task = pickle.load(sys.stdin.buffer)
    logs.set_up(task.config.log_level)
    logger, to_parent = logging.getLogger("loadgen"), ToParent()
    logger.setLevel(logging.INFO)
    logger.addHandler(to_parent)
    logger.propagate = False
    say(Word.READY)
    begin = sys.stdin.readline()
    if not begin:  # the parent has changed its mind, or is gone
        return EXIT_OK

    async def run(stop: Stop) -> int:
        with LineLog("--records", task.config.records, flushes=False) as records:
            load = LoadRun(task.config, task.plan, stop, lambda taken: say(Word.TAKEN, *taken), records)
            await load.run(int(begin))
        end = PartEnd(load.failures, load.broken, records.is_lost, to_parent.unsaid)
        say(Word.END, end.failures, end.broken, end.is_lost, end.unsaid)
        return EXIT_OK

    return lifecycle.run(PROGRAM, run)


if __name__ == "__main__":
    sys.exit(main())
