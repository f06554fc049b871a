"""The feed over a real ZeroMQ socket: what waits is drained, what is no update is counted, silence is not ours."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
import zmq

from execgate.wire.errors import UsageError
from execgate.wire.update import Kind, Update, encode
from gateway import feed as module
from gateway.core.stitcher import Stitcher
from gateway.counters import Counters
from gateway.fanout import Fanout, FeedState
from gateway.feed import DRAIN_MESSAGES, Feed
from gateway.recovery import Recovery

STALE_S = 0.3


class Scene:
    """A publisher's socket and a feed that has joined it."""

    def __init__(self, folder: Path) -> None:
        endpoint = f"ipc://{folder}/feed"
        self._context = zmq.Context()
        self._pub = self._context.socket(zmq.PUB)
        self._pub.set(zmq.LINGER, 0)
        self._pub.set(zmq.SNDHWM, 0)
        self._pub.bind(endpoint)
        self.counters = Counters()
        self.fanout = Fanout(self.counters, lambda: None, lambda member: None)
        self.feed = Feed(endpoint, 10_000, STALE_S, Recovery(self.fanout, None, Stitcher(1, 1)), self.fanout)
        self.seq = 0

    def say(self, kind: Kind) -> None:
        self.seq += kind is Kind.DATA
        self._pub.send_multipart(encode(Update(kind, b"a", 1, self.seq, self.seq, 0, b"", b"{}")))

    def send(self, *frames: bytes) -> None:
        self._pub.send_multipart(frames)

    async def until(self, condition: Callable[[], object], each: Callable[[], object] = lambda: None) -> None:
        deadline_s = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < deadline_s, "waited in vain"
            each()
            await asyncio.sleep(0.01)

    def close(self) -> None:
        self.feed.close()
        self._context.destroy(linger=0)


def play(folder: Path, steps: Callable[[Scene], Awaitable[None]]) -> None:
    async def scene() -> None:
        made = Scene(folder)
        made.feed.start()
        try:
            await made.until(lambda: made.fanout.state is FeedState.LIVE, lambda: made.say(Kind.HEARTBEAT))
            await steps(made)
        finally:
            made.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


def test_more_than_one_drain_holds_is_taken_whole_and_junk_is_counted(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        for _ in range(3 * DRAIN_MESSAGES):
            scene.say(Kind.DATA)
        scene.send(b"junk")
        scene.send(b"a", b"b", b"c", b"d")
        scene.say(Kind.DATA)
        await scene.until(lambda: scene.fanout.seq == 3 * DRAIN_MESSAGES + 1)
        assert scene.counters.upstream == {"updates": 3 * DRAIN_MESSAGES + 1, "malformed": 2}

    play(tmp_path, steps)


def test_who_gives_way_lets_the_feed_pass_within_a_turn_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(scene: Scene) -> None:
        scene.say(Kind.DATA)
        deadline_s = time.monotonic() + 5
        while scene.fanout.seq < 1:
            scene.fanout.give_way()
            assert time.monotonic() < deadline_s, "waited in vain"
        monkeypatch.setattr(module, "GIVE_WAY_S", 60.0)
        scene.say(Kind.DATA)
        assert scene.feed._socket.poll(5_000)
        scene.fanout.give_way()
        assert scene.fanout.seq == 1, "it was read just now"

    play(tmp_path, steps)


def test_nobody_gives_way_to_a_feed_that_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_WAY_S", 0.0)
    scenes: list[Scene] = []

    async def steps(scene: Scene) -> None:
        scenes.append(scene)

    play(tmp_path, steps)
    scenes[0].fanout.give_way()


def test_a_feed_that_is_never_empty_is_behind_until_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEHIND_S", 0.0)
    seen: list[bool] = []

    async def steps(scene: Scene) -> None:
        flush = scene.fanout.flush

        def note() -> None:
            seen.append(scene.fanout.is_behind)
            flush()

        monkeypatch.setattr(scene.fanout, "flush", note)
        for _ in range(2 * DRAIN_MESSAGES + 10):
            scene.say(Kind.DATA)
        time.sleep(0.2)  # all of it waits for one drain
        await scene.until(lambda: scene.fanout.seq == scene.seq)

    play(tmp_path, steps)
    assert True in seen, "two drains ended with their budget spent"
    assert seen[-1] is False


def test_silence_makes_the_feed_stale(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        await scene.until(lambda: scene.fanout.state is FeedState.STALE)

    play(tmp_path, steps)


def test_what_is_no_feed_message_is_no_sign_of_life(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        await scene.until(lambda: scene.fanout.state is FeedState.STALE, lambda: scene.send(b"junk"))
        assert scene.counters.upstream["malformed"] > STALE_S / 0.05, "it came all the time"

    play(tmp_path, steps)


def test_when_it_was_us_who_stood_still_what_waits_is_heard_before_the_feed_is_called_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(scene: Scene) -> None:
        told: list[str] = []
        monkeypatch.setattr(scene.fanout, "go_stale", told.append)
        scene.say(Kind.DATA)
        time.sleep(2 * STALE_S)  # the whole loop
        await scene.until(lambda: scene.fanout.seq == 1)
        assert told == []

    play(tmp_path, steps)


def test_an_endpoint_that_zeromq_refuses_is_named() -> None:
    fanout = Fanout(Counters(), lambda: None, lambda member: None)
    with pytest.raises(UsageError, match="--feed tcp://nowhere: "):
        Feed("tcp://nowhere", 1, 1, Recovery(fanout, None, Stitcher(1, 1)), fanout)
