"""The fan-out: what subscribers are told of the feed, and in which order; who leaves disturbs nobody."""

import json
import time
from itertools import pairwise
from typing import Any

import pytest

from execgate.wire.update import Kind, Update
from gateway.core.interest import EVERY_TOPIC, Interest
from gateway.core.session import Mode
from gateway.counters import Counters
from gateway.fanout import BEAT_S, Fanout, FeedState
from gateway.outbound import Outbound
from tests.unit.gateway.fakes import GONE, PLENTY, Owner, Wire

A, B = b"ex.A.", b"ex.B."
EPOCH, NEXT_EPOCH = 0xAB, 0xCD


class House:
    """A fan-out with subscribers that write down what they read."""

    def __init__(self) -> None:
        self.live = 0
        self.exhausted: list[Outbound] = []
        self.first = Owner()
        self.fanout = Fanout(self.first.counters, self._on_live, self._on_exhausted)

    def _on_live(self) -> None:
        self.live += 1

    def _on_exhausted(self, member: Outbound) -> None:
        self.exhausted.append(member)
        self.fanout.leave(member)
        member.control(b'{"event":"unsubscribed","data":{}}')

    @property
    def counters(self) -> Counters:
        return self.fanout.counters

    def subscriber(
        self,
        interest: Interest = EVERY_TOPIC,
        mode: Mode = Mode.ALL,
        max_messages: int | None = None,
        wire: Wire | None = None,
        session_limit: int = PLENTY,
    ) -> Owner:
        owner = Owner(wire, session_limit)
        owner.share(self.first)
        owner.on_close = lambda: self.fanout.leave(owner.outbound)
        self.fanout.join(owner.outbound, interest, mode, max_messages)
        return owner

    def data(self, *seqs: int, topic: bytes = A, epoch: int = EPOCH) -> None:
        for seq in seqs:
            payload = json.dumps({"seq": seq, "topic": topic.decode()}).encode()
            self.fanout.take(Update(Kind.DATA, topic, epoch, seq, seq, 1, b"", payload))

    def say(self, kind: Kind, seq: int, epoch: int = EPOCH) -> None:
        self.fanout.take(Update(kind, b"", epoch, seq, 0, 1, b"", b""))


@pytest.fixture
def house() -> House:
    return House()


def told(owner: Owner) -> list[Any]:
    """What a subscriber read, in short: seqs of updates, and tuples of the rest."""
    short: list[Any] = []
    for message in owner.messages():
        data = message.get("data", {})
        if message["event"] == "receive-execs":
            short.append(data["seq"])
        elif message["event"] == "gap":
            short.append(("gap", data["from"], data["to"], data["why"], data["count"]))
        elif message["event"] == "feed":
            short.append((data["state"], data["epoch"], data["seq"], data["previous"]))
        else:
            short.append((message["event"], message.get("code")))
    return short


def test_it_is_live_once_the_first_message_shows_where_the_sequence_stands(house: House) -> None:
    assert (house.fanout.state, house.fanout.epoch, house.fanout.seq) == (FeedState.JOINING, None, 0)
    house.say(Kind.HEARTBEAT, 7)
    assert (house.fanout.state, house.fanout.epoch, house.fanout.seq) == (FeedState.LIVE, "00000000000000ab", 7)
    house.data(8)
    assert house.live == 1


def test_joining_in_the_middle_is_no_gap(house: House) -> None:
    owner = house.subscriber()
    house.data(41, 42)
    house.fanout.flush()
    assert told(owner) == [41, 42]
    assert house.counters.upstream == {"updates": 2}


def test_a_flush_is_timed_once_whomever_it_concerns_and_its_age_is_that_of_its_oldest_update(house: House) -> None:
    counters = house.counters
    house.data(1)
    house.fanout.flush()
    assert counters.flush_s.figures() == {"sum": 0.0}, "it concerned nobody"
    for _ in range(3):
        house.subscriber()
    now_us = time.time_ns() // 1000
    for seq, age_s in ((2, 1), (3, 300), (4, 0)):
        house.fanout.take(Update(Kind.DATA, A, EPOCH, seq, seq, now_us - age_s * 1_000_000, b"", b"{}"))
    house.fanout.flush()
    house.fanout.flush()
    assert sum(count for key, count in counters.flush_s.figures().items() if key != "sum") == 1
    age = counters.age_s.figures()
    assert sum(count for key, count in age.items() if key != "sum") == 1
    assert 1 <= age["sum"] < 300, "the first that was staged, which is the oldest as the feed numbers them"
    house.fanout.take(Update(Kind.DATA, A, EPOCH, 5, 5, now_us + 9_000_000_000, b"", b"{}"))
    house.fanout.flush()
    assert counters.age_s.sum_s == age["sum"], "nothing is younger than 0, whatever the clocks say"


def test_what_piled_up_is_one_write_a_subscriber_and_counted_for_each(house: House) -> None:
    owners = [house.subscriber() for _ in range(3)]
    house.data(1, 2, 3)
    house.fanout.flush()
    house.fanout.flush()
    for owner in owners:
        assert told(owner) == [1, 2, 3]
        assert owner.wire.send_calls == 1
    assert house.counters.delivered == 9


def test_a_duplicate_is_counted_and_not_sent(house: House) -> None:
    owner = house.subscriber()
    house.data(1, 2, 2, 1, 3)
    house.fanout.flush()
    assert told(owner) == [1, 2, 3]
    assert house.counters.upstream == {"updates": 3, "duplicates": 2}


def test_a_gap_is_told_to_everyone_after_what_came_before_and_before_what_comes_later(house: House) -> None:
    every, other = house.subscriber(), house.subscriber(Interest(["ex.B."]))
    house.data(1)
    house.data(5)
    house.fanout.flush()
    assert told(every) == [1, ("gap", 2, 4, "upstream", None), 5]
    assert told(other) == [("gap", 2, 4, "upstream", None)]
    assert house.counters.upstream == {"updates": 2, "gaps": 1, "missing": 3}


def test_a_lost_tail_is_told_by_the_next_heartbeat(house: House) -> None:
    owner = house.subscriber()
    house.data(1)
    house.say(Kind.HEARTBEAT, 1)
    house.say(Kind.HEARTBEAT, 3)
    house.data(4)
    house.fanout.flush()
    assert told(owner) == [1, ("gap", 2, 3, "upstream", None), 4]
    assert house.fanout.seq == 4


def test_a_new_epoch_tells_the_previous_one_then_its_gap_then_its_updates(house: House) -> None:
    owner = house.subscriber()
    house.data(9)
    house.data(3, 4, epoch=NEXT_EPOCH)
    house.fanout.flush()
    assert told(owner) == [
        9,
        ("epoch-changed", "00000000000000cd", 0, "00000000000000ab"),
        ("gap", 1, 2, "upstream", None),
        3,
        4,
    ]
    assert house.live == 1


def test_stale_is_told_once_after_what_is_staged_and_live_once_before_what_comes(house: House) -> None:
    owner = house.subscriber()
    house.data(1)
    house.fanout.go_stale("silence")
    house.fanout.go_stale("silence")
    assert house.fanout.state is FeedState.STALE
    house.data(2, 3)
    house.fanout.flush()
    epoch = "00000000000000ab"
    assert told(owner) == [1, ("stale", epoch, 1, None), ("live", epoch, 1, None), 2, 3]
    assert house.live == 1


def test_a_heartbeat_without_news_ends_a_stale_feed(house: House) -> None:
    house.data(1)
    house.fanout.go_stale("silence")
    owner = house.subscriber()
    house.say(Kind.HEARTBEAT, 1)
    assert told(owner) == [("live", "00000000000000ab", 1, None)]


def test_a_feed_that_was_never_there_is_not_stale(house: House) -> None:
    house.fanout.go_stale("silence")
    assert house.fanout.state is FeedState.JOINING


def test_bye_shows_a_lost_tail_and_makes_the_feed_stale(house: House) -> None:
    owner = house.subscriber()
    house.data(1)
    house.say(Kind.BYE, 2)
    assert told(owner) == [1, ("gap", 2, 2, "upstream", None), ("stale", "00000000000000ab", 2, None)]


@pytest.mark.parametrize("batches", [[[1], [2], [3], [4]], [[1, 2, 3, 4]], [[1, 2], [3, 4]]], ids=str)
def test_max_messages_is_exact_however_updates_pile_up(house: House, batches: list[list[int]]) -> None:
    limited, unlimited = house.subscriber(max_messages=3), house.subscriber()
    for batch in batches:
        house.data(*batch)
        house.fanout.flush()
    assert told(limited) == [1, 2, 3, ("unsubscribed", None)]
    assert told(unlimited) == [1, 2, 3, 4]
    assert house.exhausted == [limited.outbound]
    assert house.counters.delivered == 7


def test_what_a_volatile_subscriber_drops_does_not_count_for_its_max_messages(house: House) -> None:
    owner = house.subscriber(mode=Mode.VOLATILE, max_messages=3, wire=Wire(sends=[10]))
    for seq in range(1, 5):
        house.data(seq)
        house.fanout.flush()
    owner.wire.pass_on()
    house.data(5, 6, 7, 8)
    house.fanout.flush()
    assert told(owner) == [1, ("gap", 2, 4, "slow", 3), 5, 6, ("unsubscribed", None)]


def test_what_a_limited_volatile_subscriber_had_no_room_for_is_in_the_ledger_too(house: House) -> None:
    owner = house.subscriber(mode=Mode.VOLATILE, max_messages=3, wire=Wire(sends=[10]))
    house.data(1)
    house.fanout.flush()
    house.data(2, 3, 4, 5)  # room for two, and the socket takes none
    house.fanout.flush()
    owner.wire.pass_on()
    assert told(owner) == [1, ("gap", 2, 5, "slow", 4)]
    assert (house.counters.delivered, house.counters.dropped, house.counters.matched) == (1, 4, 5)


def test_a_limited_subscriber_that_overflows_is_closed_not_unsubscribed(house: House) -> None:
    owner = house.subscriber(max_messages=2, wire=Wire(sends=[10]), session_limit=1)
    for seq in (1, 2, 3):
        house.data(seq)
        house.fanout.flush()
    owner.wire.pass_on()
    assert told(owner) == [1, ("close", 4108)]


@pytest.mark.parametrize("slow", range(5))
def test_a_subscriber_closed_in_the_middle_of_a_flush_costs_nobody_else_an_update(house: House, slow: int) -> None:
    """It leaves its group while the group is written to, and the last member takes its position."""
    owners = [
        house.subscriber(wire=Wire(sends=[10]), session_limit=1) if at == slow else house.subscriber()
        for at in range(5)
    ]
    for seq in range(1, 5):
        house.data(seq)
        house.fanout.flush()
    assert owners[slow].closed == [(4108, False)]
    for at, owner in enumerate(owners):
        if at != slow:
            assert told(owner) == [1, 2, 3, 4]
    assert house.counters.delivered + house.counters.discarded == 5 + 5 + 4 + 4
    assert house.fanout.subscribers == {"all": 4}


def test_all_may_be_closed_in_one_flush_and_while_they_are_told_of_a_gap(house: House) -> None:
    for make_it in ("data", "gap"):
        owners = [house.subscriber(wire=Wire(sends=[10]), session_limit=1) for _ in range(4)]
        seq = house.fanout.seq
        house.data(seq + 1)
        house.fanout.flush()
        house.data(seq + 2 if make_it == "data" else seq + 3)
        house.fanout.flush()
        assert [owner.closed for owner in owners] == [[(4108, False)]] * 4
        assert house.fanout.subscribers == {"all": 0}


def test_a_peer_that_is_gone_disturbs_nobody_and_is_counted_as_discarded(house: House) -> None:
    gone, fine = house.subscriber(wire=Wire(sends=[GONE])), house.subscriber()
    house.data(1)
    house.fanout.flush()
    house.data(2)
    house.fanout.flush()
    assert gone.wire.aborted == 1
    assert told(fine) == [1, 2]
    assert (house.counters.delivered, house.counters.discarded) == (2, 2)


def test_a_new_subscription_replaces_the_old_one_between_two_updates(house: House) -> None:
    owner = house.subscriber(Interest(["ex.A."]))
    house.data(1)
    house.fanout.flush()
    house.fanout.join(owner.outbound, Interest(["ex.B."]), Mode.ALL, None)
    house.data(2, topic=A)
    house.data(3, topic=B)
    house.fanout.flush()
    assert told(owner) == [1, 3]
    assert house.fanout.subscribers == {"all": 1}


def test_subscribers_are_counted_by_mode_and_leaving_twice_counts_once(house: House) -> None:
    owner, other = house.subscriber(mode=Mode.VOLATILE), house.subscriber()
    house.fanout.leave(owner.outbound)
    house.fanout.leave(owner.outbound)
    assert house.fanout.subscribers == {"volatile": 0, "all": 1}
    assert list(house.fanout.hub.members()) == [other.outbound]


def test_while_the_gateway_is_behind_volatile_subscribers_miss_what_they_are_told_and_the_others_get_all(
    house: House,
) -> None:
    everything = house.subscriber()
    volatile = house.subscriber(mode=Mode.VOLATILE)
    house.data(1, 2)
    house.fanout.flush()
    house.fanout.is_behind = True
    house.data(3, 4, 5)
    house.fanout.flush()
    late = house.subscriber(mode=Mode.VOLATILE)
    house.data(6)
    house.fanout.flush()
    house.fanout.is_behind = False
    house.data(7)
    house.fanout.flush()
    assert told(everything) == [1, 2, 3, 4, 5, 6, 7]
    assert told(volatile) == [1, 2, ("gap", 3, 5, "slow", 3), ("gap", 6, 6, "slow", 1), 7]
    assert told(late) == [("gap", 6, 6, "slow", 1), 7]
    assert (volatile.outbound.sent, volatile.outbound.dropped) == (3, 4)
    assert (late.outbound.sent, late.outbound.dropped) == (1, 1)
    assert (house.counters.delivered, house.counters.dropped, house.counters.matched) == (11, 5, 16)
    assert house.counters.shed == 5
    assert house.counters.sent_bytes == sum(len(o.wire.received) for o in (everything, volatile, late))
    house.fanout.leave(volatile.outbound)
    assert (volatile.outbound.sent, volatile.outbound.dropped) == (3, 4)


def test_a_blocked_volatile_subscriber_is_told_once_of_all_that_it_missed(house: House) -> None:
    volatile = house.subscriber(mode=Mode.VOLATILE, wire=Wire(sends=[10]))
    house.data(1)
    house.fanout.flush()  # blocked in the middle of it
    house.data(2)
    house.fanout.flush()
    house.fanout.is_behind = True
    house.data(3, 4)
    house.fanout.flush()
    volatile.wire.pass_on()
    assert told(volatile) == [1, ("gap", 2, 4, "slow", 3)]
    assert volatile.outbound.dropped == house.counters.dropped == 3
    assert house.counters.matched == 4
    assert house.counters.shed == 2, "the first of them was dropped because it was slow"
    assert house.counters.sent_bytes == len(volatile.wire.received)


def test_the_feed_is_heard_by_its_heartbeats_each_for_a_second_at_most(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    heard: list[float] = []
    for pause_s in (0.0, 0.25, 0.5, 100.0):
        now_s[0] += pause_s
        house.say(Kind.HEARTBEAT, 5)
        heard.append(house.fanout.heard_s)
    assert [later - earlier for earlier, later in pairwise(heard)] == [0.25, 0.5, BEAT_S]
    now_s[0] += 100.0
    house.data(6)
    house.say(Kind.BYE, 6)
    assert house.fanout.heard_s == heard[-1]
