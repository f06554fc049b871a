"""The supervisor of `--workers N`: N gateways on one port, the dead restarted, the sum of their figures served.

It finds a taken port by binding it alone first, then holds it bound, without listening, so that it stays ours
while workers come and go. A worker that ends because it was misused (exit 2) ends the supervisor too, unless one
in its place has served before; any other death is logged and answered with a new worker, after a back-off that a
worker's ten good seconds reset. A worker whose loop hangs, which shows in its reports, is killed for that.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

import ujson

from execgate.measure.classic import SERVER_HEADING
from execgate.measure.metrics import Figures, counted
from execgate.measure.metrics import add_up as add_up_metrics
from execgate.service import lifecycle, logs, systemd
from execgate.service.endpoints import TcpAddress, bind_error, resolve
from execgate.service.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from execgate.service.lifecycle import Stop
from execgate.service.metrics import MetricsServer, process_figures
from execgate.service.settings import to_toml
from execgate.service.vitals import ProcessVitals
from execgate.wire.errors import UsageError
from gateway.acceptor import bound_address, listen
from gateway.certificate import load_context
from gateway.config import GatewayConfig
from gateway.core import drain
from gateway.core.metrics import TABLE
from gateway.core.stats import add_up, status_line
from gateway.counters import Counters
from gateway.http_server import PageServer, serve
from gateway.pages import Pages
from gateway.results import Results
from gateway.worker import PROGRAM, REPORT_VARIABLE

log = logging.getLogger("gateway.supervisor")

_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 5.0
_GOOD_RUN_S = 10.0
_GRACE_S = 2.0  # on top of a worker's own drain
_READY = f"{PROGRAM} ready "
HUNG_S = 20.0
"""A worker that reports nothing for so long (it does twice a second) is taken for hung."""


class _Slot:
    """The place of one worker: the process that fills it now, and what it last reported.

    Attributes:
        buried: what its processes that died had counted.
        is_behind: whether the settings were reloaded before it could be told.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.figures: dict[str, Any] | None = None
        self.metrics: Figures = {}
        self.buried: Figures = {}
        self.restarts = 0
        self.is_behind = False
        self.first_ready = asyncio.Event()

    def report(self, figures: dict[str, Any]) -> None:
        """Take what the process says of itself."""
        self.metrics = figures.pop("metrics", {})
        self.figures = figures
        if figures["ready"]:
            self.first_ready.set()

    def bury(self) -> None:
        """The process is gone: what it counted is kept, so that no sum ever falls."""
        self.buried = add_up_metrics(TABLE, [self.buried, counted(TABLE, self.metrics)])
        self.process = self.figures = None
        self.metrics = {}


class Supervisor:
    """The parent of N workers.

    Args:
        config: the gateway's, with `workers` over 1.
        arguments: the flags it was read from, passed on to the workers.
        reloads: whether SIGHUP may bring another config. Workers then read theirs from us, not from a file that
            somebody may be writing: one that starts later is as those that run.

    Raises:
        UsageError: the port is taken, the certificate can't be used, or systemd passes a socket.
    """

    def __init__(self, config: GatewayConfig, arguments: Sequence[str], *, reloads: bool = False) -> None:
        if systemd.passed_listener(os.environ) is not None:
            raise UsageError(
                "--workers: systemd passes a socket, which is for one process; expected one gateway a socket unit"
            )
        self._config = config
        self._is_serving = False
        self._is_leaving = False
        if config.tls_cert is not None and config.tls_key is not None:
            load_context(config.tls_cert, config.tls_key)  # one error here, not one of each worker
        self._holder = _hold_port(config.listen, config.share_port)
        self._address = bound_address(self._holder)
        self._arguments = [
            *arguments,
            *("--workers", "1"),
            *("--listen", str(self._address)),
            "--share-port",
        ]
        self._settings: int | None = None
        if reloads:
            self._settings = os.memfd_create("execgate-settings")
            self._arguments += ["--config", f"/dev/fd/{self._settings}"]
            self._write_settings()
        self._slots = [_Slot(number) for number in range(config.workers)]
        self._results = Results()
        self._heading_printed = False
        self._status = EXIT_OK
        self._vitals = ProcessVitals()

    async def run(self, stop: Stop) -> int:
        """Keep the workers running until `stop`; return the exit status."""
        listener = listen("--stats-listen", self._config.stats_listen, share_port=False)
        pages = Pages(self.stats, self._readiness, with_page=False)
        acceptor = serve(
            listener,
            PageServer(pages),
            Counters(),
            header_timeout_s=self._config.header_timeout_s,
            max_exchanges=self._config.max_exchanges,
        )
        facts: dict[str, object] = {"stats": bound_address(listener)}
        scraped = MetricsServer(TABLE, self.metrics, self._why_not_ready)
        if self._config.metrics is not None:
            facts["metrics"] = await scraped.bind("--metrics", self._config.metrics)
        keepers = [asyncio.create_task(self._keep(slot, stop)) for slot in self._slots]
        ready = asyncio.create_task(self._tell_ready(facts))
        pulse = systemd.Pulse(lambda: status_line(self.stats()), self.is_serving)
        pulse.start()
        await stop.wait()
        self._is_serving, self._is_leaving = False, True
        systemd.notify(f"STOPPING=1\nSTATUS=draining workers={len(self._slots)}")
        ready.cancel()
        self._signal_workers(self._slots, signal.SIGTERM)
        await self._end(keepers, stop)
        pulse.stop()
        scraped.close()
        acceptor.close()
        self._holder.close()
        if self._settings is not None:
            os.close(self._settings)
        return self._status

    async def _end(self, keepers: Sequence["asyncio.Task[None]"], stop: Stop) -> None:
        """Wait for the workers' drains; kill who takes too long, and all when told again to end."""
        config = self._config
        ended, hurried = asyncio.create_task(asyncio.wait(keepers)), asyncio.create_task(stop.at_once.wait())
        longest_s = drain.longest_s(config.drain_lead_s, config.drain_s) + _GRACE_S
        await asyncio.wait({ended, hurried}, timeout=longest_s, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            if not hurried.done():
                self._status = EXIT_FAILED
            log.error("workers killed which=%s", "told a second time to end" if hurried.done() else "not in time")
            self._signal_workers(self._slots, signal.SIGKILL)
        hurried.cancel()
        await ended

    def is_serving(self) -> bool:
        """Whether all workers were ready once and we do not end yet."""
        return self._is_serving

    def apply(self, config: GatewayConfig) -> None:
        """Have the workers put a config to work of which only what can be reloaded differs.

        Raises:
            UsageError: it can't be, and nothing has changed.
        """
        if (config.tls_cert is None) != (self._config.tls_cert is None):
            raise UsageError("--tls-cert: TLS is turned on or off by a restart, not by a reload")
        if config.tls_cert is not None and config.tls_key is not None:
            load_context(config.tls_cert, config.tls_key)
        self._config = config
        logs.set_level(config.log_level)
        self._write_settings()
        for slot in self._slots:
            # One that does not report yet may have read the old settings, and may not listen to the signal yet.
            slot.is_behind = slot.figures is None
        self._signal_workers([slot for slot in self._slots if not slot.is_behind], signal.SIGHUP)

    def _write_settings(self) -> None:
        if self._settings is None:
            return
        text = to_toml(self._config).encode()
        os.ftruncate(self._settings, 0)
        os.pwrite(self._settings, text, 0)

    def stats(self) -> dict[str, Any]:
        """Return the sum of the workers' last reports, and each of them."""
        reports = [slot.figures for slot in self._slots if slot.figures is not None]
        return {
            "process": f"supervisor-{os.getpid()}",
            "pid": os.getpid(),
            "ready": self._readiness()[0],
            **add_up(reports),
            "restarts": sum(slot.restarts for slot in self._slots),
            "workers": reports,
        }

    def metrics(self) -> Figures:
        """Return the figures of `/metrics`: of all workers, also of those that died, and of ourselves."""
        own = process_figures(self._vitals)
        own["execgate_gateway_worker_restarts_total"] = sum(slot.restarts for slot in self._slots)
        return add_up_metrics(TABLE, [own, *(f for slot in self._slots for f in (slot.buried, slot.metrics))])

    def _why_not_ready(self) -> str | None:
        return None if self._readiness()[0] else "no worker is ready"

    def _readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready while at least one worker is: the port is served."""
        workers = [
            {
                "worker": slot.number,
                "process": slot.figures["process"] if slot.figures else None,
                "ready": bool(slot.figures and slot.figures["ready"]),
            }
            for slot in self._slots
        ]
        is_ready = not self._is_leaving and any(worker["ready"] for worker in workers)
        return is_ready, {"process": f"supervisor-{os.getpid()}", "ready": is_ready, "workers": workers}

    async def _tell_ready(self, more: dict[str, object]) -> None:
        for slot in self._slots:
            await slot.first_ready.wait()
        self._is_serving = True
        facts = {"listen": self._address, "feed": self._config.feed, "workers": len(self._slots)}
        lifecycle.tell_ready(PROGRAM, to_stderr=self._config.csv, **facts, **more)

    async def _keep(self, slot: _Slot, stop: Stop) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while not stop.requested:
            started_s = time.monotonic()
            try:
                status = await self._run_once(slot, stop)
            except Exception:  # a bug of ours: the place of a worker must not stay empty for it
                log.exception("keeping a worker failed worker=%s", slot.number)
                status = await self._put_down(slot)
            if stop.requested:
                return
            if status == EXIT_USAGE and not slot.first_ready.is_set():  # later it is no flag of ours that is wrong
                self._status = status
                stop.request()
                return
            if time.monotonic() - started_s > _GOOD_RUN_S:
                backoff_s = _FIRST_BACKOFF_S
            log.error("worker died worker=%s status=%s restart_in_s=%g", slot.number, status, backoff_s)
            slot.restarts += 1
            await stop.wait(backoff_s)
            backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    async def _run_once(self, slot: _Slot, stop: Stop) -> int:
        """Run one worker to its end; return its exit status."""
        try:
            process, reports = await self._start_worker()
        except OSError as error:  # no descriptor, process or memory is left: it may be there later
            log.error("worker not started worker=%s reason=%r", slot.number, str(error))
            return EXIT_FAILED
        slot.process = process
        log.info("worker started worker=%s pid=%s", slot.number, process.pid)
        if stop.requested:  # while it started: nobody has told this one
            process.terminate()
        await asyncio.gather(self._read_words(slot, process), self._read_reports(slot, process, reports))
        status = await process.wait()
        slot.bury()
        return status

    async def _put_down(self, slot: _Slot) -> int:
        """End a worker whose words or reports nobody reads any more."""
        process = slot.process
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()
        slot.bury()
        return EXIT_FAILED

    async def _start_worker(self) -> tuple[asyncio.subprocess.Process, int]:
        """Start one worker; return it, and the descriptor to read its reports from."""
        reports, report_to = os.pipe()
        environment = lifecycle.child_environment() | {REPORT_VARIABLE: str(report_to)}
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "execgate", "gateway", *self._arguments),
                stdout=asyncio.subprocess.PIPE,
                pass_fds=[report_to] if self._settings is None else [report_to, self._settings],
                env=environment,
            )
        except OSError:
            os.close(reports)
            raise
        finally:
            os.close(report_to)
        return process, reports

    async def _read_words(self, slot: _Slot, process: asyncio.subprocess.Process) -> None:
        """Pass a worker's results on; its ready line is for us, and the CSV heading comes once."""
        assert process.stdout is not None  # asked for above
        async for line in process.stdout:
            words = line.decode(errors="replace").rstrip("\n")
            if words.startswith(_READY):
                slot.first_ready.set()
            elif words != SERVER_HEADING or not self._heading_printed:
                self._heading_printed |= words == SERVER_HEADING
                self._results.say(words)

    async def _read_reports(self, slot: _Slot, process: asyncio.subprocess.Process, descriptor: int) -> None:
        reader = asyncio.StreamReader()
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        silent = 0
        while True:
            try:
                line = await asyncio.wait_for(reader.readline(), HUNG_S / 2)
            except TimeoutError:
                silent += 1
                if silent == 2:  # not at once: if it was us who stood still, what it said meanwhile comes first
                    log.error(
                        "worker hangs worker=%s pid=%s silent_s=%g: killed", slot.number, process.pid, HUNG_S
                    )
                    process.kill()
                continue
            if not line:
                break
            silent = 0
            slot.report(ujson.loads(line))
            if slot.is_behind:
                slot.is_behind = False
                self._signal_workers([slot], signal.SIGHUP)
        transport.close()

    def _signal_workers(self, slots: Sequence[_Slot], signum: int) -> None:
        for slot in slots:
            if slot.process is not None and slot.process.returncode is None:
                slot.process.send_signal(signum)


def _hold_port(address: TcpAddress, share_port: bool) -> socket.socket:
    """Return a socket that is bound to `address`, shareable, and does not listen.

    Raises:
        UsageError: another process listens there, and nobody said that it is shared on purpose.
    """
    if not share_port:
        probe = listen("--listen", address, share_port=False)
        address = bound_address(probe)
        probe.close()
    family, sockaddr = resolve("--listen", address)
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        holder.bind(sockaddr)
    except OSError as error:
        holder.close()
        raise bind_error("--listen", address, error) from None
    return holder
