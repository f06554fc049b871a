"""The supervisor's own part: the port it holds, the sum it serves, when it counts as ready, a worker's words."""

import asyncio
import os
import re
import signal
import socket
from typing import Any

import pytest

from execgate.measure.classic import SERVER_HEADING
from execgate.service.endpoints import TcpAddress
from execgate.service.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from execgate.service.lifecycle import Stop
from execgate.wire.errors import UsageError
from gateway import supervisor
from gateway.acceptor import bound_address, listen
from gateway.config import GatewayConfig
from gateway.supervisor import Supervisor, _hold_port, _Slot
from tests.unit.gateway.test_acceptor import open_descriptors

FREE = TcpAddress("127.0.0.1", 0)


@pytest.fixture
def parent() -> Any:
    made = Supervisor(GatewayConfig(listen=FREE, workers=2), ["--workers", "2", "--listen", "127.0.0.1:0"])
    yield made
    made._holder.close()


def test_a_taken_port_is_found_before_anything_starts() -> None:
    with listen("--listen", FREE, share_port=True) as other:
        address = bound_address(other)
        with pytest.raises(UsageError, match=rf"--listen {re.escape(str(address))}: already in use"):
            _hold_port(address, share_port=False)
        _hold_port(address, share_port=True).close()


def test_the_port_that_is_held_takes_workers_and_no_connections() -> None:
    with _hold_port(FREE, share_port=False) as holder:
        address = bound_address(holder)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.host, address.port))
        with listen("--listen", address, share_port=True), listen("--listen", address, share_port=True):
            socket.create_connection((address.host, address.port)).close()


def test_workers_get_the_flags_then_what_overrides_them(parent: Supervisor) -> None:
    arguments = parent._arguments
    assert arguments[:4] == ["--workers", "2", "--listen", "127.0.0.1:0"]
    assert arguments[4:] == ["--workers", "1", "--listen", str(parent._address), "--share-port"]
    assert parent._address.port > 0


def test_it_is_ready_while_one_worker_is(parent: Supervisor) -> None:
    assert parent._readiness()[0] is False
    parent._slots[0].figures = {"process": "gateway-1", "ready": False, "delivered": 3}
    assert parent._readiness()[0] is False
    parent._slots[1].figures = {"process": "gateway-2", "ready": True, "delivered": 4}
    is_ready, details = parent._readiness()
    assert is_ready
    assert [worker["ready"] for worker in details["workers"]] == [False, True]
    parent._slots[1].restarts = 2
    stats = parent.stats()
    assert (stats["ready"], stats["delivered"], stats["restarts"], len(stats["workers"])) == (True, 7, 2, 2)
    assert stats["process"].startswith("supervisor-")


def test_what_a_worker_had_counted_stays_in_the_sum_when_it_dies_and_what_it_was_does_not(
    parent: Supervisor,
) -> None:
    def delivered() -> tuple[float, float]:
        figures = parent.metrics()
        return figures["execgate_gateway_deliveries_total"], figures.get("execgate_gateway_connections", 0)

    slot, other = parent._slots
    for each, count in ((slot, 7), (other, 1)):
        metrics = {"execgate_gateway_deliveries_total": count, "execgate_gateway_connections": 2}
        each.report({"process": "gateway-1", "ready": True, "metrics": metrics})
    assert delivered() == (8, 4)
    assert "metrics" not in parent.stats()["workers"][0], "not in /stats"
    slot.bury()
    assert delivered() == (8, 2)
    slot.report({"process": "gateway-2", "ready": True, "metrics": {"execgate_gateway_deliveries_total": 5}})
    slot.bury()
    slot.bury()
    assert delivered() == (13, 2)


class Worker:
    """A process' output, as asyncio hands it over."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines

    @property
    def stdout(self) -> Any:
        async def lines() -> Any:
            for line in self._lines:
                yield f"{line}\n".encode()

        return lines()


def test_results_are_passed_on_with_one_heading_and_ready_lines_are_kept(
    parent: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    async def play() -> None:
        for slot in parent._slots:
            assert not slot.first_ready.is_set()
            worker: Any = Worker(SERVER_HEADING, "1,2,3", "execgate gateway ready pid=1 listen=x", "4,5,6")
            await parent._read_words(slot, worker)
            assert slot.first_ready.is_set()

    asyncio.run(play())
    assert capsys.readouterr().out.splitlines() == [SERVER_HEADING, "1,2,3", "4,5,6", "1,2,3", "4,5,6"]


def keep(
    parent: Supervisor, outcomes: list[int | Exception], monkeypatch: pytest.MonkeyPatch
) -> tuple[_Slot, Stop]:
    """Run the keeper of slot 0 over workers that end as `outcomes` say; then a stop is requested."""
    slot = parent._slots[0]
    monkeypatch.setattr(supervisor, "_FIRST_BACKOFF_S", 0.001)
    left = iter(outcomes)

    async def play() -> Stop:
        stop = Stop()

        async def run_once(slot: _Slot, stop: Stop) -> int:
            outcome = next(left, None)
            if outcome is None:
                stop.request()
                return EXIT_OK
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(parent, "_run_once", run_once)
        await asyncio.wait_for(parent._keep(slot, stop), 10)
        return stop

    return slot, asyncio.run(play())


def test_a_dead_worker_is_restarted_however_it_died(parent: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    slot, _ = keep(parent, [EXIT_FAILED, -9, EXIT_OK], monkeypatch)
    assert slot.restarts == 3
    assert parent._status == EXIT_OK


def test_a_bug_in_keeping_a_worker_is_logged_and_counts_as_its_death(
    parent: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slot, _ = keep(parent, [ValueError("a report that is no JSON"), EXIT_OK], monkeypatch)
    assert slot.restarts == 2
    assert "a report that is no JSON" in caplog.text


def test_a_worker_that_nobody_listens_to_any_more_is_put_down(parent: Supervisor) -> None:
    async def play() -> None:
        slot = parent._slots[0]
        slot.process = process = await asyncio.create_subprocess_exec("sleep", "60")
        slot.figures = {"ready": True}
        assert await parent._put_down(slot) == EXIT_FAILED
        assert [slot.process, slot.figures] == [None, None]
        assert process.returncode == -9
        assert await parent._put_down(slot) == EXIT_FAILED

    asyncio.run(play())


def test_a_worker_that_was_misused_ends_the_supervisor(
    parent: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot, stop = keep(parent, [EXIT_USAGE, EXIT_FAILED], monkeypatch)
    assert stop.requested
    assert (slot.restarts, parent._status) == (0, EXIT_USAGE)


def test_a_worker_that_cannot_be_started_counts_as_dead_and_leaks_nothing(
    parent: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no descriptor or process left the keeper itself used to end, and its slot stayed empty for good."""

    async def no_process(*arguments: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    async def play() -> None:
        before = open_descriptors()
        assert await parent._run_once(parent._slots[0], Stop()) == EXIT_FAILED
        assert open_descriptors() == before

    monkeypatch.setattr("asyncio.create_subprocess_exec", no_process)
    asyncio.run(play())


def test_a_worker_that_reports_nothing_for_long_is_killed_and_one_that_reports_is_not(
    parent: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "HUNG_S", 1.0)
    slot = parent._slots[0]
    reports = (
        'i=1; while [ $i -le 30 ]; do echo "{\\"ready\\": true, \\"seq\\": $i}"; sleep 0.05; i=$((i+1)); done'
    )

    async def play() -> int:
        reading, writing = os.pipe()
        process = await asyncio.create_subprocess_exec("sh", "-c", f"{reports}; exec sleep 60", stdout=writing)
        os.close(writing)
        await asyncio.wait_for(parent._read_reports(slot, process, reading), 20)
        return await process.wait()

    assert asyncio.run(play()) == -signal.SIGKILL
    assert slot.figures == {"ready": True, "seq": 30}  # it was heard for longer than that before
    assert "worker hangs worker=0" in caplog.text
