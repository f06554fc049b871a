"""When a ZeroMQ socket is read: nothing that came is left lying, though its descriptor tells once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop
import zmq

from execgate.service.zmq_reader import ZmqReader


class Scene:
    """A PULL that is read a message at a time, and the PUSH that sends to it."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.pull = self.context.socket(zmq.PULL)
        self.pull.bind("inproc://scene")
        self.push = self.context.socket(zmq.PUSH)
        self.push.connect("inproc://scene")
        self.calls = 0
        self.came: list[bytes] = []

    def send(self, count: int) -> None:
        for _ in range(count):
            self.push.send(b"x")

    def read(self) -> ZmqReader:
        self.reader = ZmqReader(self.pull, self._take_one)
        return self.reader

    def _take_one(self) -> None:
        self.calls += 1
        try:
            self.came.append(self.pull.recv(zmq.NOBLOCK))
        except zmq.Again:
            return
        self.reader.soon()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.came) < count:
                await asyncio.sleep(0)


def play(steps: Callable[[Scene], Awaitable[None]]) -> None:
    async def scene() -> None:
        made = Scene()
        try:
            await steps(made)
        finally:
            made.reader.close()
            made.context.destroy(linger=0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


@pytest.mark.parametrize("look", [False, True])
def test_what_came_before_the_reader_or_a_look_that_took_the_event_is_read(look: bool) -> None:
    async def steps(scene: Scene) -> None:
        scene.send(5)
        if look:
            assert scene.pull.getsockopt(zmq.EVENTS)
        scene.read()
        await scene.until(5)
        for count in range(6, 12):
            scene.send(1)
            await scene.until(count)

    play(steps)


def test_it_is_read_from_the_loop_and_once_however_often_that_is_asked_for() -> None:
    async def steps(scene: Scene) -> None:
        reader = scene.read()
        for _ in range(5):
            reader.soon()
        assert scene.calls == 0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert scene.calls == 1

    play(steps)


def test_after_its_close_nothing_is_read() -> None:
    async def steps(scene: Scene) -> None:
        reader = scene.read()
        scene.send(1)
        await scene.until(1)
        reader.soon()
        reader.close()
        calls = scene.calls
        scene.send(3)
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert scene.calls == calls

    play(steps)
