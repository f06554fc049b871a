"""The feed: who has come and gone, and what they were sent, over a real socket in this process."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import zmq

from execgate.wire.update import Kind, Update, decode, encode
from publisher.feed import MAX_SUBSCRIPTION_BYTES, MAX_SUBSCRIPTIONS, Feed
from tests.harness import until

UPDATE = Update(Kind.DATA, b"ex.A.", 7, 1, 1, 5, b"K", b"{}")


def with_feed(
    context: "zmq.Context[zmq.Socket[bytes]]",
    scenario: Callable[[Feed, str, list[int]], Awaitable[None]],
    zmq_hwm: int = 1000,
    bind: str = "tcp://127.0.0.1:0",
) -> None:
    async def main() -> None:
        greeted: list[int] = []
        feed = Feed(context, zmq_hwm, lambda: greeted.append(feed.subscriptions))
        try:
            await scenario(feed, feed.bind(bind), greeted)
        finally:
            feed.close()

    asyncio.run(main())


def subscribe(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVTIMEO, 10_000)
    socket.subscribe(b"")
    socket.connect(endpoint)
    return socket


def test_subscriptions_are_counted_as_they_come_and_go(context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    async def scenario(feed: Feed, endpoint: str, greeted: list[int]) -> None:
        waiting = asyncio.ensure_future(feed.wait_for_subscriptions(2))
        first = subscribe(context, endpoint)
        await until(lambda: feed.subscriptions == 1)
        first.close()
        await until(lambda: feed.subscriptions == 0)
        assert not waiting.done()
        sockets = [subscribe(context, endpoint) for _ in range(2)]  # the second of the same topic is seen too
        await until(waiting.done)
        assert feed.subscriptions == 2
        await until(lambda: greeted[-1] == 2)
        assert greeted[0] == 1
        for socket in sockets:
            socket.close()

    with_feed(context, scenario)


def test_a_subscription_that_comes_while_sending_is_seen(context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    """A send may take the event off the descriptor; `take_subscriptions` after it looks again."""

    async def scenario(feed: Feed, endpoint: str, greeted: list[int]) -> None:
        socket = subscribe(context, endpoint)
        while feed.subscriptions == 0:  # the loop never gets to look at the descriptor
            feed.send(UPDATE)
            feed.take_subscriptions()
        await asyncio.sleep(0)
        assert greeted == [1]
        feed.send(UPDATE)
        assert decode(socket.recv_multipart()) == UPDATE
        socket.close()

    with_feed(context, scenario)


def test_a_subscription_that_is_too_long_ends_its_connection_alone(
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> None:
    async def scenario(feed: Feed, endpoint: str, greeted: list[int]) -> None:
        good = subscribe(context, endpoint)
        await until(lambda: feed.subscriptions == 1)
        hostile = context.socket(zmq.SUB)
        watch = hostile.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        hostile.connect(endpoint)
        hostile.subscribe(b"x" * (MAX_SUBSCRIPTION_BYTES + 1))
        await until(lambda: bool(watch.poll(0)))
        assert feed.subscriptions == 1
        feed.send(UPDATE)
        assert good.recv_multipart() == encode(UPDATE)
        hostile.disable_monitor()
        hostile.close()
        good.close()

    with_feed(context, scenario)


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_too_many_subscriptions_end_their_connection_alone(
    context: "zmq.Context[zmq.Socket[bytes]]", scheme: str, tmp_path: Path
) -> None:
    async def scenario(feed: Feed, endpoint: str, greeted: list[int]) -> None:
        good = subscribe(context, endpoint)
        await until(lambda: feed.subscriptions == 1)
        some = context.socket(zmq.SUB)
        for number in range(MAX_SUBSCRIPTIONS):
            some.subscribe(b"some%d" % number)
        watch = some.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        some.connect(endpoint)
        await until(lambda: feed.subscriptions == 1 + MAX_SUBSCRIPTIONS)
        hostile = context.socket(zmq.XSUB)
        hostile.setsockopt(zmq.SNDHWM, 0)
        hostile.setsockopt(zmq.RECONNECT_IVL, -1)
        hostile_watch = hostile.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        hostile.connect(endpoint)
        most = 0
        for number in range(20_000):
            hostile.send(b"\x01" + b"junk%d" % number)
            if number % 100 == 0:
                most = max(most, feed.subscriptions)
                await asyncio.sleep(0)
        await until(lambda: bool(hostile_watch.poll(0)))
        await until(lambda: feed.subscriptions == 1 + MAX_SUBSCRIPTIONS)
        assert most < 10_000
        assert not watch.poll(0), "as many as are allowed"
        feed.send(UPDATE)
        assert good.recv_multipart() == encode(UPDATE)
        for each in (some, hostile):
            each.disable_monitor()
        for each in (some, hostile, good):
            each.close()

    with_feed(context, scenario, bind="tcp://127.0.0.1:0" if scheme == "tcp" else f"ipc://{tmp_path}/feed")


def test_who_takes_its_subscriptions_back_may_have_others(context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    async def scenario(feed: Feed, endpoint: str, greeted: list[int]) -> None:
        one = subscribe(context, endpoint)
        watch = one.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        await until(lambda: feed.subscriptions == 1)
        for number in range(5 * MAX_SUBSCRIPTIONS):
            one.subscribe(b"%d" % number)
            one.unsubscribe(b"%d" % number)
        one.subscribe(b"last")
        await until(lambda: feed.subscriptions == 2)
        assert not watch.poll(0)
        one.disable_monitor()
        one.close()

    with_feed(context, scenario)


def test_a_stuck_subscriber_never_blocks_a_send(context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    async def scenario(feed: Feed, endpoint: str, greeted: list[int]) -> None:
        stuck = context.socket(zmq.SUB)
        stuck.setsockopt(zmq.RCVHWM, 1)
        stuck.subscribe(b"")
        stuck.connect(endpoint)
        await until(lambda: feed.subscriptions == 1)
        for _ in range(3000):
            feed.send(UPDATE._replace(payload=b"x" * 10_000))
        stuck.close()

    with_feed(context, scenario, zmq_hwm=10)
