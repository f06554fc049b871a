"""Acknowledged ingest over a real socket, down the real road: each batch has one answer, and an id counts once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
import zmq

from execgate.wire.topics import TopicTemplate
from execgate.wire.update import Update
from publisher.core.sequencer import Sequencer
from publisher.journal.memory import MemoryJournal
from publisher.log import Entry, Retention
from publisher.refusals import Refusals
from publisher.road import Road
from publisher.sources import acknowledged
from publisher.sources.acknowledged import MAX_BATCH_ID_BYTES, AcknowledgedSource

EPOCH = "0000000000000007"
QQQ = {"symbol": "QQQ", "price": 1}
Context = zmq.Context["zmq.Socket[bytes]"]


class Journal(MemoryJournal):
    """Keeps nothing while it is `held`, and has room for `places` entries meanwhile."""

    def __init__(self, places: int) -> None:
        super().__init__(7, Retention(max_updates=100_000, max_bytes=1 << 30, max_age_s=None, max_keys=10))
        self.places = places
        self.held: list[Entry] | None = None

    def append(self, entry: Entry) -> None:
        if self.held is None:
            super().append(entry)
        else:
            self.held.append(entry)

    async def room(self) -> None:
        while self.held is not None and len(self.held) >= self.places:
            await asyncio.sleep(0.001)

    def let_go(self) -> None:
        held, self.held = self.held or [], None
        for entry in held:
            super().append(entry)


class Nobody:
    """A feed."""

    def send(self, update: Update) -> None:
        """Nobody listens."""

    def take_subscriptions(self) -> None:
        """Nobody comes."""


class Scene:
    """A source with the road behind it, and one producer."""

    def __init__(self, context: Context, places: int = 100) -> None:
        self._context = context
        self.journal = Journal(places)
        self.refusals = Refusals()
        template = TopicTemplate("ex.{symbol}.")
        self.road = Road(Sequencer(7, template), self.journal, Nobody(), self.refusals, None)
        self.source = AcknowledgedSource(context, self.refusals, lambda: self.journal.trouble)
        self.endpoint = self.source.bind("tcp://127.0.0.1:0")
        self.producer = self.connect()

    def connect(self) -> "zmq.Socket[bytes]":
        producer = self._context.socket(zmq.DEALER)
        producer.setsockopt(zmq.LINGER, 0)
        producer.setsockopt(zmq.SNDHWM, 0)
        producer.setsockopt(zmq.RCVHWM, 0)
        producer.connect(self.endpoint)
        return producer

    def send(self, batch_id: bytes, execs: object) -> None:
        self.producer.send_multipart([batch_id, json.dumps(execs).encode()])

    async def answer(self, producer: "zmq.Socket[bytes] | None" = None) -> tuple[bytes, bytes, dict[str, Any]]:
        async with asyncio.timeout(10):
            while True:
                try:
                    batch_id, verb, text = (producer or self.producer).recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    await asyncio.sleep(0.001)
                    continue
                return batch_id, verb, json.loads(text)

    async def pump(self) -> None:
        """As `app` does."""
        async for batch in self.source.batches():
            await self.road.publish(self.source, batch)


def play(context: Context, steps: Callable[[Scene], Awaitable[None]], places: int = 100) -> None:
    async def scene() -> None:
        made = Scene(context, places)
        pumping = asyncio.create_task(made.pump())
        try:
            await steps(made)
        finally:
            pumping.cancel()
            await asyncio.gather(pumping, return_exceptions=True)
            made.source.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


def test_a_batch_is_answered_with_its_range_when_it_is_kept(context: Context) -> None:
    async def steps(scene: Scene) -> None:
        scene.journal.held = []
        scene.send(b"a", [QQQ, QQQ, {"symbol": "SPY"}])
        scene.send(b"", QQQ)
        while len(scene.journal.held) < 2:
            await asyncio.sleep(0.001)
        assert not scene.producer.poll(20), "answered before it was kept"
        scene.journal.let_go()
        assert await scene.answer() == (b"a", b"OK", {"epoch": EPOCH, "first": 1, "last": 2})
        assert await scene.answer() == (b"", b"OK", {"epoch": EPOCH, "first": 3, "last": 3})
        assert b'"price": 1' in scene.journal.read(3, 3, 1000)[0].payload

    play(context, steps)


def test_a_batch_that_is_sent_again_is_kept_once_and_answered_each_time(context: Context) -> None:
    async def steps(scene: Scene) -> None:
        scene.send(b"a", QQQ)
        first = await scene.answer()
        scene.send(b"a", QQQ)
        assert await scene.answer() == first
        scene.journal.held = []
        scene.send(b"b", QQQ)
        other = scene.connect()  # the producer came back, before the first one is kept
        while not scene.journal.held:
            await asyncio.sleep(0.001)
        other.send_multipart([b"b", json.dumps(QQQ).encode()])
        await asyncio.sleep(0.05)
        scene.journal.let_go()
        second = (b"b", b"OK", {"epoch": EPOCH, "first": 2, "last": 2})
        assert await scene.answer() == await scene.answer(other) == second
        for _ in range(2):  # without an id each is one
            scene.send(b"", QQQ)
            await scene.answer()
        assert scene.journal.ceiling == 4

    play(context, steps)


@pytest.mark.parametrize(
    ("frames", "batch_id", "reason"),
    [
        ([b"a", b"{}"], b"a", "symbol is missing: expected text that is not empty"),
        ([b"a", b"\xff"], b"a", "byte 0 is 0xff: expected UTF-8"),
        ([b"a"], b"a", "message has 1 frames: expected [batch id, payload]"),
        ([b"a", b"b", b"{}"], b"a", "message has 3 frames: expected [batch id, payload]"),
        ([b"x" * 129, b"{}"], b"x" * 128, "batch id of 129 bytes: expected at most 128"),
        ([b"a", b'{"symbol":"%s"}' % (b"x" * 300)], b"a", "topic"),
        ([b"a", b'{"%s":' % (b"x" * 10_000)], b"a", "not JSON"),
    ],
)
def test_a_wrong_batch_is_refused_with_its_reason_and_the_next_is_taken(
    context: Context, frames: list[bytes], batch_id: bytes, reason: str
) -> None:
    async def steps(scene: Scene) -> None:
        scene.producer.send_multipart(frames)
        got_id, verb, fields = await scene.answer()
        assert (got_id, verb) == (batch_id, b"REFUSED")
        assert fields["reason"].startswith(reason)
        assert len(fields["reason"]) <= 300
        assert scene.refusals.counts["ingest-ack"] == 1
        scene.send(b"x" * MAX_BATCH_ID_BYTES, QQQ)
        assert (await scene.answer())[1:] == (b"OK", {"epoch": EPOCH, "first": 1, "last": 1})

    play(context, steps)


def test_when_too_much_waits_the_next_is_told_so_and_can_be_sent_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledged, "MAX_WAITING", 10)

    async def steps(scene: Scene) -> None:
        scene.journal.held = []
        for number in range(13):
            scene.send(b"%d" % number, QQQ)
        busy = [await scene.answer() for _ in range(3)]
        assert [(batch_id, verb) for batch_id, verb, _ in busy] == [(b"%d" % n, b"BUSY") for n in (10, 11, 12)]
        assert busy[0][2]["reason"].startswith("10 batches of ")
        scene.journal.trouble = "disk full"
        scene.send(b"10", QQQ)
        assert await scene.answer() == (b"10", b"BUSY", {"reason": "disk full"})
        scene.journal.let_go()
        assert [(await scene.answer())[2]["last"] for _ in range(10)] == list(range(1, 11))
        scene.send(b"10", QQQ)
        assert await scene.answer() == (b"10", b"OK", {"epoch": EPOCH, "first": 11, "last": 11})

    play(context, steps, places=4)  # the road is stuck on the fifth


def test_what_waits_is_bounded_in_bytes_too(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledged, "MAX_WAITING_BYTES", 1000)

    async def steps(scene: Scene) -> None:
        scene.journal.held = []
        scene.send(b"a", {**QQQ, "note": "x" * 700})
        scene.send(b"b", {**QQQ, "note": "x" * 700})
        assert (await scene.answer())[:2] == (b"b", b"BUSY")
        scene.journal.let_go()
        assert (await scene.answer())[:2] == (b"a", b"OK")
        scene.send(b"b", {**QQQ, "note": "x" * 700})
        assert (await scene.answer())[:2] == (b"b", b"OK")

    play(context, steps)


def test_the_order_of_a_producer_is_kept_and_thousands_are_answered(context: Context) -> None:
    async def steps(scene: Scene) -> None:
        for number in range(5000):
            scene.send(b"%d" % number, QQQ)
        ranges: dict[int, int] = {}
        for _ in range(5000):
            batch_id, verb, fields = await scene.answer()
            assert verb == b"OK", "nothing waits when the journal keeps up"
            ranges[int(batch_id)] = fields["first"]
        assert [ranges[number] for number in range(5000)] == list(range(1, 5001))

    play(context, steps)


def test_who_does_not_take_its_answers_loses_them_and_holds_nobody_up(context: Context) -> None:
    async def steps(scene: Scene) -> None:
        mute = scene.connect()
        for number in range(3000):
            mute.send_multipart([b"%d" % number, json.dumps(QQQ).encode()])
        gone = scene.connect()
        gone.send_multipart([b"g", json.dumps(QQQ).encode()])
        gone.close()
        scene.send(b"a", QQQ)
        assert (await scene.answer())[:2] == (b"a", b"OK")

    play(context, steps)
