"""`execgate loadgen find-capacity`: the highest load at which a server keeps what was demanded of it.

`core/search.py` says which load to try; each trial is a `loadgen run` of its own, a fresh process whose client has
no past; `core/capacity.py` judges it by the file that it leaves. Kept in `runs/NAME/`: the folder of each trial,
`trials.log` with what they said, `capacity.json` anew after each trial, `capacity.html` at the end.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ujson

from execgate.service.exits import EXIT_BROKEN, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_INVALID, EXIT_OK
from execgate.service.lifecycle import Stop, child_environment
from execgate.service.options import arguments_of
from execgate.service.output import as_json, check_output, keep_output
from execgate.wire.errors import UsageError
from loadgen import room
from loadgen.capacity_config import CapacityConfig
from loadgen.config import RunConfig
from loadgen.core import capacity
from loadgen.core.capacity import RATE, Trial
from loadgen.core.limits import Host, Limiting, limiting
from loadgen.core.search import FAILED, MAX_TRIALS, TOO_BUSY, UNBELIEVABLE, Search
from loadgen.core.tables import as_text, milliseconds
from loadgen.feeder import Feeder
from loadgen.host import HostWatch
from loadgen.manifest import describe_run
from loadgen.report import PROGRAM, capacity_page, terminal_width
from loadgen.run_folder import default_name

FORMAT = 1
FOUND, PAGE, LOG = "capacity.json", "capacity.html", "trials.log"
_LATE_MOST_US = 100_000
"""Of an update that is pushed: beyond it the rate was not offered."""
_OVERHEAD_S = 60.0
"""Beyond its phases: to start, to answer the last orders, to close thousands of connections."""
_REST_MOST_S = 30.0
"""Between two trials of which one was disturbed: each time in a row twice as long as before."""
_LAST_WORDS_BYTES = 4096
_END_S = 15.0
"""For a trial to end once it was asked to."""


class Capacity:
    """One search, in its folder."""

    def __init__(self, config: CapacityConfig, stop: Stop, folder: Path, manifest: dict[str, Any]) -> None:
        self._config = config
        self._stop = stop
        self._folder = folder
        self._manifest = manifest
        self._search = Search(config.first, config.most, config.within / 100)
        self._hosts: dict[str, Host] = {}
        self.trials: list[Trial] = []
        self.why_stopped = ""

    async def run(self) -> None:
        """Run trials until the search is over, or the stop is requested."""
        while not self.why_stopped and (value := self._search.next_value()) is not None:
            if self.trials:
                await self._stop.wait(min(self._config.cool * 2**self._search.disturbed, _REST_MOST_S))
            if self._stop.requested or not await self._try(value):
                self.why_stopped = self.why_stopped or "it was asked to end"
            self.write()

    def told(self) -> dict[str, Any]:
        """Return everything that was found, for `--json`."""
        found = self._limiting()
        knee = self._search.knee(self.why_stopped)
        limit = capacity.limit_of(self._config.conditions)
        return {
            "format": FORMAT,
            "run": self._manifest,
            "var": self._config.var,
            "unit": capacity.UNITS[self._config.var],
            "slo": [str(one) for one in self._config.conditions],
            "words": capacity.in_words(self._config.var, knee),
            "knee": {name: getattr(knee, name) for name in knee.__slots__},
            "limited_by": None if found is None else {name: getattr(found, name) for name in found.__slots__},
            "curve": capacity.curve(self._config.var, self.trials, limit),
            "trials": [trial.as_dict() for trial in self.trials],
        }

    def text(self) -> str:
        """Return it for people."""
        variable, knee = self._config.var, self._search.knee(self.why_stopped)
        limit = capacity.limit_of(self._config.conditions)
        chart = capacity.bars(variable, capacity.curve(variable, self.trials, limit), limit, knee)
        tables = capacity.tables(variable, self.trials, knee, self._limiting())
        return "\n\n".join(
            part for part in (as_text(tables, terminal_width()), chart, f"kept in {self._folder}") if part
        )

    def write(self) -> None:
        """Keep what is known so far."""
        (self._folder / FOUND).write_text(as_json(self.told()), encoding="utf-8")

    def write_page(self) -> None:
        """Keep the page."""
        knee = self._search.knee(self.why_stopped)
        tables = capacity.tables(self._config.var, self.trials, knee, self._limiting())
        (self._folder / PAGE).write_text(capacity_page(self.told(), tables), encoding="utf-8")

    @property
    def status(self) -> int:
        """What it came to, as an exit status."""
        knee = self._search.knee(self.why_stopped)
        if self.why_stopped or not self.trials or knee.why_stopped == TOO_BUSY:
            return EXIT_INCOMPLETE
        if knee.low:
            return EXIT_OK if knee.confidence != "none" else EXIT_INCOMPLETE
        return EXIT_INVALID if knee.is_lower_bound else EXIT_BROKEN

    async def _try(self, value: int) -> bool:
        """Run one trial and take it; return whether to go on."""
        config = self._config
        name = f"{len(self.trials) + 1:02}-{value}"
        settings = config.trial(value, name)
        feeder = Feeder(config.ingest, value) if config.ingest is not None else nullcontext()
        host = HostWatch()
        with feeder:
            told = await self._run_trial(settings)
            late_us = feeder.take_worst_us() if isinstance(feeder, Feeder) else 0
        if told is None or self._stop.requested:
            return False
        due_per_s = float(value * settings.subscribers) if config.var == RATE else None
        outcome, why = capacity.judge_trial(told, due_per_s, self._manifest["machine"]["cores"])
        if outcome == FAILED and late_us > _LATE_MOST_US:
            outcome, why = UNBELIEVABLE, f"updates were pushed {late_us / 1000:.0f} ms late: {why}"
        self._hosts[name] = host.take(settings.warm_up + settings.for_)
        trial = Trial(value, outcome, why, told, name)
        self.trials.append(trial)
        self._search.add(value, outcome)
        self._say(trial)
        if not told["figures"]["connections"]["connects"]:
            self.why_stopped = f"nobody was reached: {', '.join(told.get('failures', {})) or 'no connection'}"
        return True

    async def _run_trial(self, settings: RunConfig) -> dict[str, Any] | None:
        """Run a trial as a process; return what it told, None where it told nothing."""
        path = self._folder / f"{settings.name}.json"
        words = [*arguments_of(settings), "--run-dir", str(self._folder), "--json", str(path)]
        most_s = settings.plan().seconds + settings.order_timeout_ms / 1000 + _OVERHEAD_S
        with (self._folder / LOG).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "execgate", "loadgen", "run", *words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(),
            )
            ended = asyncio.create_task(process.wait())
            asked = asyncio.create_task(self._stop.wait())
            await asyncio.wait((ended, asked), timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if not ended.done():
                if not self._stop.requested:
                    self.why_stopped = f"trial {settings.name} did not end within {most_s:.0f} s"
                process.send_signal(signal.SIGINT)
                await asyncio.wait((ended,), timeout=_END_S)
                if not ended.done():
                    process.kill()
            await ended
        try:
            told: dict[str, Any] = ujson.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            if not self.why_stopped:
                self.why_stopped = f"trial {settings.name} ended without figures: {self._last_words()}"
            return None
        path.unlink()  # its folder and our own file have it all
        return told

    def _last_words(self) -> str:
        """Return what the last trial said last."""
        with (self._folder / LOG).open("rb") as log:
            log.seek(-min(_LAST_WORDS_BYTES, log.seek(0, os.SEEK_END)), os.SEEK_END)
            lines = log.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else f"see {LOG}"

    def _limiting(self) -> Limiting | None:
        """Return what was short, by the lowest load that did not hold; None where all held."""
        high = self._search.knee().high
        failed = [
            trial for trial in self.trials if trial.value == high and trial.outcome in (FAILED, UNBELIEVABLE)
        ]
        if not failed:
            return None
        last = failed[-1]
        cores = self._manifest["machine"]["cores"]
        return limiting(last.outcome, last.told["figures"], self._hosts[last.folder], cores)

    def _say(self, trial: Trial) -> None:
        if self._config.quiet:
            return
        p99_us = trial.latency_us(capacity.latency_name(self._config.var), "p99")
        p99 = "too few samples for a p99" if p99_us is None else f"p99 {milliseconds(p99_us)} ms"
        why = f" ({trial.why})" if trial.why else ""
        following = self._search.next_value()
        unit = capacity.UNITS[self._config.var]
        print(
            f"trial {len(self.trials)} (of {MAX_TRIALS} at most): {trial.value:,} {unit}: {p99}, "
            f"{trial.outcome}{why}; " + ("done" if following is None else f"next {following:,}"),
            file=sys.stderr,
            flush=True,
        )


async def find_capacity(config: CapacityConfig, arguments: Sequence[str], stop: Stop) -> int:
    """Search as `config` says; return the exit status.

    Raises:
        UsageError: something that was given can't be written.
    """
    check_output("--json", config.json)
    room.check_servers(config.server_pid)
    name = config.name or default_name()
    folder = Path(config.run_dir) / name
    if folder.exists():
        raise UsageError(f"--name {name}: {folder} is there already, and a run is never written over")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"--run-dir: {folder}: {error.strerror or error}") from None
    manifest = describe_run(config, name, arguments, time.time(), command="find-capacity")
    search = Capacity(config, stop, folder, manifest)
    try:
        await search.run()
        search.write()
        search.write_page()
    except OSError as error:
        print(f"{PROGRAM}: {error.filename or folder}: {error.strerror or error}", file=sys.stderr)
        return EXIT_FAILED
    print(search.text(), flush=True)
    return search.status if keep_output(PROGRAM, "--json", config.json, as_json(search.told())) else EXIT_FAILED
