"""Who gets which updates: subscription at connect and by request, topics, modes, ends."""

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.rig import Gateway, scripted
from tests.scripted_publisher import ScriptedPublisher

Rig = tuple[Gateway, ScriptedPublisher]


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with scripted() as (gateway, feed):
        yield gateway, feed


def test_without_the_subprotocol_a_client_is_subscribed_to_everything_at_connect(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client(subscribe_at_connect=True) as client:
        hello, subscribed = client.receive(), client.receive()
        assert (hello["event"], subscribed["event"]) == ("hello", "subscribed")
        assert subscribed["data"]["topics"] == ["*"]
        assert subscribed["data"]["mode"] == "all"
        assert subscribed["data"]["seq"] == feed.seq
        feed.update(topic="ex.ANY.")
        assert client.seqs(1) == [feed.seq]


def test_hello_tells_who_and_where_the_client_is_and_its_limits(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client() as client:
        hello = client.receive()["data"]
        assert client.connection.subprotocol == "execgate.1"
        host, port = client.connection.local_address[:2]
        assert hello["address"].startswith(f"{host}:{port}:")
        assert hello["gateway"] == f"gateway-{gateway.process.pid}"
        assert hello["session"].startswith(hello["gateway"])
        assert (hello["protocol"], hello["epoch"], hello["seq"]) == (1, f"{feed.epoch:016x}", feed.seq)
        assert hello["heartbeat_ms"] == 10_000
        assert hello["limits"] == {
            "message_bytes": 65536,
            "depth": 16,
            "fragments": 64,
            "messages_per_s": None,
            "topics": 1000,
        }


def test_who_asks_for_stamps_is_told_when_the_newest_update_passed_each_station(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client(subscribe_at_connect=True) as client:
        hello, _ = client.receive(), client.receive()
        assert hello["data"]["stamps"] is True
        before_us = time.time_ns() // 1000
        feed.update()
        assert client.seqs(1) == [feed.seq]
        client.send("stamps-request", message_id=7)
        answer = client.receive()
        assert (answer["event"], answer["id"]) == ("stamps", 7)
        assert answer["data"]["publisher"] is None, "there is no channel to ask it over (`--replay none`)"
        stamps = answer["data"]["update"]
        assert (stamps["epoch"], stamps["seq"]) == (f"{feed.epoch:016x}", feed.seq)
        stations = [stamps[name] for name in ("ts_us", "fed_us", "began_us", "written_us")]
        # Two clocks of one machine, the duration's and the wall's, agree to a millisecond.
        passed = [before_us, *stations[1:], answer["data"]["now_us"]]
        assert all(later >= earlier - 1_000 for earlier, later in pairwise(passed))


def test_stamps_of_an_update_that_was_written_to_nobody_are_not_told(rig: Rig) -> None:
    gateway, feed = rig
    feed.update()
    gateway.wait_for_stats("the update passed", feed__seq=feed.seq)
    with gateway.client() as client:
        assert client.receive()["event"] == "hello"
        client.send("stamps-request")
        assert client.receive()["data"]["update"] is None


def test_with_the_subprotocol_a_client_gets_nothing_before_it_subscribes(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client() as client, gateway.client(subscribe_at_connect=True) as witness:
        assert client.receive()["event"] == "hello"
        feed.updates(3)
        witness.seqs(3)
        client.send("subscribe-execs", message_id="s1")
        answer = client.receive()
        assert (answer["event"], answer["id"]) == ("subscribed", "s1")
        assert answer["data"]["seq"] == feed.seq
        assert (answer["data"]["recovered"], answer["data"]["gap"]) == (False, None)
        feed.update()
        assert client.seqs(1) == [feed.seq]


def test_explicit_subscribe_holds_updates_back_from_those_without_the_subprotocol_too() -> None:
    with (
        scripted("--explicit-subscribe") as (gateway, feed),
        gateway.client(subscribe_at_connect=True) as client,
    ):
        assert client.receive()["event"] == "hello"
        feed.update()
        gateway.wait_for_stats("the update passed", feed__seq=1)
        client.send("subscribe-execs")
        assert client.receive()["event"] == "subscribed"


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        (["ex.AB."], ["ex.AB."]),
        (["ex.A*"], ["ex.AB.", "ex.ABC.", "ex.A."]),
        (["ex.AB.", "ex.X."], ["ex.AB.", "ex.X."]),
        (["*"], ["ex.AB.", "ex.ABC.", "ex.A.", "ex.X."]),
        (["ex.AB", "ex.X.*", "ex.AB.*"], ["ex.AB.", "ex.X."]),
    ],
)
def test_topics_are_taken_exactly_or_as_a_prefix_that_ends_in_a_star(
    rig: Rig, topics: list[str], expected: list[str]
) -> None:
    gateway, feed = rig
    with gateway.client() as client, gateway.client(subscribe_at_connect=True) as witness:
        assert client.subscribe(topics=topics)["topics"] == sorted(topics)
        for topic in ("ex.AB.", "ex.ABC.", "ex.A.", "ex.X."):
            feed.update(topic=topic)
        witness.seqs(4)
        client.send("end")
        got = []
        while (message := client.receive())["event"] != "error":
            got += [message["data"]["topic"]] if message["event"] == "receive-execs" else []
        assert got == expected


def test_a_repeated_subscription_replaces_the_topics_and_loses_and_doubles_nothing(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client() as client:
        client.subscribe(topics=["ex.A.", "ex.B."])
        feed.update(topic="ex.A.")
        first = client.receive_event("receive-execs")["data"]
        position = client.subscribe(topics=["ex.B.", "ex.C."])["seq"]
        assert position == first["seq"]
        for topic in ("ex.A.", "ex.B.", "ex.C.", "ex.B."):
            feed.update(topic=topic)
        assert client.seqs(3) == [position + 2, position + 3, position + 4]


def test_unsubscribing_some_topics_leaves_the_others(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client() as client:
        client.subscribe(topics=["ex.A.", "ex.B."])
        answer = client.ask("unsubscribe-execs", {"topics": ["ex.A."]}, 7)
        assert (answer["event"], answer["id"]) == ("unsubscribed", 7)
        assert answer["data"] == {"topics": ["ex.A."], "reason": "client"}
        feed.update(topic="ex.A.")
        feed.update(topic="ex.B.")
        assert client.seqs(1) == [feed.seq]


def test_unsubscribing_without_topics_ends_all_and_the_session_may_subscribe_again(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client() as client, gateway.client(subscribe_at_connect=True) as witness:
        client.subscribe(topics=["ex.A.", "ex.B."])
        answer = client.ask("unsubscribe-execs")
        assert answer["data"] == {"topics": ["ex.A.", "ex.B."], "reason": "client"}
        feed.update(topic="ex.A.")
        witness.seqs(1)
        client.send("subscribe-execs", {"mode": "volatile"})  # a new one may have another mode
        assert client.receive()["event"] == "subscribed"
        feed.update(topic="ex.A.")
        assert client.seqs(1) == [feed.seq]


def test_unsubscribing_what_was_not_subscribed_is_an_error(rig: Rig) -> None:
    gateway, _ = rig
    with gateway.client() as client:
        assert client.ask("unsubscribe-execs")["data"]["code"] == "bad-field"
        client.subscribe(topics=["ex.A."])
        answer = client.ask("unsubscribe-execs", {"topics": ["ex.B."]})
        assert answer["data"]["code"] == "bad-field"
        assert "ex.B." in answer["data"]["message"]


def test_the_mode_of_a_subscription_is_fixed_and_the_topics_stay_as_they_were(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client() as client:
        assert client.subscribe(topics=["ex.A."])["mode"] == "all"
        answer = client.ask("subscribe-execs", {"topics": ["ex.B."], "mode": "volatile"}, "m")
        assert (answer["event"], answer["data"]["code"], answer["id"]) == ("error", "mode-fixed", "m")
        feed.update(topic="ex.B.")
        feed.update(topic="ex.A.")
        assert client.seqs(1) == [feed.seq]
        assert client.subscribe(topics=["ex.B."], mode="all")["mode"] == "all"


def test_max_messages_is_exact_then_unsubscribed_says_why(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client() as client:
        position = client.subscribe(topics=["ex.A.", "ex.B."], max_messages=3)["seq"]
        feed.updates(5, topic="ex.A.")
        assert client.seqs(3) == [position + 1, position + 2, position + 3]
        ended = client.receive()
        assert ended["event"] == "unsubscribed"
        assert ended["data"] == {"topics": ["ex.A.", "ex.B."], "reason": "max_messages"}
        again = client.subscribe(topics=["ex.A."], max_messages=1)
        feed.update(topic="ex.A.")
        assert client.seqs(1) == [again["seq"] + 1]
        assert client.receive()["event"] == "unsubscribed"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"since": 7}, "since"),
        ({"since": {"epoch": 1, "seq": 1}}, "since.epoch"),
        ({"since": {"epoch": "0" * 16, "seq": -1}}, "since.seq"),
        ({"since": {"epoch": "0" * 16, "seq": 2**53}}, "since.seq"),
        ({"snapshot": "yes"}, "snapshot"),
        ({"mode": "merge"}, "mode"),
    ],
)
def test_what_is_malformed_is_named_and_the_connection_lives(
    rig: Rig, asked: dict[str, object], named: str
) -> None:
    gateway, _ = rig
    with gateway.client() as client:
        answer = client.ask("subscribe-execs", asked, 1.5)
        assert (answer["event"], answer["data"]["code"], answer["id"]) == ("error", "bad-field", 1.5)
        assert answer["data"]["message"].startswith(f"{named} is ")
        client.subscribe()


def test_a_repeated_subscription_with_a_position_begins_there_again_and_then_is_live(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client() as client:
        position = client.subscribe(topics=["ex.A."])["seq"]
        feed.updates(3, topic="ex.A.")
        assert client.seqs(3) == [position + 1, position + 2, position + 3]
        since = {"epoch": f"{feed.epoch:016x}", "seq": position + 1}
        again = client.subscribe(topics=["ex.A."], since=since)
        assert (again["seq"], again["recovered"], again["gap"]) == (position + 1, True, None)
        feed.update(topic="ex.A.")
        assert client.seqs(3) == [position + 2, position + 3, position + 4]


def test_a_snapshot_is_the_newest_of_each_key_and_a_conflating_subscriber_is_counted_by_its_mode(rig: Rig) -> None:
    gateway, feed = rig
    with gateway.client() as client:
        answer = client.subscribe(topics=["ex.A."], snapshot=True, mode="conflate")
        assert (answer["mode"], answer["seq"]) == ("conflate", feed.seq)
        gateway.wait_for_stats("it conflates", subscribers__conflate=1)
        feed.update(topic="ex.A.")
        assert client.seqs(1) == [feed.seq]


def test_emit_volatile_in_the_environment_makes_volatile_the_default_mode() -> None:
    with scripted(environment={"EMIT_VOLATILE": "true"}) as (gateway, _):
        with gateway.client(subscribe_at_connect=True) as client:
            assert client.receive_event("subscribed")["data"]["mode"] == "volatile"
        with gateway.client() as client:
            assert client.subscribe()["mode"] == "volatile"
        with gateway.client() as client:
            assert client.subscribe(mode="all")["mode"] == "all"


def test_stats_count_subscribers_by_their_mode(rig: Rig) -> None:
    gateway, _ = rig
    gateway.wait_for_stats("the others have left", connections=0)
    with gateway.client() as one, gateway.client() as other, gateway.client():
        one.subscribe()
        other.subscribe(mode="volatile")
        stats = gateway.stats()
        assert (stats["subscribers"]["all"], stats["subscribers"]["volatile"], stats["connections"]) == (1, 1, 3)
    gateway.wait_for_stats("all have left", connections=0, subscribers__all=0, subscribers__volatile=0)
