"""What becomes of whatever the feed does: gaps, duplicates, new epochs, silence, goodbyes, nonsense."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from execgate.wire.update import Kind, Update, encode
from tests.clients import Client
from tests.rig import Gateway, scripted
from tests.scripted_publisher import ScriptedPublisher

Rig = tuple[Gateway, ScriptedPublisher, Client]
OLD, NEW = "0000000000000001", "00000000000000ff"


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A gateway at seq 3 and a client that has seen 1 to 3."""
    with scripted() as (gateway, feed), gateway.client() as client:
        client.subscribe()
        feed.updates(3)
        assert client.seqs(3) == [1, 2, 3]
        yield gateway, feed, client


def expect(client: Client, *events: tuple[str, dict[str, Any]]) -> None:
    """Receive exactly these events, each with at least these data."""
    for event, data in events:
        message = client.receive()
        assert message["event"] == event, message
        assert {key: message["data"].get(key) for key in data} == data


def test_an_update_travels_as_the_bytes_that_the_publisher_serialised(rig: Rig) -> None:
    _, feed, client = rig
    payload = (
        b'{"request":4, "seq":4,"execs":[{"price":100.10,"name":"\\u00e9\xc3\xa9"}]}'  # as no JSON library would
    )
    feed.raw(*encode(Update(Kind.DATA, b"ex.Q.", 1, 4, 4, 1, b"", payload)))
    assert client.connection.recv(10, decode=False) == b'{"event":"receive-execs","data":' + payload + b"}"


def test_a_gap_upstream_is_told_before_the_update_behind_it(rig: Rig) -> None:
    gateway, feed, client = rig
    feed.update(seq=7)
    expect(
        client,
        ("gap", {"topic": None, "from": 4, "to": 6, "count": None, "why": "upstream", "then": "lost"}),
        ("receive-execs", {"seq": 7}),
    )
    figures = gateway.stats()["feed"]
    assert (figures["gaps"], figures["missing"], figures["seq"]) == (1, 3, 7)


def test_a_lost_tail_is_told_by_the_heartbeat_behind_it(rig: Rig) -> None:
    _, feed, client = rig
    feed.say(Kind.HEARTBEAT, 5)
    expect(client, ("gap", {"from": 4, "to": 5, "why": "upstream"}))
    feed.update()
    assert client.seqs(1) == [6]


def test_a_heartbeat_of_what_was_seen_changes_nothing(rig: Rig) -> None:
    _, feed, client = rig
    feed.say(Kind.HEARTBEAT)
    feed.say(Kind.HEARTBEAT, 2)
    feed.update(seq=4)
    assert client.seqs(1) == [4]


def test_duplicates_and_what_comes_late_are_dropped_and_counted(rig: Rig) -> None:
    gateway, feed, client = rig
    for seq in (3, 1, 4, 4, 2, 5):
        feed.update(seq=seq)
    assert client.seqs(2) == [4, 5]
    assert gateway.stats()["feed"]["duplicates"] == 4


def test_a_new_epoch_that_begins_at_1_is_told_without_a_gap(rig: Rig) -> None:
    _, feed, client = rig
    feed.epoch = 255
    feed.update(seq=1)
    expect(
        client,
        ("feed", {"state": "epoch-changed", "epoch": NEW, "previous": OLD, "seq": 0}),
        ("receive-execs", {"epoch": NEW, "seq": 1}),
    )


def test_a_new_epoch_that_began_above_1_is_told_with_the_gap(rig: Rig) -> None:
    _, feed, client = rig
    feed.epoch = 255
    feed.update(seq=4)
    expect(
        client,
        ("feed", {"state": "epoch-changed", "epoch": NEW, "previous": OLD}),
        ("gap", {"from": 1, "to": 3, "why": "upstream"}),
        ("receive-execs", {"epoch": NEW, "seq": 4}),
    )


@pytest.mark.parametrize("kind", [Kind.EPOCH, Kind.HEARTBEAT])
def test_a_new_epoch_is_told_before_its_first_update_where_the_feed_says_so(rig: Rig, kind: Kind) -> None:
    gateway, feed, client = rig
    feed.say(kind, 0, epoch=255)
    expect(client, ("feed", {"state": "epoch-changed", "epoch": NEW, "previous": OLD}))
    feed.update()
    assert client.seqs(1) == [1]
    with gateway.client() as other:
        assert other.receive()["data"]["epoch"] == NEW


def test_a_goodbye_makes_the_feed_stale_at_once_until_something_comes(rig: Rig) -> None:
    gateway, feed, client = rig
    feed.say(Kind.BYE)
    expect(client, ("feed", {"state": "stale", "epoch": OLD, "seq": 3}))
    status, body = gateway.get("/readyz")
    assert (status, json.loads(body)["feed"]) == (503, "stale")
    assert gateway.get("/healthz")[0] == 200
    feed.update()
    expect(client, ("feed", {"state": "live", "seq": 3}), ("receive-execs", {"seq": 4}))
    assert gateway.get("/readyz")[0] == 200


def test_silence_makes_the_feed_stale_and_a_heartbeat_live_again() -> None:
    with scripted("--feed-stale-s", "0.3") as (gateway, feed), gateway.client() as client:
        client.subscribe()
        expect(client, ("feed", {"state": "stale", "seq": 0}))
        assert gateway.get("/readyz")[0] == 503
        feed.say(Kind.HEARTBEAT)
        expect(client, ("feed", {"state": "live", "seq": 0}))


def test_clients_may_connect_and_order_while_the_feed_is_stale(rig: Rig) -> None:
    gateway, feed, _ = rig
    feed.say(Kind.BYE)
    gateway.wait_for_stats("stale", feed__state="stale")
    with gateway.client() as other:
        other.subscribe()
        expect(other, ("feed", {"state": "stale", "epoch": OLD, "seq": 3, "previous": None}))
        rows = [{"symbol": "Q"}]
        answer = other.ask(
            "order-request", {"request": 1, "rows": 1, "timestamp": 1, "address": "a", "execs": rows}
        )
        assert answer["data"]["status"] == "accepted"
        feed.update()
        expect(other, ("feed", {"state": "live"}), ("receive-execs", {"seq": 4}))


def test_messages_that_are_no_feed_messages_are_ignored_and_counted(rig: Rig) -> None:
    gateway, feed, client = rig
    header = struct.Struct("!2sBBHHQQQQ")
    nonsense: list[tuple[bytes, ...]] = [
        (b"",),
        (b"a", b"b", b"c"),
        (b"a", b"b", b"c", b"d"),
        (b"a", b"b", b"c", b"d", b"e"),
        (b"t", header.pack(b"ZZ", 1, 1, 0, 0, 1, 4, 4, 0), b"", b"{}"),
        (b"t", header.pack(b"XG", 9, 1, 0, 0, 1, 4, 4, 0), b"", b"{}"),
        (b"t", header.pack(b"XG", 1, 77, 0, 0, 1, 4, 4, 0), b"", b"{}"),
        (b"t", header.pack(b"XG", 1, 1, 0, 0, 1, 0, 0, 0), b"", b"{}"),
        (b"t", header.pack(b"XG", 1, 1, 0, 0, 1, 2**63, 4, 0), b"", b"{}"),
    ]
    for frames in nonsense:
        feed.raw(*frames)
    feed.update()
    assert client.seqs(1) == [4]
    assert gateway.stats()["feed"]["malformed"] == len(nonsense)
    assert len([line for line in gateway.process.stderr if "refused" in line]) < len(nonsense)  # throttled


def test_a_large_update_goes_through_whole(rig: Rig) -> None:
    _, feed, client = rig
    payload = feed.update(padding=200_000)
    assert client.connection.recv(10, decode=False)[len('{"event":"receive-execs","data":') : -1] == payload


def test_a_burst_reaches_everybody_whole_and_in_order(rig: Rig) -> None:
    gateway, feed, client = rig
    with gateway.client() as other:
        other.subscribe()
        feed.updates(2000)
        assert client.seqs(2000) == other.seqs(2000) == list(range(4, 2004))
