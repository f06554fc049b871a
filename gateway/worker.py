"""One gateway process: its parts put together, its life from the bound port to the last close frame.

bind -> join the feed -> ready -> serve -> SIGTERM -> red -> stop accepting -> drain -> close -> exit 0
"""

import asyncio
import logging
import os
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import ujson

from execgate.measure.classic import SERVER_HEADING, ClassicMetrics, csv_line
from execgate.measure.metrics import Figures
from execgate.service import lifecycle, logs, systemd
from execgate.service.admin import AdminServer
from execgate.service.curve import client_curve
from execgate.service.exits import EXIT_OK
from execgate.service.heap import Heap
from execgate.service.ledger_file import LedgerFile
from execgate.service.lifecycle import Stop
from execgate.service.metrics import MetricsServer
from execgate.service.settings import to_toml
from execgate.service.vitals import LoopLag, ProcessVitals
from execgate.wire.errors import UsageError
from gateway import metrics, sessions
from gateway.acceptor import Acceptor, bound_address, listen
from gateway.admission import Admission
from gateway.certificate import Certificate
from gateway.clock import PublisherClock
from gateway.config import NO_REPLAY, GatewayConfig
from gateway.connection import Site
from gateway.core.metrics import TABLE
from gateway.core.policy import OpenPolicy
from gateway.core.rate import AddressLimiter
from gateway.core.session import Mode
from gateway.core.stats import status_line
from gateway.core.stitcher import Stitcher
from gateway.counters import Counters
from gateway.draining import drain_clients, stop_accepting
from gateway.fanout import Fanout, FeedState
from gateway.feed import Feed
from gateway.front import Front
from gateway.history import HistoryClient
from gateway.http_server import serve
from gateway.keepalive import Keepalive
from gateway.ledger import Ledger
from gateway.limits import Limits
from gateway.orders import ImmediateHandler, OrderDesk
from gateway.outbound import Outbound, OutboundBudget
from gateway.pages import Pages
from gateway.recovery import Recovery
from gateway.results import Results
from gateway.resume import Resumer

log = logging.getLogger("gateway")

REPORT_VARIABLE = "EXECGATE_REPORT_FD"
"""A supervisor passes a pipe in it; the worker writes its figures there, a JSON line at a time."""

PROGRAM = "execgate gateway"
_REPORT_S = 0.5
_LAG_WINDOW_S = 1.0
_KIB, _MIB = 1024, 1024 * 1024


class Worker:
    """The parts of one gateway.

    Raises:
        UsageError: the port, the feed's endpoint or the certificate can't be had.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._started_s = time.monotonic()
        self._live = asyncio.Event()
        self._is_leaving = False
        self._facts: dict[str, object] = {}  # more of the ready line
        self._vitals = ProcessVitals()
        self._lag = LoopLag()
        self._heap = Heap()
        self._loop_lag_s = 0.0  # the worst of the last full second
        self._metrics = ClassicMetrics(config.outlier_size) if config.csv else None
        limits = _limits(config)
        counters = Counters()
        name = f"gateway-{os.getpid()}"
        ledger = None
        if config.ledger_file is not None:
            ledger = Ledger(LedgerFile(config.ledger_file), name, counters)
        fanout = Fanout(
            counters, self._live.set, _exhausted, config.ring_mib * _MIB, snapshot_keys=config.snapshot_keys
        )
        curve = client_curve(config.curve_key, config.curve_server)
        # Two: what the feed lacks must not wait behind what a crowd that resumes asks for.
        self._histories = [
            HistoryClient(config.replay_endpoint, curve, config.replay_timeout_s)
            for _ in range(0 if config.replay == NO_REPLAY else 2)
        ]
        for_feed, for_clients = self._histories or (None, None)
        self._clock = PublisherClock(for_feed)
        self._recovery = Recovery(fanout, for_feed, Stitcher(config.zmq_hwm, config.ring_mib * _MIB))
        self._site = Site(
            name=name,
            limits=limits,
            counters=counters,
            fanout=fanout,
            desk=OrderDesk(ImmediateHandler(), config.order_timeout_s, counters, self._metrics),
            resumer=Resumer(fanout, for_clients, config.archive_mib * _MIB, lambda: self._recovery.is_joined),
            keepalive=Keepalive(limits, fanout),
            budget=OutboundBudget(config.outbound_kib * _KIB, config.outbound_total_mib * _MIB),
            ledger=ledger,
            publisher_clock=self._clock,
        )
        pages = Pages(self.stats, self._readiness, with_page=True)
        self._acceptor: Acceptor | None = None
        self._certificate = None
        if config.tls_cert is not None and config.tls_key is not None:
            self._certificate = Certificate(config.tls_cert, config.tls_key)
        self._admission = Admission(_limiter(config), config.trusted_proxies, reads_header=config.proxy_protocol)
        self._front = Front(
            self._site, pages, _policy(config), config.allowed_origin, config.max_connections, self._admission
        )
        passed = systemd.passed_listener(os.environ)
        self._is_passed = passed is not None
        self._listener = listen(
            "--listen",
            config.listen,
            share_port=config.share_port,
            user_timeout_s=config.idle_s,
            send_buffer_bytes=config.send_buffer_kib * _KIB,
            passed=passed,
        )
        self._feed = Feed(config.feed, config.zmq_hwm, config.feed_stale_s, self._recovery, fanout, curve)

    async def run(self, stop: Stop) -> int:
        """Serve until `stop`, then drain; return the exit status."""
        config = self._config
        address = bound_address(self._listener)
        scraped = MetricsServer(TABLE, self.metrics, self._why_not_ready)
        # Under a supervisor it is the supervisor's: it serves the sum.
        if config.metrics is not None and REPORT_VARIABLE not in os.environ:
            self._facts["metrics"] = await scraped.bind("--metrics", config.metrics)
        admin = AdminServer(sessions.verbs(self._site.keepalive), self.stats, lambda: to_toml(self._config))
        if config.admin is not None:
            await admin.bind(config.admin)
        self._acceptor = acceptor = serve(
            self._listener,
            self._front,
            self._site.counters,
            header_timeout_s=config.header_timeout_s,
            max_exchanges=config.max_exchanges,
            admission=self._admission,
            certificate=self._certificate,
        )
        acceptor.is_kept = self._is_passed
        acceptor.give_way = self._feed.give_way
        self._lag.start()
        self._heap.start()
        self._site.keepalive.start()
        self._feed.start()
        self._clock.start()
        pulse = systemd.Pulse(lambda: status_line(self.stats()), self.is_serving)
        pulse.start()
        if self._certificate is not None:
            self._certificate.watch()
        log.info("listening address=%s feed=%s waiting for the feed", address, config.feed)
        tasks = [asyncio.create_task(task) for task in self._chores(address)]
        for task in tasks:
            task.add_done_callback(_tell_failure)
        await stop.wait()
        await self._leave(acceptor, stop)
        for task in tasks:
            task.cancel()
        self._site.keepalive.stop()
        self._site.desk.close()
        pulse.stop()
        scraped.close()
        admin.close()
        self._lag.stop()
        self._heap.stop()
        if self._certificate is not None:
            self._certificate.close()
        self._feed.close()
        self._clock.close()
        for history in self._histories:
            history.close()
        self._close_ledger()
        counters = self._site.counters
        log.info(
            "stopped delivered=%s drained=%s unaccepted=%s",
            *(counters.delivered, counters.drained, counters.refused["unaccepted"]),
        )
        return EXIT_OK

    def is_serving(self) -> bool:
        """Whether it was ready once and does not end yet."""
        return self._live.is_set() and not self._is_leaving

    def apply(self, config: GatewayConfig) -> None:
        """Put a config to work of which only what can be reloaded differs (`execgate.service.settings`).

        Raises:
            UsageError: it can't be, and nothing has changed.
        """
        if self._certificate is not None and config.tls_cert is not None and config.tls_key is not None:
            self._certificate.replace(config.tls_cert, config.tls_key)
        elif config.tls_cert != self._config.tls_cert:
            raise UsageError("--tls-cert: TLS is turned on or off by a restart, not by a reload")
        before, self._config = self._config, config
        logs.set_level(config.log_level)
        self._site.limits = _limits(config)  # of new sessions: the others were told theirs
        self._front.change(_policy(config), config.allowed_origin, config.max_connections)
        budget = self._site.budget
        budget.session_limit, budget.limit = config.outbound_kib * _KIB, config.outbound_total_mib * _MIB
        if _rate_of(config) != _rate_of(before):  # else everybody would have a new burst
            self._admission.limit(_limiter(config))
        if self._acceptor is not None:
            self._acceptor.limit(config.max_exchanges)

    def stats(self) -> dict[str, Any]:
        """Return the figures of `/stats`; `docs/gateway.md` explains each."""
        site, fanout, counters = self._site, self._site.fanout, self._site.counters
        return {
            "process": site.name,
            "pid": os.getpid(),
            "ready": self._readiness()[0],
            "uptime_s": round(time.monotonic() - self._started_s, 1),
            "feed": {
                "state": fanout.state.value,
                "epoch": fanout.epoch,
                "seq": fanout.seq,
                "feed_lag_ms": fanout.lag_us / 1000,
                **counters.upstream,
            },
            "connections": len(site.keepalive),
            "subscribers": dict(fanout.subscribers),
            "matched": counters.matched,
            "delivered": counters.delivered,
            "resuming": len(site.resumer),
            "pages_fetched": site.resumer.archive.requests,
            "dropped": counters.dropped,
            "conflated": counters.conflated,
            "discarded": counters.discarded,
            "queued_bytes": site.budget.used,
            "orders": dict(counters.orders),
            "closes": dict(counters.closes),
            "drained": counters.drained,
            "refused": dict(counters.refused),
            "loop_lag_ms": round(self._loop_lag_s * 1000, 3),
            "gc_pause_ms": round(self._heap.longest_pause_s * 1000, 3),
            "cpu_s": self._vitals.cpu_s(),
            "rss_bytes": self._vitals.rss_bytes(),
        }

    def metrics(self) -> Figures:
        """Return the figures of `/metrics`."""
        return metrics.figures(
            self._site,
            self._feed,
            self._recovery,
            self._lag,
            self._vitals,
            gc_pause_s=self._heap.longest_pause_s,
            ready=self._readiness()[0],
        )

    def _why_not_ready(self) -> str | None:
        is_ready, details = self._readiness()
        return None if is_ready else f"feed={details['feed']} draining={details['draining']}"

    def _readiness(self) -> tuple[bool, dict[str, Any]]:
        state = self._site.fanout.state
        is_ready = state is FeedState.LIVE and self._recovery.is_joined and not self._is_leaving
        details = {
            "process": self._site.name,
            "ready": is_ready,
            "feed": state.value,
            "draining": self._is_leaving,
        }
        return is_ready, details

    def _chores(self, address: object) -> Sequence[Coroutine[Any, Any, None]]:
        return self._tell_ready(address), self._print_csv(), self._report(), self._watch_pauses()

    async def _watch_pauses(self) -> None:
        while True:
            await asyncio.sleep(_LAG_WINDOW_S)
            self._loop_lag_s = self._lag.take_worst_s()
            self._heap.settle(len(self._site.keepalive))

    async def _tell_ready(self, address: object) -> None:
        await self._live.wait()
        facts = {"listen": address, "feed": self._config.feed, "seq": self._site.fanout.seq, **self._facts}
        # Under a supervisor it is for the supervisor alone, which reads our standard output.
        to_stderr = self._config.csv and REPORT_VARIABLE not in os.environ
        lifecycle.tell_ready(PROGRAM, to_stderr=to_stderr, **facts)

    async def _print_csv(self) -> None:
        if self._metrics is None:
            return
        results = Results()
        results.say(SERVER_HEADING)
        while True:
            await asyncio.sleep(self._config.csv_interval_s)
            connections = len(self._site.keepalive)
            subscribers = sum(self._site.fanout.subscribers.values())
            results.say(csv_line(connections, subscribers, self._vitals.interval(), self._metrics.take()))

    async def _report(self) -> None:
        descriptor = os.environ.get(REPORT_VARIABLE)
        if descriptor is None:
            return
        os.set_blocking(int(descriptor), False)
        unsent = b""
        while True:
            if not unsent:
                figures = self.stats()
                if self._config.metrics is not None:
                    figures["metrics"] = self.metrics()
                unsent = ujson.dumps(figures).encode() + b"\n"
            try:
                # More than PIPE_BUF may be taken in part: the rest goes first then, lest two lines become one.
                unsent = unsent[os.write(int(descriptor), unsent) :]
            except BlockingIOError:
                pass  # the supervisor is busy
            except BrokenPipeError:  # it is gone, and the kernel has told us to end too
                return
            await asyncio.sleep(_REPORT_S)

    async def _leave(self, acceptor: Acceptor, stop: Stop) -> None:
        """Go out of service; at once, where a signal says so a second time."""
        self._is_leaving = True
        config, connections = self._config, len(self._site.keepalive)
        status = f"draining connections={connections} lead_s={config.drain_lead_s:g} drain_s={config.drain_s:g}"
        systemd.notify(f"STOPPING=1\nSTATUS={status}")
        log.info("leaving connections=%s drain_lead_s=%g", connections, config.drain_lead_s)
        drained = asyncio.create_task(self._drain(acceptor))
        hurried = asyncio.create_task(stop.at_once.wait())
        # Under a supervisor it is for the supervisor, beside whom systemd tells each process of a unit to end.
        awaited = {drained} if REPORT_VARIABLE in os.environ else {drained, hurried}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if drained.done():
            return drained.result()
        drained.cancel()
        log.warning("told a second time to end, and not drained connections=%s", len(self._site.keepalive))
        return acceptor.close()

    async def _drain(self, acceptor: Acceptor) -> None:
        await asyncio.sleep(self._config.drain_lead_s)
        await stop_accepting(acceptor)
        self._front.is_draining = True
        await drain_clients(self._site.keepalive, self._site.counters, self._config.drain_s)

    def _close_ledger(self) -> None:
        """Enter the sessions that outlived the drain, and the process."""
        ledger = self._site.ledger
        if ledger is None:
            return
        left = self._site.keepalive.connections()
        queued = sum(connection.outbound.queued for connection in left)
        for connection in left:
            ledger.enter(connection)
        ledger.close(queued)


def _tell_failure(chore: "asyncio.Task[None]") -> None:
    """Log a chore that a bug of ours has ended: the gateway serves on without it."""
    if not chore.cancelled() and chore.exception() is not None:
        log.error("a chore failed name=%s", chore.get_coro(), exc_info=chore.exception())


def _exhausted(member: Outbound) -> None:
    if member.owner is not None:
        member.owner.exhausted()


def _policy(config: GatewayConfig) -> OpenPolicy:
    return OpenPolicy(config.messages_per_s, config.max_topics)


def _rate_of(config: GatewayConfig) -> tuple[float, int]:
    return config.connections_per_s, config.connection_burst


def _limiter(config: GatewayConfig) -> AddressLimiter | None:
    return AddressLimiter(*_rate_of(config)) if config.connections_per_s else None


def _limits(config: GatewayConfig) -> Limits:
    return Limits(
        message_bytes=config.max_message_kib * _KIB,
        depth=config.max_depth,
        fragments=config.max_fragments,
        message_timeout_s=config.message_timeout_s,
        heartbeat_s=config.heartbeat_s,
        ping_s=config.ping_s,
        idle_s=config.idle_s,
        default_mode=Mode.VOLATILE if config.emit_volatile else Mode.ALL,
        explicit_subscribe=config.explicit_subscribe,
        deflate=config.deflate,
    )
