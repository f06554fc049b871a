"""A run over several processes: starts them, gives each its share, and makes one record of theirs of an interval.

Called by `run.py`; what each does is `part.py`. They follow one clock (CLOCK_MONOTONIC is the machine's), one
schedule and the same boundaries of intervals. One that dies or falls silent ends the run: what its clients saw
is missing, and the run is told as INVALID.
"""

import asyncio
import logging
import pickle
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice

import ujson

from execgate.service.children import READY_TIMEOUT_S, Child, Children, StoppedError
from execgate.service.lifecycle import Stop
from loadgen.config import RunConfig
from loadgen.core.merging import Merger
from loadgen.core.plan import Plan
from loadgen.core.recorder import HISTOGRAMS, Record
from loadgen.crowd import BROKEN_SHOWN
from loadgen.keeping import Taken
from loadgen.part_words import PartEnd, Task, Word

_log = logging.getLogger("loadgen")
START_IN_NS = 200_000_000
"""All are ready; so much later they begin, so that each knows in time."""
HUNG_S = 10.0
"""On top of an interval and of the orders' timeout: one that says nothing for so long is ended."""


class _Part:
    """One process, and what it has told so far."""

    def __init__(self, index: int, take: Callable[[int, Taken], None]) -> None:
        self.index = index
        self.ready = asyncio.Event()
        self.end: PartEnd | None = None
        self.lines = 0
        self._take = take

    def hear(self, line: bytes) -> None:
        """Take one line of its standard output; see `part_words.Word`."""
        self.lines += 1
        word, *rest = ujson.loads(line)
        if word == Word.READY:
            self.ready.set()
        elif word == Word.TAKEN:
            taken = Taken(*rest)
            for name in HISTOGRAMS:  # JSON has no numbers for names
                taken.record[name] = {int(bucket): count for bucket, count in taken.record[name].items()}
            self._take(self.index, taken)
        elif word == Word.LOG:
            level, text = rest
            _log.log(level, "%s", text)
        else:
            self.end = PartEnd(*rest)


class LoadProcesses:
    """One run in several processes.

    Args:
        config: of the whole run.
        plan: of the whole run.
        count: of processes.
        stop: asks for an early end.
        keep: gets each record of all processes together.

    Attributes:
        failures, broken: of all processes, see `LoadRun`.
        died: what is to be said of each process that did not come to its end.
        is_lost: whether not all of `--records` was written.
        unsaid: lines for `errors.log` that the processes left out.
    """

    def __init__(
        self, config: RunConfig, plan: Plan, count: int, stop: Stop, keep: Callable[[Taken], None]
    ) -> None:
        self._config = config
        self._plan = plan
        self._stop = stop
        self._keep = keep
        self._merger = Merger(count)
        self._parts = [_Part(index, self._take) for index in range(count)]
        self._progress: dict[int, Taken] = {}  # of each boundary that is not kept yet
        self._error: Exception | None = None
        self.failures: Counter[str] = Counter()
        self.broken: dict[str, str] = {}
        self.died: list[str] = []
        self.is_lost = False
        self.unsaid = 0

    async def run(self) -> None:
        """Run to the end.

        Raises:
            ChildError: a process did not get ready; nothing was begun.
            OSError: a record can't be kept.
        """
        async with Children() as children:
            try:
                started = await self._start(children)
            except StoppedError:
                return
            stopping = asyncio.create_task(self._end_when_stopped(started))
            await asyncio.gather(*map(self._watch, self._parts, started))
            stopping.cancel()
        if self._error is not None:
            raise self._error

    async def _start(self, children: Children) -> list[Child]:
        """Start all, and let them begin at the same time."""
        started = []
        for part in self._parts:
            name = f"process {part.index} of the load generator"
            hear = partial(self._hear, part)
            child = await children.start(name, module="loadgen.part", stdin=PIPE, on_line=hear)
            self._tell(child, pickle.dumps(self._task_of(part.index)))
            started.append(child)

        async def all_ready() -> None:
            try:
                async with asyncio.timeout(READY_TIMEOUT_S):
                    for part in self._parts:
                        await part.ready.wait()
            except TimeoutError:
                raise started[part.index].death() from None

        await children.unless_over(all_ready(), self._stop)
        start_ns = time.monotonic_ns() + START_IN_NS
        for child in started:
            self._tell(child, b"%d\n" % start_ns)
        return started

    def _task_of(self, index: int) -> Task:
        config = self._config
        if config.records is not None:
            config = replace(config, records=records_of(config.records, index))
        if index:
            config = replace(config, server_pid=())  # the first watches them for all
        return Task(config, self._plan.share(index, len(self._parts)))

    def _tell(self, child: Child, words: bytes) -> None:
        assert child.process.stdin is not None
        child.process.stdin.write(words)

    async def _end_when_stopped(self, started: list[Child]) -> None:
        await self._stop.wait()
        for child in started:
            if child.process.returncode is None:
                child.process.terminate()

    async def _watch(self, part: _Part, child: Child) -> None:
        """Wait for the end of a process, and end it if it falls silent."""
        config = self._config
        patience_s = HUNG_S + config.interval + config.order_timeout_ms / 1000
        lines, silent = part.lines, 0
        while not child.ended.done() and silent < 2:  # not at once: it may be us who stood still
            await asyncio.wait([child.ended], timeout=patience_s / 2)
            silent = silent + 1 if part.lines == lines else 0
            lines = part.lines
        if not child.ended.done():
            self.died.append(f"{child.name} said nothing for {patience_s:.0f} s")
            child.process.kill()
            await child.ended
        elif part.end is None:
            self.died.append(str(child.death()))
        if part.end is None:
            self._stop.request()
        else:
            self._add_end(part.end)
        self._guarded(lambda: self._pass_on(self._merger.end(part.index)))

    def _add_end(self, end: PartEnd) -> None:
        self.failures.update(end.failures)
        self.broken = dict(islice((self.broken | end.broken).items(), BROKEN_SHOWN))
        self.is_lost |= end.is_lost
        self.unsaid += end.unsaid

    def _hear(self, part: _Part, line: bytes) -> None:
        self._guarded(lambda: part.hear(line))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do what nobody awaits; an error (a full disk, a bug) ends the run, which raises it."""
        try:
            action()
        except Exception as error:
            self._error = self._error or error
            self._stop.request()

    def _take(self, index: int, taken: Taken) -> None:
        self._progress[taken.boundary] = taken
        self._pass_on(self._merger.add(index, taken.boundary, taken.record))

    def _pass_on(self, whole: list[tuple[int, Record]]) -> None:
        for boundary, record in whole:
            self._keep(self._progress.pop(boundary)._replace(record=record))


def records_of(records: str, index: int) -> str:
    """Return the file of `--records` that a process writes."""
    return f"{records}.{index}"
