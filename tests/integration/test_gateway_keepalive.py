"""Heartbeats, pings, and peers that are dead without having said so."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from execgate.wire.frame_builder import Opcode
from execgate.wire.frame_parser import Closing, Ping
from tests.rig import Gateway, scripted
from tests.scripted_publisher import ScriptedPublisher

IDLE_S = 1.0
_PEER = """\
import sys
from websockets.sync.client import connect
with connect(sys.argv[1], proxy=None) as connection:
    while True:
        connection.recv()
        print("received", flush=True)
"""


@pytest.fixture(scope="module")
def rig() -> Iterator[tuple[Gateway, ScriptedPublisher]]:
    with scripted("--idle-s", f"{IDLE_S:g}", "--ping-s", "0.3", "--heartbeat-s", "0.2") as (gateway, feed):
        yield gateway, feed


def test_a_heartbeat_comes_within_its_interval_with_the_position(
    rig: tuple[Gateway, ScriptedPublisher],
) -> None:
    gateway, feed = rig
    with gateway.client() as client:
        assert client.receive()["data"]["heartbeat_ms"] == 200
        position = client.subscribe()["seq"]
        began = time.monotonic()
        for count in range(3):
            beat = client.receive_event("heartbeat", 2.0)["data"]
            assert beat == {
                "epoch": f"{feed.epoch:016x}",
                "seq": position + count,
                "sent": count,
                "dropped": 0,
                "conflated": 0,
            }
            feed.update()
            client.receive_event("receive-execs")
        assert time.monotonic() - began < 3 * 0.2 + 0.5


def test_a_subscriber_of_a_rare_topic_gets_the_position_that_has_passed(
    rig: tuple[Gateway, ScriptedPublisher],
) -> None:
    gateway, feed = rig
    with gateway.client() as client:
        position = client.subscribe(topics=["ex.RARE."])["seq"]
        feed.updates(5)
        while (beat := client.receive_event("heartbeat")["data"])["seq"] == position:
            pass
        assert (beat["seq"], beat["sent"]) == (position + 5, 0)


def test_a_peer_that_answers_pings_and_says_nothing_else_lives(rig: tuple[Gateway, ScriptedPublisher]) -> None:
    gateway, _ = rig
    with gateway.client() as client:
        client.subscribe()
        began = time.monotonic()
        while time.monotonic() - began < 1.5 * IDLE_S:
            client.receive_event("heartbeat")


def test_a_peer_that_answers_no_ping_is_closed_with_1001(rig: tuple[Gateway, ScriptedPublisher]) -> None:
    gateway, _ = rig
    with gateway.raw() as mute:
        began = time.monotonic()
        pings = 0
        while not isinstance(event := mute.next(), Closing):
            pings += isinstance(event, Ping)
        assert event.code == 1001
        assert IDLE_S - 0.1 < time.monotonic() - began < IDLE_S + 1.0
        assert pings >= 2


def test_pings_alone_keep_a_peer_alive(rig: tuple[Gateway, ScriptedPublisher]) -> None:
    gateway, _ = rig
    with gateway.raw() as client:
        began = time.monotonic()
        while time.monotonic() - began < 1.5 * IDLE_S:
            event = client.next()
            assert not isinstance(event, Closing)
            if isinstance(event, Ping):
                client.send_frame(Opcode.PONG, event.payload)


def test_a_peer_whose_process_is_suspended_is_found_and_closed(rig: tuple[Gateway, ScriptedPublisher]) -> None:
    gateway, _ = rig
    gateway.wait_for_stats("the others have left", connections=0)
    closed = gateway.stats()["closes"].get("1001", 0)
    peer = subprocess.Popen(
        [sys.executable, "-c", _PEER, f"ws://{gateway.address}/ws"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert peer.stdout is not None
        assert peer.stdout.readline() == "received\n"
        os.kill(peer.pid, signal.SIGSTOP)
        gateway.wait_for_stats("the suspended peer is closed", closes__1001=closed + 1)
        # It can't answer the close frame either: its socket goes after the close timeout.
        gateway.wait_for_stats("its socket is gone", connections=0, subscribers__all=0)
    finally:
        peer.kill()
        peer.wait()
        if peer.stdout is not None:
            peer.stdout.close()
