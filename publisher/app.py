"""`execgate publisher`: settings to parts, parts to a running daemon, and its end.

`execgate.cli` calls `main`. The road that an exec takes is in `publisher.road`; here is only who runs when.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq

from execgate.measure.metrics import Figures
from execgate.service import lifecycle, logs, systemd
from execgate.service.admin import AdminServer
from execgate.service.curve import ServerCurve, load_directory, load_secret
from execgate.service.exits import EXIT_FAILED, EXIT_OK
from execgate.service.ledger_file import LedgerFile
from execgate.service.metrics import MetricsServer
from execgate.service.settings import Reloader, Settings, to_toml
from execgate.service.vitals import LoopLag, ProcessVitals
from execgate.service.zap import Allowed, Zap
from execgate.wire.topics import TopicTemplate
from execgate.wire.update import Kind, epoch_text
from publisher import metrics
from publisher.config import DESCRIPTION, EXAMPLES, PublisherConfig
from publisher.core.metrics import TABLE
from publisher.core.sequencer import Sequencer
from publisher.feed import Feed
from publisher.journal import tool
from publisher.journal.disk import DiskJournal
from publisher.journal.memory import MemoryJournal
from publisher.journal.recovery import NEW
from publisher.journal.schema import JournalError
from publisher.refusals import Refusals
from publisher.replay import ReplayServer
from publisher.road import Road
from publisher.sockets import GATEWAYS, PRODUCERS
from publisher.sources import lines
from publisher.sources.acknowledged import AcknowledgedSource
from publisher.sources.base import Source, SourceError
from publisher.sources.ingest import IngestSource
from publisher.sources.synthetic import SyntheticSource

PROGRAM = "execgate publisher"
_TURN_NS = 2_000_000
"""How long one source may publish before the loop runs: heartbeats, signals, other sources."""

FLUSH_S = 5
"""How long the end waits for the journal to keep what is stamped (a full disk must not hold us for ever)."""

_LOG = logging.getLogger("publisher")


def main(arguments: Sequence[str]) -> int:
    """Run a publisher until its sources end, its limit is reached, or a signal; or a tool for its journal.

    Returns:
        The exit status.
    """
    if arguments and arguments[0] in tool.COMMANDS:
        return tool.main(arguments)
    settings = Settings(
        PublisherConfig, PROGRAM, arguments, os.environ, description=DESCRIPTION, examples=EXAMPLES
    )
    config = settings.read()
    answer = settings.answer(config, check)
    if answer is not None:
        print(answer)
        return EXIT_OK
    logs.set_up(config.log_level, config.log_format)

    async def serve(stop: lifecycle.Stop) -> int:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            publisher = Publisher(config, context, stop)
            Reloader(settings, config, publisher.apply, publisher.is_serving).start()
            return await publisher.run()
        finally:
            context.term()  # waits for what is queued, at most the feed's linger

    return lifecycle.run(PROGRAM, serve)


def check(config: PublisherConfig) -> None:
    """Look at the files that `config` names, for `--check`; a journal is looked at by `execgate publisher verify`.

    Raises:
        UsageError: one can't be used.
    """
    if config.curve_key is not None:
        load_secret("--curve-key", config.curve_key)
    for flag, directory in (
        ("--curve-clients", config.curve_clients),
        ("--curve-producers", config.curve_producers),
    ):
        if directory is not None:
            load_directory(flag, directory)


class Publisher:
    """One publisher's parts, from bind to BYE.

    Args:
        context: ZeroMQ's; the caller terminates it when all is closed.
        stop: asked for by a signal, or by the road's end.
    """

    def __init__(
        self, config: PublisherConfig, context: "zmq.Context[zmq.Socket[bytes]]", stop: lifecycle.Stop
    ) -> None:
        self._config = config
        self._context = context
        self._stop = stop
        self._template = TopicTemplate(config.topic)
        self._refusals = Refusals()
        self._ledger = None if config.ledger_file is None else LedgerFile(config.ledger_file)
        self._journal, sequencer = self._open_journal()
        self._feed = Feed(context, config.zmq_hwm, self._greet)
        self._replay = ReplayServer(context, self._journal)
        self._curve: ServerCurve | None = None
        self._zap: Zap | None = None
        self._road = Road(sequencer, self._journal, self._feed, self._refusals, config.max_updates)
        self._began_at = self._journal.ceiling
        self._sources: list[Source] = []
        self._bound: dict[str, Any] = {}
        self._vitals = ProcessVitals()
        self._lag = LoopLag()
        self._scraped = MetricsServer(TABLE, self.metrics, lambda: self._journal.trouble)
        self._admin = AdminServer({}, lambda: {"status": self._status()}, lambda: to_toml(self._config))
        self._failed = self._is_serving = False
        self._pulse = systemd.Pulse(self._status, self.is_serving)

    async def run(self) -> int:
        """Bind, tell that we are ready, publish, say BYE; return the exit status.

        Raises:
            UsageError: an address or a file can't be had.
        """
        try:
            self._open_curve()
            self._bound["pub"] = self._feed.bind(self._config.pub, self._curve)
            self._bound["replay"] = self._replay.bind(self._config.replay_endpoint, self._curve)
            for name in self._config.source:
                self._open(name)
            if self._config.metrics is not None:
                self._bound["metrics"] = await self._scraped.bind("--metrics", self._config.metrics)
                self._lag.start()
            if self._config.admin is not None:
                await self._admin.bind(self._config.admin)
            self._tell_epoch()
            lifecycle.tell_ready(PROGRAM, **self._bound, epoch=epoch_text(self._journal.epoch))
            self._is_serving = True
            self._pulse.start()
            reason = await self._publish()
            self._is_serving = False
            systemd.notify("STOPPING=1")
            await self._flush()
            self._road.beat(Kind.BYE)
            self._tell_end(reason)
            self._write_ledger(reason)
            return EXIT_FAILED if self._failed else EXIT_OK
        finally:
            self._pulse.stop()
            self._scraped.close()
            self._admin.close()
            self._lag.stop()
            for source in self._sources:
                source.close()
            self._replay.close()
            self._feed.close()
            self._journal.close()
            if self._zap is not None:
                self._zap.close()

    def is_serving(self) -> bool:
        """Whether it was ready and does not end yet."""
        return self._is_serving

    def apply(self, config: PublisherConfig) -> None:
        """Put a config to work of which only what can be reloaded differs: the log level."""
        self._config = config
        logs.set_level(config.log_level)

    def _open_journal(self) -> tuple[DiskJournal | MemoryJournal, Sequencer]:
        """Open what keeps updates, and say where the numbering goes on.

        Raises:
            UsageError: the journal can't be used.
        """
        config = self._config
        new_epoch = secrets.randbits(63) or 1
        if config.data_dir is None:
            return MemoryJournal(new_epoch, config.retention), Sequencer(new_epoch, self._template)
        journal = DiskJournal(
            Path(config.data_dir), config.retention, new_epoch, synced=config.durability == "power"
        )
        found = journal.recovered
        return journal, Sequencer(found.epoch, self._template, seq=found.last, tseqs=found.tseqs)

    def _tell_epoch(self) -> None:
        """Log whether the numbering goes on, and if not, why."""
        journal, epoch = self._journal, epoch_text(self._journal.epoch)
        if isinstance(journal, MemoryJournal):
            _LOG.info("epoch=%s begins: held in memory, another start is another epoch", epoch)
        elif journal.recovered.begun_because is None:
            _LOG.info("epoch=%s goes on seq=%d floor=%d", epoch, journal.ceiling, journal.floor)
        else:
            level = logging.INFO if journal.recovered.begun_because == NEW else logging.WARNING
            _LOG.log(level, "epoch=%s begins: %s", epoch, journal.recovered.begun_because)

    def _open_curve(self) -> None:
        """Read the keys, and have whoever connects asked for theirs.

        Raises:
            UsageError: a key or a directory can't be used.
        """
        config = self._config
        if config.curve_key is None:
            return
        self._curve = ServerCurve(load_secret("--curve-key", config.curve_key))
        domains = {}
        if config.curve_clients is not None:
            domains[GATEWAYS] = Allowed("--curve-clients", config.curve_clients)
        if config.curve_producers is not None:
            domains[PRODUCERS] = Allowed("--curve-producers", config.curve_producers)
        self._zap = Zap(self._context, domains)

    def _open(self, name: str) -> None:
        if name == "synthetic":
            self._sources.append(SyntheticSource(self._config))
        elif name == "ingest":
            ingest = IngestSource(self._context, self._template, self._refusals)
            self._sources.append(ingest)  # before it can fail, so that it is closed
            self._bound["ingest"] = ingest.bind(self._config.ingest, self._curve)
        elif name == "ingest-ack":
            acknowledged = AcknowledgedSource(self._context, self._refusals, lambda: self._journal.trouble)
            self._sources.append(acknowledged)
            self._bound["ingest_ack"] = acknowledged.bind(self._config.ingest_ack, self._curve)
        else:
            due = lines.schedule(self._config.line_pace, self._config.rate)
            self._sources.append(lines.LineSource(name, due, self._refusals))

    def _status(self) -> str:
        """How we are, for systemd."""
        road, journal = self._road, self._journal
        words = (
            f"epoch={epoch_text(journal.epoch)} seq={journal.ceiling} updates={road.updates.total()} "
            f"refused={self._refusals.counts.total()} subscriptions={self._feed.subscriptions}"
        )
        return words if journal.trouble is None else f"ingest waits: {journal.trouble}; {words}"

    def metrics(self) -> Figures:
        """Return the figures of `/metrics`."""
        return metrics.figures(
            self._config.source,
            self._road,
            self._refusals,
            self._journal,
            self._feed,
            self._replay,
            self._lag,
            self._vitals,
        )

    def _greet(self) -> None:
        """A gateway has just subscribed: tell the position now, so that it need not wait for the next beat."""
        self._road.beat()

    async def _publish(self) -> str:
        """Run all sources until they end or the end is asked for; return why it ended."""
        beating = asyncio.create_task(self._beat())
        pumping = asyncio.create_task(self._pump_all())
        stopping = asyncio.create_task(self._stop.wait())
        tasks: list[asyncio.Future[Any]] = [beating, pumping, stopping]
        if isinstance(self._journal, DiskJournal):
            tasks.append(self._journal.crashed)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if not task.done():
                task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):  # a bug of ours
                raise outcome
        if self._road.finished:
            return "max-updates"
        return "signal" if self._stop.requested else "end-of-input"

    async def _flush(self) -> None:
        """Have published all that is stamped, while the feed lives on, as far as the journal can in time."""
        beating = asyncio.create_task(self._beat())
        try:
            if not await self._road.flush(FLUSH_S):
                self._failed = True
                _LOG.error("not published: what was stamped could not be kept in %d s", FLUSH_S)
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._config.heartbeat_ms / 1000)
            self._road.beat()

    async def _pump_all(self) -> None:
        await self._feed.wait_for_subscriptions(self._config.await_gateways)
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(self._pump(source))

    async def _pump(self, source: Source) -> None:
        """Send each batch of one source down the road."""
        turn_ends_ns = time.monotonic_ns() + _TURN_NS
        try:
            async for batch in source.batches():
                await self._road.publish(source, batch)
                if self._road.finished:
                    self._stop.request()
                    return
                if time.monotonic_ns() > turn_ends_ns:
                    await asyncio.sleep(0)
                    turn_ends_ns = time.monotonic_ns() + _TURN_NS
        except (OSError, SourceError, JournalError) as error:  # the others go on; the exit status tells
            self._failed = True
            _LOG.error("source=%s failed reason=%s", source.name, error)
        else:
            _LOG.info("source=%s ended", source.name)

    def _write_ledger(self, reason: str) -> None:
        road, ledger = self._road, self._ledger
        if ledger is None:
            return
        ledger.append(
            "publisher",
            epoch=epoch_text(self._journal.epoch),
            after=self._began_at,
            until=self._journal.ceiling,
            accepted=road.accepted,
            journaled=road.journaled,
            published=road.updates.total(),
            sources={name: road.updates[name] for name in self._config.source},
            refused=self._refusals.counts.total(),
            reason=reason,
        )
        ledger.close()

    def _tell_end(self, reason: str) -> None:
        road, refused = self._road, self._refusals.counts
        by_source = " ".join(
            f"[{name} updates={road.updates[name]} rows={road.rows[name]} refused={refused[name]}]"
            for name in self._config.source
        )
        _LOG.info(
            "ended reason=%s updates=%d rows=%d refused=%d %s",
            reason,
            road.updates.total(),
            road.rows.total(),
            refused.total(),
            by_source,
        )
