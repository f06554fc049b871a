"""The text that Prometheus reads, and the listener that serves it: real sockets, every bound struck."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from execgate.measure.buckets import Buckets
from execgate.measure.metrics import PROCESS, Figures, counter, gauge, histogram
from execgate.service import metrics
from execgate.service.endpoints import TcpAddress
from execgate.service.metrics import MetricsServer, process_figures, render
from execgate.service.vitals import ProcessVitals
from execgate.wire.errors import UsageError

FREE = TcpAddress("127.0.0.1", 0)
TABLE = (counter("c_total", 'A "sentence"\\.', "why", ["none"]), gauge("g", "."), histogram("h_seconds", "."))


def parsed(text: bytes) -> dict[tuple[str, str], float]:
    """Samples by name and label value, as Prometheus' own parser reads them."""
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_figures_are_read_back_as_they_were() -> None:
    buckets = Buckets()
    for duration in (0.001, 0.001, 99.0):
        buckets.observe(duration)
    hostile = 'a"b\\c\nd'
    samples = parsed(render(TABLE, {"c_total": {hostile: 3}, "g": 2.5, "h_seconds": buckets.figures()}))
    assert samples["c_total", "none"] == 0, "a label value that is known stands from the start"
    assert samples["c_total", hostile] == 3
    assert samples["g", ""] == 2.5
    assert samples["h_seconds_bucket", "0.0005"] == 0
    assert samples["h_seconds_bucket", "0.001"] == 2
    assert samples["h_seconds_bucket", "10.0"] == 2
    assert samples["h_seconds_bucket", "+Inf"] == samples["h_seconds_count", ""] == 3
    assert samples["h_seconds_sum", ""] == pytest.approx(99.002)


def test_a_metric_without_a_figure_is_not_told() -> None:
    assert {name for name, _ in parsed(render(TABLE, {"g": 1}))} == {"g"}


def test_a_process_tells_of_itself() -> None:
    vitals = ProcessVitals()
    before = vitals.open_fds()
    with socket.socket(), socket.socket():
        figures = process_figures(vitals)
        assert figures["process_open_fds"] == before + 2
    assert {metric.name for metric in PROCESS} == set(figures)
    assert 0 < figures["process_open_fds"] < figures["process_max_fds"]
    assert figures["process_resident_memory_bytes"] > 2**20


@asynccontextmanager
async def serving(
    figures: Callable[[], Figures] = lambda: {"g": 1}, readiness: Callable[[], str | None] = lambda: None
) -> AsyncIterator[TcpAddress]:
    server = MetricsServer(TABLE, figures, readiness)
    try:
        yield await server.bind("--metrics", FREE)
    finally:
        server.close()


async def exchange(address: TcpAddress, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def asked(request: str, readiness: str | None = None) -> tuple[str, bytes]:
    """Return the status line of one request, and what is behind the head."""

    async def check() -> tuple[str, bytes]:
        async with serving(readiness=lambda: readiness) as address:
            answer = await exchange(address, f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head or request.startswith("HEAD")
        assert b"Connection: close" in head
        return head.split(b"\r\n")[0].decode(), body

    return asyncio.run(check())


def test_its_paths() -> None:
    status, body = asked("GET /metrics?x=1")
    assert (status, parsed(body)) == ("HTTP/1.1 200 OK", {("g", ""): 1})
    assert asked("HEAD /metrics") == ("HTTP/1.1 200 OK", b"")
    assert asked("GET /healthz") == ("HTTP/1.1 200 OK", b"ok\n")
    assert asked("GET /readyz") == ("HTTP/1.1 200 OK", b"ready\n")
    assert asked("GET /readyz", "the disk is full") == ("HTTP/1.1 503 Service Unavailable", b"the disk is full\n")
    assert asked("POST /metrics")[0] == "HTTP/1.1 405 Method Not Allowed"
    assert asked("GET /") == ("HTTP/1.1 404 Not Found", b"nothing here; try /metrics /healthz /readyz\n")
    assert asked("\x00\xff")[0] == "HTTP/1.1 404 Not Found"


def test_a_head_that_is_too_long_and_one_that_never_ends_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with serving() as address:
            assert await exchange(address, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n") == b""
            with monkeypatch.context() as impatient:
                impatient.setattr(metrics, "EXCHANGE_S", 0.2)
                assert await exchange(address, b"GET /metrics HTTP/1.1\r\n") == b"", "not waited for for ever"
            assert b" 200 " in await exchange(address, b"GET /metrics HTTP/1.1\r\n\r\n"), "others are served on"

    asyncio.run(check())


def test_peers_beyond_the_bound_are_closed_and_the_place_of_one_that_left_is_free_again() -> None:
    async def check() -> None:
        async with serving() as address:
            waiting = [await asyncio.open_connection(address.host, address.port) for _ in range(metrics.MAX_PEERS)]
            assert await exchange(address, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
            for _, writer in waiting:
                writer.close()
            async with asyncio.timeout(20):
                while b" 200 " not in await exchange(address, b"GET /metrics HTTP/1.1\r\n\r\n"):
                    pass

    asyncio.run(check())


def test_a_taken_port_is_one_clear_line() -> None:
    async def check() -> None:
        async with serving() as address:
            with pytest.raises(UsageError, match=f"--metrics {address}: already in use"):
                await MetricsServer(TABLE, dict, lambda: None).bind("--metrics", address)

    asyncio.run(check())
