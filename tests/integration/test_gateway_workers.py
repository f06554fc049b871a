"""`--workers N`, `--share-port` and taken ports."""

import os
import resource
import signal
import socket
from contextlib import ExitStack

import psutil
import pytest

from execgate.measure.classic import SERVER_HEADING
from execgate.wire.update import Kind
from tests.clients import Client
from tests.harness import Process, has_ended, wait_until
from tests.rig import PATIENT, Gateway, gateway, get, scripted
from tests.scripted_publisher import ScriptedPublisher

ORDER = {"request": 1, "rows": 1, "timestamp": 1, "address": "a", "execs": [{"symbol": "Q"}]}


def clients_of_both(served: Gateway, stack: ExitStack) -> dict[str, Client]:
    """Connect until two workers have answered; return a subscribed client of each, by the worker's name."""
    found: dict[str, Client] = {}
    for _ in range(100):
        client = stack.enter_context(served.client())
        found.setdefault(client.receive()["data"]["gateway"], client)
        if len(found) == 2:
            for each in found.values():
                each.subscribe()
            return found
    raise AssertionError(f"one worker took all: {found}")


def test_both_workers_serve_the_port_and_the_supervisor_tells_their_sum() -> None:
    with scripted("--workers", "2", "--drain-s", "0.2") as (served, feed), ExitStack() as stack:
        clients = clients_of_both(served, stack)
        feed.updates(10)
        for client in clients.values():
            assert client.seqs(10) == list(range(1, 11))
            assert client.ask("order-request", ORDER)["data"]["status"] == "accepted"
        stats_address = served.facts["stats"]

        def summed_up() -> bool:
            stats = served.stats(stats_address)
            workers = stats["workers"]
            assert {worker["process"] for worker in workers} == set(clients)
            assert stats["delivered"] == sum(worker["delivered"] for worker in workers)
            return bool(
                (stats["delivered"], stats["orders"].get("accepted"), stats["feed"]["seq"]) == (20, 2, 10)
                and stats["subscribers"]["all"] == 2
            )

        wait_until(summed_up, "the sum of both")
        assert get(stats_address, "/readyz")[0] == 200
        assert get(stats_address, "/healthz")[0] == 200
        assert get(stats_address, "/")[0] == 404
        assert served.get("/stats")[0] == 200  # of the one worker that took the request
        assert served.process.stop() == 0


def test_a_killed_worker_is_logged_and_replaced_and_the_other_workers_clients_notice_nothing() -> None:
    with scripted("--workers", "2") as (served, feed), ExitStack() as stack:
        clients = clients_of_both(served, stack)
        victim, survivor = clients
        os.kill(int(victim.rpartition("-")[2]), signal.SIGKILL)
        assert clients[victim].close_code() == 1006
        served.process.wait_for(r"worker died worker=\d status=-9")
        feed.wait_for_gateways()
        feed.updates(5)
        assert clients[survivor].seqs(5) == [1, 2, 3, 4, 5]
        stats_address = served.facts["stats"]

        def replaced() -> bool:
            workers = served.stats(stats_address)["workers"]
            return len(workers) == 2 and all(worker["ready"] for worker in workers)

        wait_until(replaced, "a new worker is ready")
        assert victim not in {worker["process"] for worker in served.stats(stats_address)["workers"]}
        assert served.stats(stats_address)["restarts"] == 1
        again = clients_of_both(served, stack)
        assert survivor in again
        assert victim not in again
        for client in clients.values():
            client.connection.close_socket()


def test_a_supervisor_is_red_while_its_workers_drain_and_ends_at_once_when_told_again() -> None:
    with scripted("--workers", "2", "--drain-s", "600") as (served, _), ExitStack() as stack:
        clients = clients_of_both(served, stack)
        served.process.send_signal(signal.SIGTERM)
        for client in clients.values():
            client.receive_event("drain")
        assert get(served.facts["stats"], "/readyz")[0] == 503
        for name in clients:  # as systemd does, which tells every process of a unit
            os.kill(int(name.rpartition("-")[2]), signal.SIGTERM)
        for client in clients.values():  # that is no second time: it serves on
            assert client.ask("order-request", ORDER)["data"]["status"] == "accepted"
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait() == 0
        served.process.wait_for("workers killed which=told a second time to end")


def test_a_worker_that_cannot_be_started_is_tried_again_until_it_can() -> None:
    with scripted("--workers", "2") as (served, feed):
        supervisor = served.process.pid
        limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (psutil.Process(supervisor).num_fds(), limits[1]))
        psutil.Process(supervisor).children()[0].kill()
        served.process.wait_for("worker not started worker=. reason=.*Too many open files")
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
        feed.wait_for_gateways()
        assert len(psutil.Process(supervisor).children()) == 2


def test_a_killed_supervisor_leaves_no_worker_behind() -> None:
    with scripted("--workers", "2", "--drain-s", "0.2") as (served, _), served.client() as client:
        client.receive()
        workers = psutil.Process(served.process.pid).children()
        assert len(workers) == 2
        served.process.send_signal(signal.SIGKILL)
        assert client.receive_event("drain")["data"] == {"after_ms": 50}
        wait_until(lambda: all(map(has_ended, workers)), "the workers are gone")


def test_max_threads_in_the_environment_means_workers() -> None:
    with scripted(environment={"MAX_THREADS": "1"}) as (served, _):
        assert not psutil.Process(served.process.pid).children()
    with scripted("--workers", "2", environment={"MAX_THREADS": "3"}) as (served, _):
        assert served.facts["workers"] == "2"  # a flag wins

    with (
        ScriptedPublisher() as feed,
        gateway(feed.endpoint, *PATIENT, environment={"MAX_THREADS": "2"}, await_ready=False) as served,
    ):
        feed.wait_for_gateways(2)
        feed.say(Kind.HEARTBEAT)
        assert served.process.ready()["workers"] == "2"


def test_the_csv_of_two_workers_has_one_heading() -> None:
    with scripted("--workers", "2", "--csv", "--csv-interval-s", "0.2") as (served, _):
        wait_until(lambda: len(served.process.stdout) > 4, "lines of both")
        assert served.process.stdout[0] == SERVER_HEADING
        assert served.process.stdout.count(SERVER_HEADING) == 1
        assert len([line for line in served.process.stderr if " ready pid=" in line]) == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_reader_of_the_csv_that_goes_away_changes_nothing_for_the_gateway(workers: str) -> None:
    """`execgate gateway --csv | head -1`: what was printed is lost, and nothing else."""
    reading, writing = os.pipe()
    flags = ("--listen", "127.0.0.1:0", "--csv", "--csv-interval-s", "0.05", "--workers", workers)
    with ScriptedPublisher() as feed:
        process = Process("gateway", *flags, "--feed", feed.endpoint, stdout=writing)
        os.close(writing)
        try:
            feed.wait_for_gateways(int(workers))
            feed.say(Kind.HEARTBEAT)
            facts = process.ready()
            os.close(reading)
            process.wait_for("standard output is gone")
            for child in psutil.Process(process.pid).children():
                child.kill()
                process.wait_for(r"worker died worker=\d status=-9")
                feed.wait_for_gateways()
            assert get(facts["listen"], "/healthz")[0] == 200
            assert process.stop() == 0
            assert "Traceback" not in process.words()
            assert "Exception" not in process.words()
        finally:
            process.close()


def test_a_port_that_is_taken_gives_one_clear_line_and_exit_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flags in ((), ("--workers", "2"), ("--share-port",), ("--share-port", "--workers", "2")):
            process = Process("gateway", "--listen", f"127.0.0.1:{port}", *flags)
            try:
                assert process.wait() == 2
                assert len(process.stderr) == 1
                assert f"127.0.0.1:{port}: already in use" in process.stderr[0]
                assert not process.stdout
            finally:
                process.close()


def test_two_gateways_share_a_port_only_where_both_say_so() -> None:
    with scripted("--share-port") as (first, feed):
        arguments = ("gateway", "--listen", first.address, "--feed", feed.endpoint, *PATIENT)
        alone = Process(*arguments)
        try:
            assert alone.wait() == 2
            assert "already in use" in alone.words()
        finally:
            alone.close()

        with gateway(feed.endpoint, *PATIENT, "--share-port", listen=first.address, await_ready=False) as second:
            feed.wait_for_gateways()
            feed.say(Kind.HEARTBEAT)
            second.process.ready()
            with ExitStack() as stack:
                names = set(clients_of_both(first, stack))
            assert names == {f"gateway-{first.process.pid}", f"gateway-{second.process.pid}"}
            assert second.process.stop() == 0
            with first.client() as client:
                client.subscribe()


def test_a_taken_stats_port_gives_one_clear_line_and_leaves_no_worker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = Process(
            "gateway", "--listen", "127.0.0.1:0", "--workers", "2", "--stats-listen", f"127.0.0.1:{port}"
        )
        try:
            assert process.wait() == 2
            assert len(process.stderr) == 1
            assert f"--stats-listen 127.0.0.1:{port}: already in use" in process.stderr[0]
        finally:
            process.close()
