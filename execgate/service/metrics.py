"""`/metrics`: figures as Prometheus' text, and the small listener that serves them to whoever watches.

The listener is for operators alone and never on the public port. It answers GET and HEAD of a few paths, takes no
body, closes behind each answer, and bounds what a peer may send, how long it may take, and how many there are.
"""

import asyncio
import resource
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus

from execgate import __version__
from execgate.measure.buckets import SUM, cumulative
from execgate.measure.metrics import Figures, Kind, Metric
from execgate.service.endpoints import TcpAddress, bind_error, resolve
from execgate.service.vitals import ProcessVitals

TEXT = "text/plain; version=0.0.4; charset=utf-8"
MAX_HEAD_BYTES = 8 * 1024
MAX_PEERS = 32
"""Connections at once; one more is closed. Prometheus needs one."""
EXCHANGE_S = 5.0
"""From a connection's begin to its end."""

Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""


def render(table: Iterable[Metric], figures: Figures) -> bytes:
    """Return the figures as Prometheus' text; a metric without a figure is left out.

    The library is imported here, by those alone that serve metrics: it costs 4 MiB.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import HistogramMetricFamily
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

    def family(metric: Metric, value: float | Mapping[str, float]) -> Family:
        if metric.kind is Kind.HISTOGRAM and isinstance(value, Mapping):
            return HistogramMetricFamily(metric.name, metric.help, cumulative(value), value.get(SUM, 0.0))
        made = Family(metric.name.removesuffix("_total"), metric.help, metric.kind.value)
        if isinstance(value, Mapping) and metric.label is not None:
            for key, number in {**dict.fromkeys(metric.values, 0.0), **value}.items():
                made.add_sample(metric.name, {metric.label: key}, number)
        elif not isinstance(value, Mapping):
            made.add_sample(metric.name, {}, value)
        return made

    class Once(Collector):
        def collect(self) -> Iterable[Family]:
            return (family(metric, figures[metric.name]) for metric in table if metric.name in figures)

    registry = CollectorRegistry()
    registry.register(Once())
    return generate_latest(registry)


def process_figures(vitals: ProcessVitals) -> Figures:
    """Return the figures of `execgate.measure.metrics.PROCESS` for this process."""
    return {
        "execgate_build_info": {__version__: 1},
        "process_cpu_seconds_total": vitals.cpu_s(),
        "process_resident_memory_bytes": vitals.rss_bytes(),
        "process_open_fds": vitals.open_fds(),
        "process_max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "process_start_time_seconds": vitals.started_s,
    }


def ready_answer(reason: str | None) -> Answer:
    """Return what `/readyz` says: 200 where there is no reason against it, else 503 and the reason."""
    status = HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "text/plain; charset=utf-8", f"{reason or 'ready'}\n".encode()


class MetricsServer:
    """The listener of one process.

    Args:
        table: what is told.
        figures: returns the figures; called for each scrape.
        readiness: returns why this process is not ready, None if it is.
    """

    def __init__(
        self, table: Iterable[Metric], figures: Callable[[], Figures], readiness: Callable[[], str | None]
    ) -> None:
        rows = tuple(table)
        self._routes: dict[str, Callable[[], Answer]] = {
            "/metrics": lambda: (HTTPStatus.OK, TEXT, render(rows, figures())),
            "/healthz": lambda: (HTTPStatus.OK, "text/plain; charset=utf-8", b"ok\n"),
            "/readyz": lambda: ready_answer(readiness()),
        }
        self._server: asyncio.Server | None = None
        self._peers = 0

    async def bind(self, flag: str, address: TcpAddress) -> TcpAddress:
        """Serve from now on; return what was really bound.

        Raises:
            UsageError: the address can't be had.
        """
        family, (host, port) = resolve(flag, address)
        try:
            self._server = await asyncio.start_server(
                self._serve, host, port, family=family, limit=MAX_HEAD_BYTES, backlog=MAX_PEERS
            )
        except OSError as error:
            raise bind_error(flag, address, error) from None
        host, port = self._server.sockets[0].getsockname()[:2]
        return TcpAddress(host, port)

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers += 1
        try:
            if self._peers <= MAX_PEERS:
                async with asyncio.timeout(EXCHANGE_S):
                    await self._exchange(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a peer that left, or took too long, or sent no request
        finally:
            self._peers -= 1
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        status, content_type, body = self._answer(method, rest.partition(" ")[0])
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        )
        writer.write("\r\n".join((*lines, "\r\n")).encode() + (b"" if method == "HEAD" else body))
        writer.close()  # behind what is written
        await writer.wait_closed()

    def _answer(self, method: str, target: str) -> Answer:
        route = self._routes.get(target.partition("?")[0])
        plain = "text/plain; charset=utf-8"
        if route is None:
            return HTTPStatus.NOT_FOUND, plain, f"nothing here; try {' '.join(self._routes)}\n".encode()
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, plain, f"{method}: expected GET or HEAD\n".encode()
        return route()
