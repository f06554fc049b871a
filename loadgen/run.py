"""`execgate loadgen run`: an open loop against a server, kept in a run folder, with a verdict at the end.

The stages of a run are a plan's (`loadgen.core.plan`), by time alone, whatever the server does; behind the last
one is the drain: no more orders; those on their way are answered or time out.

Called by `app.py`; `LoadRun` also by `part.py`, for a share of a run. What becomes of a record is `keeping.py`'s.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import tee
from pathlib import Path
from random import Random
from typing import Any

from execgate.service.children import ChildError, StoppedError
from execgate.service.exits import EXIT_BROKEN, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_INVALID, EXIT_OK
from execgate.service.heap import Heap
from execgate.service.lifecycle import Stop
from execgate.service.output import as_json, check_output, keep_output
from loadgen import room
from loadgen.asking import Asking
from loadgen.classic import resolved
from loadgen.config import RunConfig
from loadgen.core import verdict as verdicts
from loadgen.core.fairness import Fairness, fairness_of
from loadgen.core.figures import DRAIN, MEASURE
from loadgen.core.junit import junit_xml
from loadgen.core.local import targets_of
from loadgen.core.orders import OrderBook
from loadgen.core.plan import Act, Group, Plan, Stage
from loadgen.core.recorder import Record
from loadgen.core.report import Report, make_report
from loadgen.core.tables import as_text
from loadgen.core.tally import Tally
from loadgen.core.target import from_each
from loadgen.crowd import Crowd
from loadgen.foreign import ForeignSubscriber
from loadgen.group_subscriber import RECEIVE_BUFFER_BYTES, GroupSubscriber
from loadgen.health import Health
from loadgen.keeping import LAST, Keeper, Taken
from loadgen.line_log import LineLog
from loadgen.live import Live
from loadgen.local import local_servers
from loadgen.manifest import describe_run
from loadgen.order_client import OrderSender
from loadgen.pacing import Paced
from loadgen.processes import LoadProcesses, records_of
from loadgen.raw_client import RawConnector
from loadgen.report import terminal_width
from loadgen.run_folder import RunFolder, default_name
from loadgen.subscriber import Subscriber

EXIT_OF = {
    verdicts.IS_HELD: EXIT_OK,
    verdicts.IS_INCOMPLETE: EXIT_INCOMPLETE,
    verdicts.IS_INVALID: EXIT_INVALID,
    verdicts.IS_BROKEN: EXIT_BROKEN,
}
"""What a run comes to -> exit status."""
_DRAIN_MORE_S = 0.1
_WAKE_S = 1.0
"""For subscribers that were stuck to read what the server had sent before it closed, and its close frame."""


class LoadRun:
    """One run, or one process' share of it, in this process.

    Args:
        config: the settings of the whole run.
        plan: what is to be done here.
        stop: asks for an early end.
        keep: gets each record.
        records: for what clients write down.

    Attributes:
        broken: the first clients whose streams were not whole, and what was wrong; known once it is over.
    """

    def __init__(
        self, config: RunConfig, plan: Plan, stop: Stop, keep: Callable[[Taken], None], records: LineLog
    ) -> None:
        self._config = config
        self._plan = plan
        self._stop = stop
        self._keep = keep
        self._crowd = Crowd(
            targets=from_each([resolved(target) for target in config.url], config.source),
            connector=RawConnector(config.connect_timeout_ms / 1000, insecure_tls=config.insecure_tls),
            # Of the same seed processes must not draw the same.
            random=Random(config.seed if config.seed is None else f"{config.seed}/{plan.index}"),
            metrics=None,
            book=OrderBook(round(config.order_timeout_ms * 1e6)),
            stale_after_s=config.stale_after,
            write_record=records.write if records.is_open else None,
        )
        self._adapter = config.adapter()
        self._senders: list[OrderSender] = []
        self._subscribers: dict[int, Subscriber | ForeignSubscriber] = {}  # by place
        self._slow_connector = RawConnector(
            config.connect_timeout_ms / 1000,
            insecure_tls=config.insecure_tls,
            receive_buffer_bytes=RECEIVE_BUFFER_BYTES,
        )
        self._fairness = Fairness() if plan.tells_fairness else None
        if not plan.is_plain:
            self._crowd.tallies = {group.name: Tally() for group in plan.groups}
        self._turn = 0
        self._clients = plan.clients_in(plan.stages[0])
        self._changes, offsets = tee(plan.changes())
        self._connects = Paced((change.offset_ns for change in offsets), self._change)
        self._orders = Paced(plan.orders(), self._order)
        self._health = Health(config.server_pid, self._crowd, (self._connects, self._orders))
        self._asking = Asking(self._crowd)
        self._heap = Heap()
        self._start_s = 0.0
        self.broken: dict[str, str] = {}

    @property
    def failures(self) -> dict[str, int]:
        """Why clients could not connect, with the number of times."""
        return self._crowd.failures

    @property
    def fairness(self) -> dict[str, Any] | None:
        """How the subscribers differ, where that was asked for and there is something to tell."""
        members = [member for member in self._crowd.members if isinstance(member, GroupSubscriber)]
        return fairness_of([member.late_ns / member.heard / 1000 for member in members if member.heard])

    async def run(self, start_ns: int | None = None) -> None:
        """Run all stages, from a monotonic time on that all processes of a run have in common, or from now on."""
        self._heap.start()
        self._health.start()
        self._asking.start()
        try:
            if start_ns is None:
                start_ns = time.monotonic_ns()
            start_s = self._start_s = start_ns / 1e9
            self._connects.start(start_ns)
            self._orders.start(start_ns)
            for number, stage in enumerate(self._plan.stages):
                self._clients = self._plan.clients_in(stage)
                self._crowd.is_calm = stage.is_calm
                if self._fairness is not None:
                    self._fairness.is_counting = stage.phase == MEASURE
                if not await self._stage(number, stage, start_s):
                    break
                start_s += stage.seconds
            self._stop_pacing()
            self._crowd.stop_sending()
            await self._drain()
        finally:
            self._stop_pacing()  # also where a record could not be kept: nobody joins who is to be waited for
            self._asking.stop()
            self._health.stop()
            self._heap.stop()
            self._crowd.stop_sending()
            await self._slow_connector.close()
            await self._crowd.close()

    def _stop_pacing(self) -> None:
        self._connects.stop()
        self._orders.stop()

    async def _stage(self, number: int, stage: Stage, start_s: float) -> bool:
        """Take records until the stage is over, one at least; return False where the end was asked for.

        A stage that passed while the loop was held up has one record, which says how late it is.
        """
        interval_s, passed = self._config.interval, 0
        due_s, end_s = start_s, start_s + stage.seconds
        stopped = False
        while not stopped and due_s < end_s and (not passed or time.monotonic() < end_s):
            # Whole intervals from the stage's start, however late (or a little early) the loop was, and each
            # boundary once; the last interval may be shorter.
            passed = max(passed, int((time.monotonic() - start_s) / interval_s + 1e-6)) + 1
            due_s = min(start_s + passed * interval_s, end_s)
            if end_s - due_s < interval_s / 2:
                due_s = end_s
            stopped = await self._stop.wait(max(0.0, due_s - time.monotonic()))
            late_s = time.monotonic() - due_s
            record = self._record(stage.name, stage.phase)
            if late_s > interval_s / 2:
                record["behind_us"] = max(record["behind_us"], round(late_s * 1e6))
            boundary = round((due_s - self._start_s) * 1e6)
            self._keep(Taken(boundary, number, time.monotonic() - start_s, stage.seconds, record))
        self._heap.settle(self._crowd.recorder.connected)
        return not stopped

    async def _drain(self) -> None:
        """Wait until every order has ended, as all do, and until those that were stuck know how they ended."""
        start_s = time.monotonic()
        most_s = self._config.order_timeout_ms / 1000 + _DRAIN_MORE_S
        book = self._crowd.book
        while book.outstanding and time.monotonic() - start_s < most_s:
            await asyncio.sleep(0.005)
            book.expire(time.monotonic_ns())
        stuck = [one for one in self._crowd.members if isinstance(one, GroupSubscriber) and one.may_be_closed]
        end_s = time.monotonic() + _WAKE_S
        while time.monotonic() < end_s and any(one.may_be_closed for one in stuck):
            await asyncio.sleep(0.005)
        self.broken = self._crowd.broken_streams()
        record, last = self._record(DRAIN, DRAIN), len(self._plan.stages) - 1
        self._keep(Taken(LAST, last, time.monotonic() - start_s, most_s, record))

    def _change(self, due_ns: int) -> None:
        """Do what the plan says next: `_connects` has just come to it."""
        crowd, change = self._crowd, next(self._changes)
        number = self._plan.index + len(crowd.members) * self._plan.of  # its own in all processes
        if change.act is Act.JOIN:
            self._subscribers[change.place] = subscriber = self._subscriber(number, change.group)
            crowd.add(subscriber, due_ns)
        elif change.act is Act.LEAVE:
            self._subscribers.pop(change.place).leave()
        elif change.act is Act.DROP:
            self._subscribers[change.place].drop()
        elif change.act is Act.RETURN:
            self._subscribers[change.place].come_back(due_ns)
        elif change.act is Act.JOIN_TO_ORDER:
            sender = OrderSender(crowd, number, self._config.max_rows)
            self._senders.append(sender)
            crowd.add(sender, due_ns)

    def _subscriber(self, number: int, group: Group | None) -> Subscriber | ForeignSubscriber:
        crowd = self._crowd
        if self._adapter is not None:
            return ForeignSubscriber(crowd, number, self._adapter)
        if group is None or group.name not in crowd.tallies:
            return Subscriber(crowd, number)
        connector = crowd.connector if group.reads_freely else self._slow_connector
        return GroupSubscriber(crowd, number, group, crowd.tallies[group.name], connector, self._fairness)

    def _order(self, due_ns: int) -> None:
        """The clients that are there take turns."""
        if not self._senders:  # the loop is so late that none was begun
            self._crowd.recorder.orders_unsent += 1
            return
        self._turn = (self._turn + 1) % len(self._senders)
        self._senders[self._turn].send_order(due_ns)

    def _record(self, stage: str, phase: str) -> Record:
        """End the interval under way, and return its record."""
        record = self._crowd.take_record()
        if self._fairness is not None:
            record["spread_us"] = self._fairness.take(time.monotonic_ns())
        crowd = self._crowd
        if crowd.all_given_up and not crowd.ever_connected and len(crowd.members) >= self._clients:
            self._stop.request()
        return {"phase": phase, "stage": stage, **record, **self._health.take(record)}


async def run_load(config: RunConfig, arguments: Sequence[str], stop: Stop) -> int:
    """Run what `config` says; return the exit status.

    Args:
        config: the settings.
        arguments: from which they came, for the manifest.
        stop: asks for an early end.

    Raises:
        UsageError: something that was given can't be written or has no address.
    """
    plan = config.plan()
    targets = targets_of(config.local) if config.local is not None else [resolved(one) for one in config.url]
    room.check_sources(config.source, targets)
    room.check_ports(plan, targets, config.source)
    room.check_servers(config.server_pid)
    config = replace(config, processes=room.how_many_processes(config, plan, targets))
    if config.local is not None:
        room.check_local(plan, config.local)
    for flag, path in _output_files(config):
        check_output(flag, path)
    name = config.name or default_name()
    start_s = time.time()
    manifest = describe_run(config, name, arguments, start_s)
    if config.local is not None:
        manifest["config"]["url"] = []
    try:
        with RunFolder(Path(config.run_dir) / name, manifest, start_s) as folder:
            keeper = Keeper(folder, Live(quiet=config.quiet), plan)
            end, is_lost = await _run_with_servers(config, plan, stop, keeper, folder)
            report = make_report(manifest, keeper.figures, end)
            folder.write_end(end, report.verdict.as_dict())
    except ChildError as error:
        print(f"execgate loadgen: {error}", file=sys.stderr)
        return EXIT_FAILED
    except StoppedError:
        print("execgate loadgen: stopped before the servers were ready", file=sys.stderr)
        return EXIT_INCOMPLETE
    except OSError as error:
        print(f"execgate loadgen: {error.filename or folder.path}: {error.strerror or error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{as_text(report.tables(), terminal_width())}\n\nkept in {folder.path}", flush=True)
    if is_lost:
        print(f"execgate loadgen: --records {config.records}: not all was written", file=sys.stderr)
    if not _keep_files(config, report) or is_lost:
        return EXIT_FAILED
    return EXIT_OF[report.verdict.outcome]


def _output_files(config: RunConfig) -> Iterator[tuple[str, str | None]]:
    """Yield the files that are written at the end, or by several processes, each with its flag."""
    yield "--json", config.json
    yield "--junit", config.junit
    if config.records is not None and config.processes is not None and config.processes > 1:
        yield from (("--records", records_of(config.records, index)) for index in range(config.processes))


async def _run_with_servers(
    config: RunConfig, plan: Plan, stop: Stop, keeper: Keeper, folder: RunFolder
) -> tuple[dict[str, Any], bool]:
    """Start the servers that are asked for, and run it; return as `_run`."""
    if config.local is None:
        return await _run(config, plan, stop, keeper, folder)
    clients = room.most_clients(plan)
    async with local_servers(config.local, clients, config.local_rate, stop) as servers:
        pids = (*config.server_pid, *servers.pids)
        met = replace(config, local=None, url=servers.targets, server_pid=pids)
        end, is_lost = await _run(met, plan, stop, keeper, folder)
    return end | {"servers_died": servers.died}, is_lost


async def _run(
    config: RunConfig, plan: Plan, stop: Stop, keeper: Keeper, folder: RunFolder
) -> tuple[dict[str, Any], bool]:
    """Run it in this process, or in several; return what only the end knows, and whether records were lost."""
    assert config.processes is not None
    if config.processes == 1:
        with LineLog("--records", config.records, flushes=False) as records:
            run = LoadRun(config, plan, stop, keeper.keep, records)
            await run.run()
        end: dict[str, Any] = {"failures": run.failures, "broken_streams": run.broken, "died": []}
        if run.fairness is not None:
            end["fairness"] = run.fairness
        return end, records.is_lost
    several = LoadProcesses(config, plan, config.processes, stop, keeper.keep)
    await several.run()
    folder.leave_out_errors(several.unsaid)
    end = {"failures": dict(several.failures), "broken_streams": several.broken, "died": several.died}
    return end, several.is_lost


def _keep_files(config: RunConfig, report: Report) -> bool:
    """Write what was asked for in files; return whether all of it is written."""
    program, verdict = "execgate loadgen", report.verdict
    is_kept = keep_output(program, "--json", config.json, as_json(report.as_dict()))
    text = junit_xml(report.manifest["name"], report.figures.measured.seconds, verdict)
    return keep_output(program, "--junit", config.junit, text) and is_kept
