"""A subscriber that does not read, next to others that do: whom it concerns, and what each is told."""

from typing import Any

from tests.clients import RawClient
from tests.harness import running, wait_until
from tests.integration.publisher_feed import Subscriber
from tests.rig import Gateway, gateway, scripted
from tests.scripted_publisher import ScriptedPublisher

SMALL = ("--send-buffer-kib", "16", "--outbound-kib", "64")
BEATING = (*SMALL, "--heartbeat-s", "0.2")
STEP = 10
PADDING = 1000


def publish_until(condition: str, gateway: Gateway, feed: ScriptedPublisher, fast: RawClient) -> list[int]:
    """Publish at the pace of `fast` until `/stats` shows `condition`; return the seqs that `fast` got."""
    got: list[int] = []
    for _ in range(200):
        feed.updates(STEP, padding=PADDING)
        got += fast.seqs(STEP)
        stats = gateway.stats()
        if condition == "dropped" and stats["dropped"] > 50:
            return got
        if condition == "closed" and stats["closes"].get("4108"):
            return got
    raise AssertionError(f"nobody was slow: {stats}")


def subscribe(client: RawClient, mode: str) -> None:
    client.send("subscribe-execs", {"mode": mode})
    client.receive_event("subscribed")


def test_a_slow_all_client_is_closed_with_4108_after_a_contiguous_prefix_and_others_miss_nothing() -> None:
    with scripted(*SMALL) as (gateway, feed):
        with gateway.raw(receive_buffer=4096) as slow, gateway.raw() as fast:
            subscribe(slow, "all")
            subscribe(fast, "all")
            got = publish_until("closed", gateway, feed, fast)
            feed.updates(STEP)
            got += fast.seqs(STEP)
            assert got == list(range(1, feed.seq + 1))

            messages, code = slow.until_closed()
            received = [m["data"]["seq"] for m in messages if m["event"] == "receive-execs"]
            assert code == 4108
            assert received == list(range(1, len(received) + 1))
            assert 0 < len(received) < feed.seq
            assert "gap" not in [m["event"] for m in messages]
        stats = gateway.wait_for_stats("both have left", connections=0)
        assert stats["delivered"] == len(got) + len(received)
        assert stats["queued_bytes"] == 0


def test_the_end_of_one_slow_client_costs_none_of_many_others_an_update() -> None:
    """The subscribers of a topic stand in one list: one that goes while it is walked must not hide another."""
    with scripted(*SMALL) as (gateway, feed), gateway.raw(receive_buffer=4096) as slow:
        subscribe(slow, "all")
        others = [gateway.raw() for _ in range(5)]
        for other in others:
            subscribe(other, "all")
        while not gateway.stats()["closes"].get("4108"):
            feed.updates(STEP, padding=PADDING)
            expected = list(range(feed.seq - STEP + 1, feed.seq + 1))
            assert [other.seqs(STEP) for other in others] == [expected] * len(others)
            assert feed.seq < 5000
        for other in others:
            other.socket.close()


def test_a_slow_volatile_client_is_told_exactly_what_it_missed_and_goes_on_live() -> None:
    with (
        scripted(*BEATING) as (gateway, feed),
        gateway.raw(receive_buffer=4096) as slow,
        gateway.raw() as fast,
    ):
        subscribe(slow, "volatile")
        subscribe(fast, "volatile")
        got = publish_until("dropped", gateway, feed, fast)
        assert got == list(range(1, feed.seq + 1))
        dropped = gateway.stats()["dropped"]

        expected, missing = 1, 0
        position = feed.seq
        while expected <= position:
            message = slow.receive()
            if message["event"] == "receive-execs":
                assert message["data"]["seq"] == expected
                expected += 1
            elif message["event"] == "gap":
                gap = message["data"]
                assert (gap["why"], gap["then"], gap["topic"]) == ("slow", "lost", None)
                assert gap["from"] == expected
                assert gap["count"] == gap["to"] - gap["from"] + 1
                expected = gap["to"] + 1
                missing += gap["count"]
        assert missing == dropped

        feed.updates(5)
        assert slow.seqs(5) == fast.seqs(5) == list(range(position + 1, position + 6))
        beat = slow.receive_event("heartbeat")["data"]
        assert (beat["seq"], beat["dropped"], beat["conflated"]) == (feed.seq, dropped, 0)
        assert beat["sent"] + beat["dropped"] == feed.seq
        beat = fast.receive_event("heartbeat")["data"]
        assert (beat["sent"], beat["dropped"]) == (feed.seq, 0)


def test_a_gap_counts_only_what_the_client_had_subscribed_to() -> None:
    with scripted(*SMALL) as (gateway, feed), gateway.raw(receive_buffer=4096) as slow, gateway.raw() as fast:
        slow.send("subscribe-execs", {"mode": "volatile", "topics": ["ex.A."]})
        slow.receive_event("subscribed")
        subscribe(fast, "all")
        while gateway.stats()["dropped"] < 20:
            for topic in ("ex.A.", "ex.B."):
                feed.updates(STEP, topic=topic, padding=PADDING)
            fast.seqs(2 * STEP)
            assert feed.seq < 5000
        dropped = gateway.stats()["dropped"]
        received = 0
        while (message := slow.receive())["event"] != "gap":
            received += message["event"] == "receive-execs"
        assert message["data"]["count"] == dropped
        assert received + dropped == feed.seq / 2
        assert message["data"]["to"] - message["data"]["from"] + 1 > dropped


def test_answers_to_a_slow_volatile_client_are_never_dropped() -> None:
    with scripted(*SMALL) as (gateway, feed), gateway.raw(receive_buffer=4096) as slow, gateway.raw() as fast:
        subscribe(slow, "volatile")
        subscribe(fast, "all")
        publish_until("dropped", gateway, feed, fast)
        order = {"rows": 1, "timestamp": 1, "address": "a", "execs": [{"symbol": "Q"}]}
        for request in range(20):
            slow.send("order-request", {"request": request, **order})
        gateway.wait_for_stats("the orders were taken", orders__accepted=20)
        answers = [slow.receive_event("order-response")["data"]["request"] for _ in range(20)]
        assert answers == list(range(20))


def test_a_client_that_never_reads_its_answers_is_closed_with_4108() -> None:
    with scripted(*SMALL) as (gateway, _), gateway.raw(receive_buffer=4096) as mute:
        mute.socket.settimeout(0.2)

        def closed_while_it_asks() -> bool:
            try:
                for _ in range(100):
                    mute.send("no-such-event", {"text": "x" * 40})
            except OSError:
                pass
            return bool(gateway.stats()["closes"].get("4108"))

        wait_until(closed_while_it_asks, "closed with 4108")


def test_a_slow_client_that_closes_gets_its_close_answered_after_it_has_read() -> None:
    with scripted(*SMALL) as (gateway, feed), gateway.raw(receive_buffer=4096) as slow, gateway.raw() as fast:
        subscribe(slow, "volatile")
        subscribe(fast, "all")
        publish_until("dropped", gateway, feed, fast)
        slow.send_frame(0x8, b"\x03\xe8")
        gateway.wait_for_stats("the close was read", closes__peer=1)
        assert slow.close_code() == 1000


def test_a_slow_conflating_client_gets_the_newest_of_each_symbol_by_the_default_settings() -> None:
    """Its kernel takes little ahead of it: by itself it would take all of this, and nothing would be merged."""
    updates, symbols = 2000, 3
    bounds = ("--await-gateways", "2", "--max-updates", str(updates))
    made = ("--rate", "5000", "--symbols", str(symbols), *bounds)
    with running("publisher", "--pub", "tcp://127.0.0.1:0", *made) as publisher:
        feed = publisher.ready()["pub"]
        with gateway(feed) as ours, ours.raw(receive_buffer=4096) as slow, ours.raw() as fast:
            subscribe(slow, "conflate")
            subscribe(fast, "all")
            with Subscriber(feed):  # the second that is awaited: now it begins
                sent = until(fast, updates)
            got = until(slow, updates)
            assert len(sent) == updates
            assert [data["seq"] for data in got] == sorted(data["seq"] for data in got)
            assert newest(got) == newest(sent)
            assert len(newest(got)) == symbols
            assert len(got) + ours.stats()["conflated"] == updates
            assert len(got) < updates / 2


def until(client: RawClient, seq: int) -> list[dict[str, Any]]:
    """Return the data of all updates up to `seq`."""
    got: list[dict[str, Any]] = []
    while not got or got[-1]["seq"] < seq:
        got.append(client.receive_event("receive-execs")["data"])
    return got


def newest(updates: list[dict[str, Any]]) -> dict[str, Any]:
    return {data["topic"]: data for data in updates}
