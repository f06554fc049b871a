"""The wheel: heartbeats and pings in time, silence and half messages ended, nothing done for who is closing."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.frame_parser import FrameParser, Ping, Text
from execgate.wire.update import Kind, Update
from gateway import keepalive
from gateway.connection import Connection
from gateway.core.interest import EVERY_TOPIC, Interest
from gateway.core.session import Mode
from gateway.counters import Counters
from gateway.fanout import Fanout
from gateway.keepalive import Keepalive
from gateway.limits import Limits
from gateway.outbound import NOT_BEGUN
from tests.unit.gateway.fakes import Owner
from tests.unit.gateway.test_orders import Clock, clock_in

LIMITS = Limits(
    message_bytes=1,
    depth=1,
    fragments=1,
    message_timeout_s=10,
    heartbeat_s=10,
    ping_s=20,
    idle_s=45,
    default_mode=Mode.ALL,
    explicit_subscribe=False,
)


class Peer(Owner):
    """What the wheel sees of a connection; it writes down when each ping and heartbeat came."""

    def __init__(self, wheel: Keepalive, clock: Clock) -> None:
        super().__init__()
        self.slot = 0
        self.last_seen_s = self.last_beat_s = self.last_ping_s = wheel.now_s
        self.partial_since_s = 0.0
        self.interest: Interest | None = EVERY_TOPIC
        self.reason = ""
        self._clock = clock
        self._send = self.wire.send
        self._parser = FrameParser(server=False)
        self.log: list[tuple[str, float]] = []
        self.beats: list[dict[str, Any]] = []
        self.outbound._send = self._note
        wheel.add(self.as_connection)

    @property
    def session(self) -> "Peer":
        return self

    @property
    def as_connection(self) -> Connection:
        return cast("Connection", self)

    def close(self, code: int, reason: str = "", *, flush: bool = True) -> None:
        self.reason = reason
        super().close(code, reason, flush=flush)

    def _note(self, data: bytes) -> int:
        for event in self._parser.feed(data):
            if isinstance(event, Ping):
                self.log.append(("ping", self._clock.now_s))
            elif isinstance(event, Text):
                self.beats.append(json.loads(event.text))
                self.log.append((self.beats[-1]["event"], self._clock.now_s))
        return len(data)

    def times(self, what: str) -> list[float]:
        return [at_s for event, at_s in self.log if event == what]


class Wheel:
    """A wheel with a clock of its own."""

    def __init__(self, clock: Clock, limits: Limits = LIMITS) -> None:
        self.clock = clock
        self.counters = Counters()
        self.fanout = Fanout(self.counters, lambda: None, lambda member: None)
        self.keepalive = Keepalive(limits, self.fanout)
        self.keepalive.start()

    def peer(self) -> Peer:
        return Peer(self.keepalive, self.clock)

    def advance_with_life(self, peers: list[Peer], seconds: int, late_s: float = 0.0) -> None:
        """Let time pass while the peers answer."""
        for _ in range(seconds):
            for peer in peers:
                peer.last_seen_s = self.clock.now_s
            self.clock.advance(1, late_s)


@pytest.fixture
def wheel() -> Iterator[Wheel]:
    with clock_in(keepalive) as clock:
        yield Wheel(clock)


def longest(times: list[float], start_s: float, end_s: float) -> float:
    edges = [start_s, *times, end_s]
    return max(after - before for before, after in pairwise(edges))


def test_the_feed_may_pass_before_each_connection_that_is_served(wheel: Wheel) -> None:
    peers = [wheel.peer() for _ in range(45)]
    asked: list[int] = []
    wheel.fanout.give_way = lambda: asked.append(sum(len(peer.log) for peer in peers))
    wheel.advance_with_life(peers, 11)
    assert asked[-1] >= len(peers) - 1
    assert all(after - before <= 1 for before, after in pairwise(asked))


@given(
    heartbeat_s=st.sampled_from([0.5, 3, 10, 60]),
    ping_s=st.sampled_from([0.7, 5, 20]),
    late_s=st.sampled_from([0.0, 0.001, 0.01]),
    peers=st.integers(1, 45),
)
def test_no_heartbeat_or_ping_is_later_than_its_interval_nor_much_earlier(
    heartbeat_s: float, ping_s: float, late_s: float, peers: int
) -> None:
    """However late the timers come: what they lose does not add up over a round."""
    limits = Limits(1, 1, 1, 10, heartbeat_s, ping_s, 45, Mode.ALL, False)
    with clock_in(keepalive) as clock:
        wheel = Wheel(clock, limits)
        all_peers = [wheel.peer() for _ in range(peers)]
        start_s = clock.now_s
        wheel.advance_with_life(all_peers, 70, late_s)
        slack_s = late_s + 0.002
        for peer in (all_peers[0], all_peers[-1]):
            for what, interval_s in (("heartbeat", heartbeat_s), ("ping", ping_s)):
                times = peer.times(what)
                assert longest(times, start_s, clock.now_s) <= interval_s + slack_s
                shortest_s = min(heartbeat_s, ping_s, 10)
                assert len(times) <= 70 / max(interval_s - shortest_s / 2, shortest_s / 4) + 1


def test_heartbeats_are_spread_over_their_interval_not_sent_in_one_burst(wheel: Wheel) -> None:
    peers = [wheel.peer() for _ in range(40)]
    wheel.advance_with_life(peers, 40)
    moments = [peer.times("heartbeat")[-1] for peer in peers]
    assert len(set(moments)) == 20
    assert max(moments) - min(moments) > 1


def test_a_heartbeat_tells_the_position_and_the_sessions_own_counts(wheel: Wheel) -> None:
    peer = wheel.peer()
    wheel.fanout.take(Update(Kind.HEARTBEAT, b"", 0xAB, 12, 0, 0, b"", b""))
    peer.outbound._sent, peer.outbound._dropped = 5, 2
    wheel.advance_with_life([peer], 11)
    assert peer.beats[0] == {
        "event": "heartbeat",
        "data": {"epoch": "00000000000000ab", "seq": 12, "sent": 5, "dropped": 2, "conflated": 0},
    }


def test_who_resumes_is_told_its_own_position_and_its_epoch_and_none_before_it_has_one(wheel: Wheel) -> None:
    """The gateway may stand in another epoch by then: one's epoch with the other's seq would lose updates."""
    peer = wheel.peer()
    wheel.fanout.take(Update(Kind.HEARTBEAT, b"", 0xCD, 12, 0, 0, b"", b""))
    peer.outbound.behind = NOT_BEGUN
    wheel.advance_with_life([peer], 30)
    assert peer.beats == []
    assert peer.times("ping")
    peer.outbound.behind = ("00000000000000ab", 900)
    wheel.advance_with_life([peer], 11)
    data = peer.beats[0]["data"]
    assert (data["epoch"], data["seq"]) == ("00000000000000ab", 900)


def test_without_a_subscription_there_are_pings_alone(wheel: Wheel) -> None:
    peer = wheel.peer()
    peer.interest = None
    wheel.advance_with_life([peer], 100)
    assert peer.times("heartbeat") == []
    assert len(peer.times("ping")) >= 5


def test_a_silent_peer_is_closed_with_1001_after_the_idle_time_at_once(wheel: Wheel) -> None:
    silent, alive = wheel.peer(), wheel.peer()
    for _ in range(44):
        alive.last_seen_s = wheel.clock.now_s
        wheel.clock.advance(1)
    assert silent.closed == []
    for _ in range(5):
        alive.last_seen_s = wheel.clock.now_s
        wheel.clock.advance(1)
    assert silent.closed == [(1001, False)]
    assert silent.reason == "silent for 45 s"
    assert alive.closed == []


def test_a_message_that_is_not_whole_in_time_ends_with_1008_and_a_whole_one_does_not(wheel: Wheel) -> None:
    half, whole = wheel.peer(), wheel.peer()
    for peer in (half, whole):
        peer.partial_since_s = wheel.clock.now_s
        wheel.keepalive.watch(peer.as_connection)
    wheel.clock.advance(9)
    assert half.closed == []
    whole.partial_since_s = 0.0
    wheel.clock.advance(2)
    assert half.closed == [(1008, True)]
    assert whole.closed == []
    assert not wheel.keepalive._partial


def test_a_connection_that_is_closing_is_left_alone(wheel: Wheel) -> None:
    peer = wheel.peer()
    peer.outbound.closing = True
    wheel.clock.advance(100)
    assert peer.log == []
    assert peer.closed == []


def test_who_is_removed_is_forgotten_and_the_rest_are_counted(wheel: Wheel) -> None:
    peers = [wheel.peer() for _ in range(50)]
    assert len(wheel.keepalive) == 50
    assert set(wheel.keepalive.connections()) == {peer.as_connection for peer in peers}
    wheel.keepalive.watch(peers[0].as_connection)
    wheel.keepalive.remove(peers[0].as_connection)
    wheel.keepalive.remove(peers[0].as_connection)
    assert len(wheel.keepalive) == 49
    wheel.clock.advance(100)
    assert peers[0].log == []
    assert peers[0].closed == []


def test_a_connection_may_end_while_its_slot_is_served(wheel: Wheel) -> None:
    peers = [wheel.peer() for _ in range(60)]
    for peer in peers:
        peer.on_close = lambda peer=peer: wheel.keepalive.remove(peer.as_connection)  # type: ignore[misc]
    wheel.clock.advance(100)
    assert len(wheel.keepalive) == 0
    assert [peer.closed for peer in peers] == [[(1001, False)]] * 60


def test_after_a_long_stall_one_round_is_made_up_for_not_all(wheel: Wheel) -> None:
    peer = wheel.peer()
    wheel.clock.now_s += 40
    served: list[object] = []
    original = wheel.keepalive._serve
    wheel.keepalive._serve = lambda slot: (served.append(slot), original(slot))[1]  # type: ignore[func-returns-value, method-assign]
    wheel.clock.advance(0.001)
    assert len(served) == 20
    assert len(peer.times("ping")) == 1


def test_a_stall_of_ours_is_no_silence_of_a_peer_and_no_slowness_of_its_message(wheel: Wheel) -> None:
    peer = wheel.peer()
    wheel.clock.advance(1)
    peer.partial_since_s = wheel.clock.now_s
    wheel.keepalive.watch(peer.as_connection)
    wheel.clock.now_s += 3600
    wheel.clock.advance(5)
    assert peer.closed == []
    wheel.clock.advance(6)
    assert peer.closed == [(1008, True)]
    silent = wheel.peer()
    wheel.clock.now_s += 3600
    wheel.clock.advance(40)
    assert silent.closed == []
    wheel.clock.advance(10)
    assert silent.closed == [(1001, False)]


def test_a_stopped_wheel_turns_no_more(wheel: Wheel) -> None:
    wheel.keepalive.stop()
    assert not wheel.clock.timers
