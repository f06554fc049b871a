"""The life of a client over a scripted library: attempts, back-off, giving up, taking turns, and its messages."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from execgate.measure.classic import ClassicMetrics
from execgate.measure.histogram import Histogram
from execgate.wire.events import PLAIN, encode_event
from loadgen.client import Closed, Listener
from loadgen.core import backoff
from loadgen.core.backoff import MAX_ATTEMPTS
from loadgen.core.orders import OrderBook
from loadgen.core.target import Target
from loadgen.crowd import Crowd
from loadgen.order_client import OrderClient, OrderSender
from loadgen.subscriber import Subscriber, data_bytes_of

TARGETS = [Target("127.0.0.1", 1, "/a"), Target("127.0.0.1", 2, "/b")]


class Script:
    """A client library and its connection in one; `answer` says what becomes of an attempt."""

    def __init__(self, answer: Callable[["Script", Listener], None]) -> None:
        self.answer = answer
        self.attempts: list[Target] = []
        self.sent: list[dict[str, Any]] = []
        self.listener: Listener | None = None
        self.pauses: list[bool] = []

    def connect(self, target: Target, listener: Listener, subprotocol: str | None) -> None:
        self.attempts.append(target)
        self.listener = listener
        self.answer(self, listener)

    def send_text(self, payload: bytes) -> None:
        self.sent.append(json.loads(payload)["data"])

    def abort(self) -> None:
        assert self.listener is not None
        asyncio.get_running_loop().call_soon(self.listener.on_close, Closed(1006))

    def pause(self, paused: bool) -> None:
        self.pauses.append(paused)

    def close(self) -> None:
        assert self.listener is not None
        listener = self.listener
        asyncio.get_running_loop().call_soon(listener.on_close, Closed(1000))


class Library:
    """`client.Connector` over a script."""

    def __init__(self, script: Script) -> None:
        self.connect = script.connect
        self.unread_us = Histogram()

    async def close(self) -> None:
        pass


def opens(script: Script, listener: Listener) -> None:
    listener.on_open(script)


def fails(script: Script, listener: Listener) -> None:
    listener.on_failed("refused", "Connection refused")


def run(script: Script, play: Callable[[Crowd], Coroutine[Any, Any, None]]) -> Crowd:
    async def main() -> Crowd:
        metrics, book = ClassicMetrics(2), OrderBook(10**9)
        crowd = Crowd(TARGETS, Library(script), Random(1), metrics, book)
        await play(crowd)
        await crowd.close()
        return crowd

    return asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_DELAY_S", 0.001)


def test_a_client_tries_five_times_more_and_gives_up() -> None:
    script = Script(fails)

    async def play(crowd: Crowd) -> None:
        crowd.add(Subscriber(crowd, 0))
        await until(lambda: crowd.all_given_up)
        record = crowd.take_record()
        assert record["errors"] == {"connect refused": 1 + MAX_ATTEMPTS}
        assert (record["given_up"], record["connects"]) == (1, 0)

    crowd = run(script, play)
    assert len(script.attempts) == 1 + MAX_ATTEMPTS
    assert script.attempts[:3] == [TARGETS[0], TARGETS[1], TARGETS[0]], "attempts take turns at the targets"
    assert crowd.failures == {"Connection refused": 6}
    assert not crowd.ever_connected


def test_a_client_that_was_connected_has_all_its_attempts_again() -> None:
    def closes_at_once(script: Script, listener: Listener) -> None:
        listener.on_open(script)
        if len(script.attempts) <= 2 * MAX_ATTEMPTS:
            listener.on_close(Closed(1012, "restart"))

    script = Script(closes_at_once)

    async def play(crowd: Crowd) -> None:
        crowd.add(Subscriber(crowd, 0))
        await until(lambda: crowd.recorder.connected)
        record = crowd.take_record()
        assert record["errors"] == {"closed 1012": 2 * MAX_ATTEMPTS}
        assert (record["connects"], record["disconnects"]) == (2 * MAX_ATTEMPTS + 1, 2 * MAX_ATTEMPTS)

    run(script, play)


def test_who_lost_a_server_tries_the_next_one_first() -> None:
    def closes_at_once(script: Script, listener: Listener) -> None:
        listener.on_open(script)
        if len(script.attempts) < 4:
            listener.on_close(Closed(1006))

    script = Script(closes_at_once)

    async def play(crowd: Crowd) -> None:
        crowd.add(Subscriber(crowd, 0))
        await until(lambda: crowd.recorder.connected)

    run(script, play)
    assert script.attempts == [*TARGETS, *TARGETS]


def test_a_client_with_a_position_comes_back_with_the_subprotocol_and_asks_once_it_is_greeted() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        member = Subscriber(crowd, 0)
        crowd.add(member)
        listener = script.listener
        assert listener is not None

        def hear(event: str, **data: Any) -> None:
            listener.on_text(encode_event(event, data).decode(), 0, 0)

        hear("hello", address="a:1", session="g-1")
        listener.on_close(Closed(1006))
        assert member.subprotocol is None, "it has no position"
        await until(lambda: len(script.attempts) == 2)
        hear("hello", address="a:2", session="g-2")
        assert script.sent == []
        hear("subscribed", epoch="aa", seq=5, recovered=False, gap=None)
        hear("gap", **{"from": 6, "to": 8})
        listener.on_close(Closed(1006))
        assert member.subprotocol == "execgate.1"
        await until(lambda: len(script.attempts) == 3)
        hear("hello", address="a:3", session="g-3")
        assert script.sent == [{"since": {"epoch": "aa", "seq": 8}}]
        hear("heartbeat", epoch="aa", seq=20)  # of the gateway's position, nothing was said of ours
        hear("subscribed", epoch="aa", seq=10, recovered=True, gap=None)
        record = crowd.take_record()
        assert (record["resumes"], record["recovered"]) == (1, 1)
        assert (record["missing"], record["told_missing"]) == (2, 3), "9 and 10 are owed, whatever it says"

    run(script, play)


def test_nobody_comes_back_once_the_crowd_is_stopping() -> None:
    script = Script(fails)

    async def play(crowd: Crowd) -> None:
        crowd.add(Subscriber(crowd, 0))
        crowd.stop_sending()
        await asyncio.sleep(0.01)  # longer than the delay that was cancelled

    run(script, play)
    assert len(script.attempts) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "{", '{"event":"receive-execs"}', '{"event":"receive-execs","data":null}', '{"data":{}}',
     '{"event":"receive-execs","data":{"timestamp":1,"epoch":"a","seq":"x"}}', '{"event":"heartbeat","data":[]}',
     '{"event":"gap","data":{"from":"x","to":2}}', '{"event":[],"data":1}'],
)  # fmt: skip
def test_a_bad_message_is_counted_and_the_client_lives(text: str) -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        crowd.add(Subscriber(crowd, 0))
        assert script.listener is not None
        script.listener.on_text(text, 0, 0)
        wrong = sum(crowd.take_record()["errors"].values())
        assert wrong == (text != '{"event":[],"data":1}'), "an unknown event is no error"
        script.listener.on_text(PLAIN.frame(b'{"timestamp":1,"epoch":"a","seq":1}')[2:].decode(), 0, 0)
        assert crowd.take_record()["delivered"] == 1

    run(script, play)


def test_the_size_is_that_of_the_data_as_it_was_received() -> None:
    data = b'{"request":1,"execs":[{"price":100.10}]}'
    text = (PLAIN.prefix + data + PLAIN.suffix).decode()
    assert data_bytes_of(text, json.loads(data)) == len(data)
    accented = '{"name":"é"}'
    assert data_bytes_of(PLAIN.prefix.decode() + accented + "}", json.loads(accented)) == len(accented) + 1
    assert data_bytes_of('{"data": {"a": 1}, "event": "receive-execs"}', {"a": 1}) == len('{"a":1}')


def test_an_order_is_the_one_of_2012() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        crowd.add(OrderClient(crowd, 0, max_rows=3))
        assert script.listener is not None
        script.listener.on_text(encode_event("hello", {"address": "1.2.3.4:5"}).decode(), 0, 0)
        await until(lambda: len(script.sent) == 2)

    run(script, play)
    for number, order in enumerate(script.sent, 1):
        assert (order["request"], order["address"]) == (number, "1.2.3.4:5")
        assert 1 <= order["rows"] == len(order["execs"]) <= 3
        assert [row["sequence"] for row in order["execs"]] == list(range(order["rows"]))
        assert isinstance(order["timestamp"], int)


def test_an_order_that_is_due_while_nobody_is_connected_is_unsent_and_never_sent_later() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        crowd.add(OrderClient(crowd, 0, max_rows=1))
        assert script.listener is not None
        script.answer = lambda _script, _listener: None  # connecting, for ever
        script.listener.on_close(Closed(1006))
        await until(lambda: crowd.recorder.orders_unsent == 2)
        assert crowd.book.sent == 0
        opens(script, script.listener)
        await until(lambda: script.sent)
        assert (len(script.sent), crowd.recorder.orders_unsent) == (1, 2)

    run(script, play)


def test_the_wait_of_an_order_that_could_not_be_sent_in_time_is_in_its_response_time() -> None:
    script = Script(opens)

    async def play(crowd: Crowd) -> None:
        sender = OrderSender(crowd, 0, max_rows=1)
        crowd.add(sender)
        sender.send_order(time.monotonic_ns() - 250_000_000)
        order = script.sent[0]
        answer = {"request": order["request"], "timestamp": order["timestamp"], "status": "accepted"}
        sender.on_text(encode_event("order-response", answer).decode(), time.monotonic_ns(), 0)
        service, response = crowd.recorder.service.upper, crowd.recorder.response.upper
        assert service.count == response.count == 1
        service_us, response_us = service.percentile(100), response.percentile(100)
        assert (response_us or 0) - (service_us or 0) >= 249_000

    run(script, play)
