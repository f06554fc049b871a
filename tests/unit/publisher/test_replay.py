"""The replay socket over real ZeroMQ: several gateways at once, next to a feed, and peers that mean no good."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
import zmq

from execgate.wire.replay import (
    MAX_CREDIT,
    Answer,
    Clock,
    Credit,
    End,
    Gone,
    Now,
    Replay,
    Request,
    Snapshot,
    decode_answer,
    encode_answer,
    encode_request,
)
from execgate.wire.update import Update
from publisher import replay
from publisher.core.replays import FIRST_ITEMS, MAX_REQUESTS, TURN_BYTES
from publisher.replay import MAX_FRAME_BYTES, SEND_BUFFER_BYTES, ReplayServer
from tests.harness import until
from tests.unit.publisher.histories import FakeLog

Context = zmq.Context["zmq.Socket[bytes]"]


class Peer:
    """A DEALER that says what it is told to."""

    def __init__(self, context: Context, endpoint: str, *, small: bool = False) -> None:
        """Connect; one that is `small` takes next to nothing before it is read."""
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVHWM, 1 if small else 10_000)
        self.socket.setsockopt(zmq.RCVBUF, 4096 if small else -1)
        self.socket.connect(endpoint)

    def say(self, request_id: bytes, request: Request) -> None:
        self.socket.send_multipart(encode_request(request_id, request))

    async def next(self) -> tuple[bytes, Answer]:
        async with asyncio.timeout(10):
            while True:
                try:
                    return decode_answer(self.socket.recv_multipart(zmq.NOBLOCK))
                except zmq.Again:
                    await asyncio.sleep(0.001)

    async def answer(self, request_id: bytes) -> list[Answer]:
        """Grant whatever comes, to the end of this request; what belongs to others is left out."""
        parts: list[Answer] = []
        while True:
            got_id, part = await self.next()
            if got_id != request_id:
                continue
            parts.append(part)
            if not isinstance(part, Update):
                return parts
            self.say(request_id, Credit(1))

    def waiting(self) -> int:
        """How many messages have come and were not read: reads them."""
        count = 0
        try:
            while True:
                self.socket.recv_multipart(zmq.NOBLOCK)
                count += 1
        except zmq.Again:
            return count


@asynccontextmanager
async def serving(
    context: Context, log: FakeLog, *, small: bool = False, where: str = "tcp://127.0.0.1:0"
) -> AsyncIterator[tuple[ReplayServer, str]]:
    """Serve; with `small` next to nothing waits in the kernel."""
    server = ReplayServer(context, log)
    if small:
        server._socket.setsockopt(zmq.SNDBUF, 4096)
    try:
        yield server, server.bind(where)
    finally:
        server.close()


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def seqs(parts: list[Answer]) -> list[int]:
    return [part.seq for part in parts if isinstance(part, Update)]


def test_ten_gateways_at_once_each_get_their_own_range_while_the_log_grows(context: Context) -> None:
    async def scenario() -> None:
        log = FakeLog(3000)
        async with serving(context, log) as (server, endpoint):
            peers = [Peer(context, endpoint) for _ in range(10)]
            for number, peer in enumerate(peers):
                peer.say(b"r", Replay(7, 1 + 100 * number, 1500 + 100 * number))
            growing = asyncio.create_task(grow(log))
            answers = await asyncio.gather(*(peer.answer(b"r") for peer in peers))
            growing.cancel()
            for number, parts in enumerate(answers):
                assert seqs(parts) == list(range(1 + 100 * number, 1501 + 100 * number))
                assert parts[-1] == End(7, 1500 + 100 * number)
                assert all(
                    part == log.read(part.seq, part.seq, 1)[0] for part in parts[:3] if isinstance(part, Update)
                )
            assert (server.counts["end"], server.unanswered) == (10, 0)

    async def grow(log: FakeLog) -> None:
        while True:
            log.grow(1)
            await asyncio.sleep(0.001)

    play(scenario)


def test_a_snapshot_and_what_is_gone(context: Context) -> None:
    async def scenario() -> None:
        log = FakeLog(1000, keys=700)
        log.let_go(100)
        async with serving(context, log) as (_server, endpoint):
            peer = Peer(context, endpoint)
            peer.say(b"s", Snapshot())
            parts = await peer.answer(b"s")
            assert sorted(seqs(parts)) == list(range(301, 1001))
            assert parts[-1] == End(7, 1000)
            peer.say(b"g", Replay(7, 99, 200))
            assert await peer.answer(b"g") == [Gone(7, 100, 1000)]

    play(scenario)


def test_the_loop_runs_between_slices(context: Context) -> None:
    """What is live goes on: a long replay is never one long job."""

    async def scenario() -> None:
        log = FakeLog(5_000)
        async with serving(context, log) as (_server, endpoint):
            peer = Peer(context, endpoint)
            peer.say(b"r", Replay(7, 1, 5_000))
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            counting = asyncio.create_task(count())
            await peer.answer(b"r")
            counting.cancel()
            assert turns > len(log.reads) > 5_000 / 64

    play(scenario)


def test_who_grants_nothing_gets_the_first_few_and_no_more(context: Context) -> None:
    async def scenario() -> None:
        async with serving(context, FakeLog(5000)) as (server, endpoint):
            mute, good = Peer(context, endpoint), Peer(context, endpoint)
            mute.say(b"m", Replay(7, 1, 5000))
            good.say(b"g", Replay(7, 1, 5000))
            assert len(await good.answer(b"g")) == 5001
            assert mute.waiting() == FIRST_ITEMS
            mute.say(b"m", Credit(1))
            await until(lambda: server.counts["items"] == 5000 + MAX_CREDIT + 1)
            assert server.unanswered == 1

    play(scenario)


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_who_asks_grants_and_never_reads_is_sent_no_more_than_the_kernel_takes(
    context: Context, tmp_path: Path, transport: str
) -> None:
    payload_bytes = 2000

    async def scenario() -> None:
        where = "tcp://127.0.0.1:0" if transport == "tcp" else f"ipc://{tmp_path}/r"
        async with serving(context, FakeLog(1000, payload_bytes=payload_bytes), where=where) as (server, endpoint):
            hostile = Peer(context, endpoint, small=True)
            async with asyncio.timeout(60):
                while server.counts["replay"] < 150:  # 32 items each, and 256 more granted that nobody has read
                    hostile.say(b"1", Replay(7, 1, 1000))
                    hostile.say(b"1", Credit(256))
                    await asyncio.sleep(0.001)
            assert server.counts["lost"] == 0  # it has not come to the high-water mark
            assert server.counts["items"] * payload_bytes < SEND_BUFFER_BYTES + 4 * TURN_BYTES
            good = Peer(context, endpoint)
            good.say(b"g", Replay(7, 1, 100))
            assert len(await good.answer(b"g")) == 101
            hostile.say(b"2", Replay(7, 1, 1000))  # it mends its ways
            assert len(await hostile.answer(b"2")) == 1001

    play(scenario)


def test_who_asks_for_the_clock_is_told_it_at_once_and_its_replay_goes_on(context: Context) -> None:
    async def scenario() -> None:
        async with serving(context, FakeLog(5000)) as (server, endpoint):
            peer = Peer(context, endpoint)
            before_us = time.time_ns() // 1000
            peer.say(b"r", Replay(7, 1, 5000))
            peer.say(b"c", Clock())
            parts: list[tuple[bytes, Answer]] = []
            while not parts or not isinstance(parts[-1][1], Now):  # nothing was granted
                parts.append(await peer.next())
            clock_id, now = parts.pop()
            assert (clock_id, len(parts) <= FIRST_ITEMS) == (b"c", True)
            assert isinstance(now, Now)
            assert before_us <= now.now_us <= time.time_ns() // 1000
            peer.say(b"r", Credit(max(1, len(parts))))
            assert seqs([part for _, part in parts] + await peer.answer(b"r")) == list(range(1, 5001))
            assert server.counts["replaced"] == 0

    play(scenario)


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_who_asks_for_the_clock_and_never_reads_is_told_no_more_than_the_kernel_takes(
    context: Context, tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = 0

    def count(request_id: bytes, answer: Answer) -> list[bytes]:
        nonlocal told
        told += isinstance(answer, Now)
        return encode_answer(request_id, answer)

    monkeypatch.setattr(replay, "encode_answer", count)

    async def scenario() -> None:
        where = "tcp://127.0.0.1:0" if transport == "tcp" else f"ipc://{tmp_path}/r"
        async with serving(context, FakeLog(100), where=where) as (server, endpoint):
            hostile, good = Peer(context, endpoint, small=True), Peer(context, endpoint)
            for number in range(6_001):
                await until(lambda: bool(hostile.socket.poll(0, zmq.POLLOUT)))
                hostile.say(b"h", Clock() if number < 6_000 else Snapshot())
            await until(lambda: server.counts["snapshot"] == 1)
            assert told < 4_000
            good.say(b"g", Replay(7, 1, 100))
            assert len(await good.answer(b"g")) == 101

    play(scenario)


def test_junk_is_counted_in_one_line_a_second_and_others_are_served(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with serving(context, FakeLog(1000)) as (server, endpoint):
            hostile, good = Peer(context, endpoint), Peer(context, endpoint)
            good.say(b"g", Replay(7, 1, 1000))
            for number in range(1000):
                hostile.socket.send_multipart([[b"x"], [b"", b"REPLAY", b"{}"], [os.urandom(9)] * 9][number % 3])
            assert len(await good.answer(b"g")) == 1001
            await until(lambda: server.counts["malformed"] == 1000)

    with caplog.at_level(logging.WARNING):
        play(scenario)
    assert 1 <= len(caplog.records) <= 10
    assert "replay message refused: " in caplog.text


def test_what_has_come_before_we_looked_is_read_to_its_end(context: Context) -> None:
    """The descriptor tells once, and a slice reads only some."""

    async def scenario() -> None:
        async with serving(context, FakeLog(10)) as (server, endpoint):
            peer = Peer(context, endpoint)
            for _ in range(60):
                peer.say(b"1", Snapshot())
            time.sleep(0.1)  # the whole loop
            await until(lambda: server.counts["end"] > 0)
            for _ in range(400):
                peer.say(b"1", Snapshot())
            time.sleep(0.2)
            await until(lambda: server.counts["snapshot"] == 460)

    play(scenario)


def test_a_frame_that_is_too_big_ends_its_connection_alone(context: Context) -> None:
    async def scenario() -> None:
        async with serving(context, FakeLog(10)) as (server, endpoint):
            hostile, good = Peer(context, endpoint), Peer(context, endpoint)
            watch = hostile.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            hostile.socket.send_multipart([b"1", b"REPLAY", b"x" * (MAX_FRAME_BYTES + 1)])
            await until(lambda: bool(watch.poll(0)))
            hostile.socket.disable_monitor()
            good.say(b"g", Replay(7, 1, 10))
            assert len(await good.answer(b"g")) == 11
            assert server.counts["malformed"] == 0

    play(scenario)


def test_a_gateway_that_goes_away_is_forgotten(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_FORGET_EVERY_S", 0.01)
    monkeypatch.setattr("publisher.core.replays.SILENCE_S", 0.1)

    async def scenario() -> None:
        async with serving(context, FakeLog(5000)) as (server, endpoint):
            peer = Peer(context, endpoint)
            peer.say(b"1", Replay(7, 1, 5000))
            await until(lambda: server.counts["items"] == FIRST_ITEMS)
            peer.socket.close()
            await until(lambda: server.unanswered == 0)
            assert server.counts["forgotten"] == 1

    play(scenario)


def test_more_requests_than_are_kept_push_out_the_silent_ones(context: Context) -> None:
    async def scenario() -> None:
        async with serving(context, FakeLog(5000)) as (server, endpoint):
            peers = [Peer(context, endpoint) for _ in range(MAX_REQUESTS + 6)]
            for peer in peers:
                peer.say(b"1", Replay(7, 1, 5000))
            await until(lambda: server.counts["forgotten"] == 6)
            assert server.unanswered == MAX_REQUESTS

    play(scenario)


def test_a_gateway_that_grants_and_is_slow_is_not_taken_for_one_that_does_not_read(context: Context) -> None:
    """All its credit waits in our queue, since TCP takes nothing: the queue must hold it."""

    async def scenario() -> None:
        async with serving(context, FakeLog(3000, payload_bytes=1000), small=True) as (server, endpoint):
            slow = Peer(context, endpoint, small=True)
            slow.say(b"1", Replay(7, 1, 3000))
            await slow.next()
            slow.say(b"1", Credit(1))
            await until(lambda: server.counts["items"] > MAX_CREDIT)
            for _ in range(100):
                slow.say(b"1", Credit(1))
            assert seqs(await slow.answer(b"1")) == list(range(2, 3001))
            assert server.counts["lost"] == 0

    play(scenario)
