"""SIGTERM: clients are told, then closed, and the process ends in time whatever they do."""

import signal
import time

import pytest

from tests.clients import open_socket
from tests.harness import wait_until
from tests.rig import gateway as run_gateway
from tests.rig import scripted
from tests.scripted_publisher import ScriptedPublisher


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_clients_are_told_then_closed_with_1012_at_the_deadline_and_the_exit_is_0(signum: int) -> None:
    with scripted("--drain-s", "0.4") as (gateway, feed), gateway.client() as client:
        client.subscribe()
        gateway.process.send_signal(signum)
        began = time.monotonic()
        assert client.receive_event("drain")["data"] == {"after_ms": 400}
        feed.update()  # served to the last
        assert client.seqs(1) == [1]
        assert client.close_code() == 1012
        assert time.monotonic() - began > 0.35
        assert gateway.process.wait(5.0) == 0
        assert "stopped delivered=1" in gateway.process.words()


def test_it_ends_in_time_with_clients_that_never_answer_and_never_read() -> None:
    with scripted("--drain-s", "0.2", "--send-buffer-kib", "16", "--outbound-kib", "65536") as (gateway, feed):
        mute, stuck = gateway.raw(), gateway.raw(receive_buffer=4096)
        half = open_socket(gateway.address)
        with mute, stuck, half:
            half.sendall(b"GET /ws HTTP/1.1\r\n")
            stuck.send("subscribe-execs")
            stuck.receive_event("subscribed")
            feed.updates(200, padding=5000)
            gateway.wait_for_stats("it is stuck", feed__seq=200)
            began = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)
            messages, code = mute.until_closed()
            assert [message["event"] for message in messages] == ["hello", "drain"]
            assert code == 1012
            assert gateway.process.wait(6.0) == 0
            assert time.monotonic() - began < 4.0


def test_it_ends_early_when_all_clients_have_left_and_meanwhile_takes_no_new_ones() -> None:
    with scripted("--drain-s", "60") as (gateway, _):
        with gateway.client() as client:
            gateway.process.send_signal(signal.SIGTERM)
            client.receive_event("drain")
            with pytest.raises(ConnectionRefusedError):
                open_socket(gateway.address)
            assert gateway.process.popen.poll() is None  # a client that stays holds it where the deadline is far
        assert gateway.process.wait(5.0) == 0


def test_without_clients_it_ends_at_once() -> None:
    with scripted("--drain-s", "60") as (gateway, _):
        assert gateway.process.stop(timeout_s=5.0) == 0


def test_orders_are_still_answered_while_it_drains() -> None:
    order = {"request": 1, "rows": 1, "timestamp": 1, "address": "a", "execs": [{"symbol": "Q"}]}
    with scripted("--drain-s", "60") as (gateway, _):
        with gateway.client() as client:
            gateway.process.send_signal(signal.SIGTERM)
            client.receive_event("drain")
            assert client.ask("order-request", order)["data"]["status"] == "accepted"
        assert gateway.process.wait(5.0) == 0


def test_a_connection_that_is_kept_alive_hears_that_it_is_not_ready_any_more() -> None:
    with (
        scripted("--drain-s", "60") as (gateway, _),
        gateway.client() as client,
        open_socket(gateway.address) as sock,
    ):
        request = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
        sock.sendall(request)
        assert b" 200 " in sock.recv(65536)
        gateway.process.send_signal(signal.SIGTERM)
        client.receive_event("drain")
        sock.sendall(request)
        assert b" 503 " in sock.recv(65536)


def test_a_signal_before_the_feed_is_joined_ends_it_with_0() -> None:

    with ScriptedPublisher() as feed, run_gateway(feed.endpoint, await_ready=False) as gateway:
        assert gateway.process.stop(timeout_s=5.0) == 0
        wait_until(lambda: gateway.process.popen.poll() is not None, "ended")
