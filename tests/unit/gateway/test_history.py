"""The history client against a ROUTER that answers rightly, wrongly, slowly or not at all."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
import zmq

from execgate.wire.errors import UsageError
from execgate.wire.replay import (
    Answer,
    Clock,
    Credit,
    End,
    Failed,
    Gone,
    Now,
    Replay,
    Request,
    Snapshot,
    decode_request,
    encode_answer,
)
from execgate.wire.update import Kind, Update
from gateway import history
from gateway.history import MAX_WAITING, HistoryClient, Outcome, TimedOut
from tests.harness import until

TIMEOUT_S = 0.3


def item(seq: int, epoch: int = 7, size: int = 2) -> Update:
    return Update(Kind.DATA, b"ex.A.", epoch, seq, seq, 0, b"K", b"x" * size)


class Asked:
    """What the callbacks of one request were given."""

    def __init__(self) -> None:
        self.items: list[Update] = []
        self.lists = 0
        self.outcome: Outcome | None = None

    def on_items(self, items: list[Update]) -> None:
        assert self.outcome is None, "items behind the end"
        assert items
        self.lists += 1
        self.items += items

    def on_end(self, outcome: Outcome) -> None:
        assert self.outcome is None, "a second end"
        self.outcome = outcome

    @property
    def seqs(self) -> list[int]:
        return [update.seq for update in self.items]


class Scene:
    """A client, and the publisher's end of its socket."""

    def __init__(self, folder: Path) -> None:
        self.endpoint = f"ipc://{folder}/replay"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.bind()
        self.client = HistoryClient(self.endpoint, timeout_s=TIMEOUT_S)

    def bind(self) -> None:
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 0)
        self._router.bind(self.endpoint)

    def unbind(self) -> None:
        self._router.close()

    def replay(self, first: int, last: int) -> Asked:
        asked = Asked()
        self.client.replay(7, first, last, asked.on_items, asked.on_end)
        return asked

    def snapshot(self) -> Asked:
        asked = Asked()
        self.client.snapshot(asked.on_items, asked.on_end)
        return asked

    async def heard(self) -> tuple[bytes, bytes, Request]:
        """The next request: who, its id, what."""
        async with asyncio.timeout(5):
            while True:
                try:
                    peer, *frames = self._router.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    await asyncio.sleep(0.002)
                    continue
                return peer, *decode_request(frames)

    async def asked_for(self) -> tuple[bytes, bytes, Request]:
        """The next request that is no credit."""
        while isinstance((heard := await self.heard())[2], Credit):
            pass
        return heard

    def say(self, peer: bytes, request_id: bytes, *parts: Answer) -> None:
        for part in parts:
            self.raw(peer, *encode_answer(request_id, part))

    def raw(self, *frames: bytes) -> None:
        self._router.send_multipart(frames)

    def close(self) -> None:
        self.client.close()
        self._context.destroy(linger=0)


def play(folder: Path, steps: Callable[[Scene], Awaitable[None]]) -> None:
    async def scene() -> None:
        made = Scene(folder)
        try:
            await steps(made)
        finally:
            made.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


def test_a_replay_comes_in_lists_and_each_is_granted_when_it_was_taken(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        asked = scene.replay(3, 1000)
        peer, request_id, request = await scene.heard()
        assert request == Replay(7, 3, 1000)
        scene.say(peer, request_id, *map(item, range(3, 1001)))
        granted = 0
        while granted < 998:
            credit = (await scene.heard())[2]
            assert isinstance(credit, Credit)
            granted += credit.items
            assert granted <= len(asked.items)
        assert granted == 998
        assert asked.outcome is None
        scene.say(peer, request_id, End(7, 1000))
        await until(lambda: asked.outcome)
        assert asked.outcome == End(7, 1000)
        assert asked.seqs == list(range(3, 1001))
        assert asked.lists < 100, "one by one costs ten times as much"

    play(tmp_path, steps)


def test_a_snapshot_and_its_position(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        asked = scene.snapshot()
        peer, request_id, request = await scene.heard()
        assert request == Snapshot()
        scene.say(peer, request_id, item(9), item(4), End(7, 12))
        await until(lambda: asked.outcome)
        assert (asked.seqs, asked.outcome) == ([9, 4], End(7, 12))

    play(tmp_path, steps)


def test_requests_wait_for_each_other_and_what_belongs_to_an_earlier_one_is_no_matter(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        first, second = scene.replay(1, 5), scene.replay(6, 7)
        peer, old_id, _ = await scene.heard()
        scene.say(peer, old_id, item(1), Gone(7, 3, 9), item(2), item(3))
        _, new_id, request = await scene.asked_for()
        assert (first.seqs, first.outcome) == ([1], Gone(7, 3, 9))
        assert request == Replay(7, 6, 7)
        assert new_id != old_id
        scene.say(peer, old_id, item(6), End(7, 5))
        scene.say(peer, new_id, item(6), item(7), End(7, 7))
        await until(lambda: second.outcome)
        assert (second.seqs, second.outcome) == ([6, 7], End(7, 7))

    play(tmp_path, steps)


def test_an_end_may_ask_again(tmp_path: Path) -> None:
    """The gateway's recovery does: it must neither be called back from within nor overtake others."""

    async def steps(scene: Scene) -> None:
        again, waiting = Asked(), Asked()

        def on_end(_outcome: Outcome) -> None:
            scene.client.replay(7, 3, 3, again.on_items, again.on_end)

        scene.client.replay(7, 1, 1, lambda _items: None, on_end)
        scene.client.replay(7, 2, 2, waiting.on_items, waiting.on_end)
        for seq in (1, 2, 3):
            peer, request_id, request = await scene.asked_for()
            assert request == Replay(7, seq, seq)
            scene.say(peer, request_id, item(seq), End(7, seq))
        await until(lambda: again.outcome)

    play(tmp_path, steps)


@pytest.mark.parametrize(
    ("parts", "came"),
    [
        ([item(1), item(3)], [1]),
        ([item(1), item(1)], [1]),
        ([item(2)], []),
        ([item(1, epoch=8)], []),
        ([item(1), item(2), item(3), item(4)], [1, 2, 3]),
        ([item(1), End(7, 3)], [1]),
        ([Failed("no")], []),
    ],
)
def test_an_answer_that_is_wrong_fails_after_what_was_right(
    parts: list[Answer], came: list[int], tmp_path: Path
) -> None:
    async def steps(scene: Scene) -> None:
        asked = scene.replay(1, 3)
        peer, request_id, _ = await scene.heard()
        scene.say(peer, request_id, *parts)
        await until(lambda: asked.outcome)
        assert isinstance(asked.outcome, Failed)
        assert asked.seqs == came

    play(tmp_path, steps)


def test_the_publishers_clock_is_told_beside_a_replay_and_only_to_who_asked_last(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        told: list[tuple[str, int]] = []
        asked = scene.replay(1, 2)
        peer, replay_id, _ = await scene.heard()
        scene.client.ask_clock(lambda now_us: told.append(("first", now_us)))
        scene.client.ask_clock(lambda now_us: told.append(("second", now_us)))
        (_, first_id, first), (_, second_id, second) = [await scene.heard() for _ in range(2)]
        assert (first, second) == (Clock(), Clock())
        assert len({replay_id, first_id, second_id}) == 3
        scene.say(peer, replay_id, item(1), Now(3))  # the id of no question
        scene.say(peer, first_id, Now(4), item(2))  # no more, and never, waited for
        scene.say(peer, second_id, Now(5), Now(6))
        scene.say(peer, replay_id, item(2), End(7, 2))
        await until(lambda: asked.outcome)
        assert (asked.seqs, asked.outcome) == ([1, 2], End(7, 2))
        assert told == [("second", 5)]

    play(tmp_path, steps)


def test_silence_times_out_and_the_next_request_goes_over_a_new_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "JITTER_S", 0.01)

    async def steps(scene: Scene) -> None:
        first, second = scene.replay(1, 3), scene.replay(1, 3)
        peer, request_id, _ = await scene.heard()
        scene.say(peer, request_id, item(1))
        await until(lambda: first.outcome)
        assert first.outcome == TimedOut(TIMEOUT_S)
        assert first.seqs == [1]
        new_peer, new_id, _ = await scene.asked_for()
        assert new_peer != peer
        scene.say(new_peer, new_id, item(1), item(2), item(3), End(7, 3))
        await until(lambda: second.outcome)
        assert second.outcome == End(7, 3)

    play(tmp_path, steps)


def test_a_publisher_that_is_away_times_out_and_is_found_when_it_is_back(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        scene.unbind()
        lost = scene.replay(1, 1)
        await until(lambda: lost.outcome)
        assert isinstance(lost.outcome, TimedOut)
        scene.bind()
        asked = scene.replay(1, 1)
        peer, request_id, _ = await scene.heard()
        scene.say(peer, request_id, item(1), End(7, 1))
        await until(lambda: asked.outcome)
        assert asked.outcome == End(7, 1)

    play(tmp_path, steps)


def test_signs_of_life_keep_a_slow_answer_alive_and_junk_is_none(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        slow = scene.replay(1, 6)
        peer, request_id, _ = await scene.heard()
        for seq in range(1, 7):
            await asyncio.sleep(TIMEOUT_S * 0.4)
            scene.say(peer, request_id, item(seq))
        scene.say(peer, request_id, End(7, 6))
        await until(lambda: slow.outcome)
        assert slow.outcome == End(7, 6)
        junk = scene.replay(1, 4)
        peer, _, _ = await scene.asked_for()
        while junk.outcome is None:
            scene.raw(peer, b"x", b"y", b"z")
            scene.raw(peer)
            await asyncio.sleep(0.01)
        assert isinstance(junk.outcome, TimedOut)
        assert scene.client.malformed > 10

    logging.disable(logging.WARNING)
    try:
        play(tmp_path, steps)
    finally:
        logging.disable(logging.NOTSET)


def test_when_it_was_us_who_stood_still_nothing_has_timed_out(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        asked = scene.replay(1, 1)
        peer, request_id, _ = await scene.heard()
        scene.say(peer, request_id, item(1), End(7, 1))
        time.sleep(2 * TIMEOUT_S)  # the whole loop
        await until(lambda: asked.outcome)
        assert asked.outcome == End(7, 1)

    play(tmp_path, steps)


def test_however_long_we_stood_still_the_publisher_has_time_to_answer_behind_it(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        asked = scene.replay(1, 1)
        peer, request_id, _ = await scene.heard()
        for _ in range(3):
            time.sleep(2 * TIMEOUT_S)  # the whole loop
            await asyncio.sleep(0.05)  # and its timers: nothing has come
        scene.say(peer, request_id, item(1), End(7, 1))
        await until(lambda: asked.outcome)
        assert asked.outcome == End(7, 1)

    play(tmp_path, steps)


def test_too_many_requests_fail_at_once_but_not_from_within_the_call(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        kept = [scene.replay(1, 1) for _ in range(MAX_WAITING + 1)]
        over = scene.replay(1, 1)
        assert over.outcome is None
        await until(lambda: over.outcome)
        assert isinstance(over.outcome, Failed)
        assert all(asked.outcome is None for asked in kept)

    play(tmp_path, steps)


def test_after_close_nobody_is_called(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        asked = Asked()

        def on_items(_items: list[Update]) -> None:
            scene.client.close()

        scene.client.replay(7, 1, 2, on_items, asked.on_end)
        waiting = scene.replay(1, 1)
        peer, request_id, _ = await scene.heard()
        scene.say(peer, request_id, item(1), item(2), End(7, 2))
        await asyncio.sleep(2 * TIMEOUT_S)
        assert (asked.outcome, waiting.outcome) == (None, None)
        scene.client = HistoryClient(scene.endpoint)

    play(tmp_path, steps)


def test_an_endpoint_that_zeromq_refuses_is_named() -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="--replay tcp://nowhere: "):
            HistoryClient("tcp://nowhere")

    asyncio.run(main())
