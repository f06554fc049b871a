"""SIGTERM: clients are told, then closed, and the process ends in time whatever they do."""

import signal
import time
from contextlib import ExitStack

import pytest

from gateway.core.drain import longest_s
from tests.clients import handshake_request, open_socket, open_tcp
from tests.harness import wait_until
from tests.rig import gateway as run_gateway
from tests.rig import scripted
from tests.scripted_publisher import ScriptedPublisher

WAITING = 120
"""More than are accepted in the few turns of the loop until a listener closes that nobody empties first."""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_clients_are_told_then_closed_with_1012_at_the_deadline_and_the_exit_is_0(signum: int) -> None:
    with scripted("--drain-s", "0.4") as (gateway, feed), gateway.client() as client:
        client.subscribe()
        gateway.process.send_signal(signum)
        began = time.monotonic()
        assert client.receive_event("drain")["data"] == {"after_ms": 100}
        feed.update()  # served to the last
        assert client.seqs(1) == [1]
        assert client.close_code() == 1012
        assert time.monotonic() - began >= 0.1
        assert gateway.process.wait(5.0) == 0
        assert "stopped delivered=1 drained=1 unaccepted=0" in gateway.process.words()


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
            assert gateway.process.wait() == 0
            assert time.monotonic() - began < longest_s(0.0, 0.2) + 2.0


def test_it_ends_early_when_all_clients_have_left_and_meanwhile_takes_no_new_ones() -> None:
    with scripted("--drain-s", "60") as (gateway, _):
        with gateway.client() as client:
            gateway.process.send_signal(signal.SIGTERM)
            client.receive_event("drain")
            with pytest.raises(ConnectionRefusedError):
                open_socket(gateway.address)
            assert gateway.process.popen.poll() is None  # a client that stays holds it where the deadline is far
        assert gateway.process.wait(5.0) == 0


def test_clients_are_told_one_after_the_other_and_closed_before_the_last_are_told() -> None:
    with scripted("--drain-s", "1.2") as (gateway, _), ExitStack() as stack:
        clients = [stack.enter_context(gateway.raw()) for _ in range(5)]
        gateway.wait_for_stats("all are there", connections=5)
        gateway.process.send_signal(signal.SIGTERM)
        assert clients[-1].receive_event("drain")["data"] == {"after_ms": 300}
        # What the gateway sent before that is here: the first had 0.3 s, the last was told 0.72 s after it.
        messages, code = clients[0].until_closed(timeout_s=0.0)
        assert ([message["event"] for message in messages], code) == (["hello", "drain"], 1012)
        assert [client.close_code() for client in clients[1:]] == [1012] * 4
        assert gateway.process.wait() == 0
        gateway.process.wait_for("stopped delivered=0 drained=5 unaccepted=0")


def test_in_its_lead_it_is_red_and_serves_on_and_a_second_signal_ends_it_at_once() -> None:
    with scripted("--drain-lead-s", "600", "--drain-s", "600") as (gateway, feed), gateway.client() as early:
        early.subscribe()
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: gateway.get("/readyz")[0] == 503, "red")
        assert gateway.stats()["ready"] is False
        with gateway.client() as late:
            late.subscribe()
            feed.update()
            assert early.seqs(1) == late.seqs(1) == [1]
            gateway.process.send_signal(signal.SIGINT)  # as Ctrl-C beside a SIGTERM: no second one
            assert gateway.get("/readyz")[0] == 503
            gateway.process.send_signal(signal.SIGTERM)
            assert (early.close_code(), late.close_code()) == (1006, 1006)
        assert gateway.process.wait() == 0
        gateway.process.wait_for("told a second time to end, and not drained connections=2")


def test_who_waits_in_the_listeners_queue_is_served_and_told_to_leave() -> None:
    with scripted("--drain-s", "0.4") as (gateway, _), ExitStack() as stack:
        gateway.process.send_signal(signal.SIGSTOP)
        waiting = [stack.enter_context(open_tcp(gateway.address)) for _ in range(WAITING)]
        for sock in waiting:
            sock.sendall(handshake_request(gateway.address))
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.send_signal(signal.SIGCONT)
        for sock in waiting:
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
                if b"the gateway stops" in answer:
                    break
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert b'"drain"' in answer
            sock.close()  # before the process' end: nobody answers its close frame
        assert gateway.process.wait() == 0
        gateway.process.wait_for(f"stopped delivered=0 drained={WAITING} unaccepted=0")


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
