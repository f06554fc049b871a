"""The recovery: a hole is asked for once and filled before what is later, or given up; a snapshot at last."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.wire.replay import End, Failed, Gone
from execgate.wire.update import Update
from gateway.core.interest import EVERY_TOPIC
from gateway.core.session import Mode
from gateway.core.stitcher import Stitcher
from gateway.fanout import Fanout
from gateway.history import Outcome, TimedOut
from gateway.recovery import TRIES, Recovery
from tests.unit.gateway.fakes import Owner
from tests.unit.gateway.history_fake import FakeHistory, beat, update

TIMED_OUT = TimedOut(2.0)


class House:
    """A recovery between a feed that the test speaks for and a fan-out with one subscriber."""

    def __init__(self, max_updates: int = 1_000, *, with_history: bool = True) -> None:
        self.history = FakeHistory()
        self.history.publish(1, 500)
        self.owner = Owner()
        self.fanout = Fanout(self.owner.counters, lambda: None, lambda member: None)
        self.progress = 0
        self.fanout.on_progress = self._on_progress
        history = self.history.as_client if with_history else None
        self.recovery = Recovery(self.fanout, history, Stitcher(max_updates, 1 << 30))
        self.fanout.join(self.owner.outbound, EVERY_TOPIC, Mode.ALL, None)

    def _on_progress(self) -> None:
        self.progress += 1

    def feed(self, *messages: Update | int) -> None:
        """As the feed does: each message, then one flush."""
        for message in messages:
            self.recovery.take(update(message) if isinstance(message, int) else message)
        self.fanout.flush()

    def told(self) -> list[object]:
        short: list[object] = []
        for message in self.owner.messages():
            data = message["data"]
            if message["event"] == "receive-execs":
                short.append(data["seq"])
            elif message["event"] == "gap":
                short.append((data["from"], data["to"], data["why"]))
            else:
                short.append(data["state"])
        return short


def test_a_hole_is_filled_before_what_is_later_and_subscribers_see_none() -> None:
    house = House()
    house.feed(1, 2, 5, 6)
    assert house.history.asked == [(7, 3, 4)]
    house.feed(7)
    assert house.told() == [1, 2]
    house.history.answer(at_once=1)
    assert house.told() == [1, 2, 3, 4, 5, 6, 7]
    house.feed(8)
    assert house.told() == [*range(1, 9)]
    upstream = house.fanout.counters.upstream
    assert (upstream["replays"], upstream["replayed"], upstream["gaps"]) == (1, 2, 0)


def test_a_hole_behind_a_hole_is_asked_for_in_its_turn_and_the_end_of_the_first_ends_nothing() -> None:
    house = House()
    house.feed(1, 3, 6)
    assert house.history.asked == [(7, 2, 2)]
    house.history.answer()
    assert house.history.asked == [(7, 2, 2), (7, 4, 5)]
    assert house.told() == [1, 2, 3]
    house.history.answer()
    assert house.told() == [1, 2, 3, 4, 5, 6]


def test_a_lost_tail_is_asked_for_at_the_next_heartbeat() -> None:
    house = House()
    house.feed(1, beat(1), beat(3))
    assert house.history.asked == [(7, 2, 3)]
    house.history.answer()
    assert house.told() == [1, 2, 3]


@pytest.mark.parametrize("outcome", [TIMED_OUT, Failed("no"), Gone(8, 1, 5), Gone(7, 1, 0), Gone(7, 2, 9)])
def test_what_can_not_be_had_is_told_as_a_gap_before_what_is_later(outcome: Outcome) -> None:
    house = House()
    house.feed(1, 5)
    while house.history.waiting:
        house.feed(beat(5))  # the publisher lives
        house.history.answer(most=0, outcome=outcome)
    assert len(house.history.asked) == (1 if isinstance(outcome, Gone) else TRIES)
    assert house.told() == [1, (2, 4, "upstream"), 5]
    house.feed(6)
    assert house.told()[-1] == 6


def test_a_replay_that_breaks_off_loses_only_what_it_did_not_bring() -> None:
    house = House()
    house.feed(1, 6)
    house.history.answer(most=2, outcome=TIMED_OUT)
    while house.history.waiting:
        house.feed(beat(6))
        house.history.answer(most=0, outcome=TIMED_OUT)
    assert house.told() == [1, 2, 3, (4, 5, "upstream"), 6]


@pytest.mark.parametrize("outcome", [TIMED_OUT, Failed("yours was silent longest; ask again")])
def test_a_publisher_that_comes_back_is_asked_for_the_rest_and_nothing_is_lost(outcome: Outcome) -> None:
    """The simulation's seed 250: it was killed while it answered. Each try counts from what came last."""
    house = House()
    house.feed(1, 6)
    for most in (0, 0, 1, 0, 0):
        house.feed(beat(6))
        house.history.answer(most=most, outcome=outcome)
    assert house.history.asked == [(7, 2, 5)] * 3 + [(7, 3, 5)] * 3
    house.history.answer()
    assert house.told() == [1, 2, 3, 4, 5, 6]


def test_while_a_hole_is_open_the_feed_is_not_heard_at_the_gateways_position(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is published is known to be more than it has: nobody who is ahead of it is wrong for that."""
    now_s = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    house = House()
    house.feed(1, beat(1))
    heard_s = house.fanout.heard_s
    for _ in range(5):
        now_s[0] += 1
        house.feed(beat(3))
    assert house.fanout.heard_s == heard_s
    house.history.answer()
    house.feed(beat(3))
    assert house.fanout.heard_s == heard_s + 1


def test_what_is_gone_in_part_is_asked_for_where_it_is_held() -> None:
    house = House()
    house.feed(1, 9)
    house.history.retain_from(5)
    house.history.answer()
    assert house.history.asked == [(7, 2, 8), (7, 5, 8)]
    house.history.answer()
    assert house.told() == [1, (2, 4, "upstream"), 5, 6, 7, 8, 9]


def test_a_replay_that_is_slower_than_the_feed_loses_nothing_and_what_waits_is_bounded() -> None:
    """On a busy machine more came behind a hole than may wait before the hole was filled: it was given up."""
    house = House(max_updates=2)
    house.feed(1, *range(4, 300))
    assert house.history.asked == [(7, 2, 3)]
    house.history.answer()
    assert house.told() == [1, 2, 3, 4, 5]
    assert house.history.asked[1:] == [(7, 6, 299)]
    house.history.answer()
    house.feed(300)
    assert house.told() == [*range(1, 301)]


def test_a_publisher_that_is_silent_altogether_is_waited_for_and_then_nothing_is_lost() -> None:
    house = House()
    house.feed(1, 5)
    for _ in range(10 * TRIES):
        house.history.answer(most=0, outcome=TIMED_OUT)
    assert house.told() == [1]
    house.feed(beat(5))
    house.history.answer()
    assert house.told() == [*range(1, 6)]


def test_a_replay_that_is_silent_while_the_feed_lives_costs_its_tries_once_not_for_each_hole() -> None:
    house = House()
    house.feed(1, 5, 9, 13, 14)
    for _ in range(TRIES):
        house.feed(beat(14))
        house.history.answer(most=0, outcome=TIMED_OUT)
    assert house.told() == [1, (2, 4, "upstream"), 5, (6, 8, "upstream"), 9, (10, 12, "upstream"), 13, 14]


def test_a_late_answer_to_what_was_given_up_changes_nothing() -> None:
    house = House(max_updates=2)
    house.feed(1, 4, 5)
    house.history.publish(1, 5, epoch=8)
    house.feed(beat(0, epoch=8))
    assert house.told() == [1, (2, 3, "upstream"), 4, 5, "epoch-changed"]
    house.history.answer()
    house.feed(update(1, epoch=8), update(3, epoch=8))
    assert house.history.asked[-1] == (8, 2, 2)
    house.history.answer()
    assert house.told()[-3:] == [1, 2, 3]


def test_another_epoch_is_had_from_its_first_update_on() -> None:
    house = House()
    house.history.publish(1, 5, epoch=8)
    house.feed(1, update(3, epoch=8))
    assert house.history.asked == [(8, 1, 2)]
    house.history.answer()
    assert house.told() == [1, "epoch-changed", 1, 2, 3]


def test_a_snapshot_belongs_to_joining_and_to_each_new_epoch() -> None:
    house = House()
    assert not house.recovery.is_joined
    house.feed(beat(5))
    house.feed(6, beat(6))
    assert len(house.history.snapshots) == 1
    before = house.progress
    asked = house.history.snapshots[0]
    asked.on_items([update(3, key=b"k"), update(6, key=b"other"), update(4)])
    assert not house.recovery.is_joined
    asked.on_end(End(7, 6))
    assert house.recovery.is_joined
    assert house.progress > before, "who waits for it looks again"
    assert [each.seq for each in house.fanout.snapshot(EVERY_TOPIC)] == [3, 6]
    house.feed(beat(0, epoch=8))
    assert len(house.history.snapshots) == 2
    assert house.fanout.snapshot(EVERY_TOPIC) == []


@pytest.mark.parametrize("outcome", [TIMED_OUT, Failed("no")])
def test_a_snapshot_that_does_not_come_holds_nobody_up_and_is_asked_for_again(outcome: Outcome) -> None:
    house = House()
    house.feed(beat(5))
    house.history.snapshots[0].on_end(outcome)
    assert house.recovery.is_joined
    house.feed(6, 7)
    assert len(house.history.snapshots) == 1
    house.feed(beat(7), beat(7))
    assert len(house.history.snapshots) == 2
    house.history.snapshots[1].on_items([update(3, key=b"k")])
    house.history.snapshots[1].on_end(End(7, 7))
    house.feed(beat(7))
    assert len(house.history.snapshots) == 2
    assert [each.seq for each in house.fanout.snapshot(EVERY_TOPIC)] == [3]


def test_what_a_snapshot_knows_and_the_feed_has_not_brought_yet_is_not_sent_twice() -> None:
    house = House()
    house.feed(beat(5))
    house.history.snapshots[0].on_items([update(9, key=b"k"), update(4, key=b"j")])
    assert [each.seq for each in house.fanout.snapshot(EVERY_TOPIC)] == [4], "9 comes live"


def test_an_older_value_of_a_snapshot_replaces_no_newer_one_and_one_of_another_epoch_is_none() -> None:
    house = House()
    house.feed(beat(5), update(6, key=b"k"))
    house.history.snapshots[0].on_items([update(4, key=b"k"), update(3, epoch=9, key=b"j")])
    assert [each.seq for each in house.fanout.snapshot(EVERY_TOPIC)] == [6]


def test_without_a_history_every_message_goes_straight_on() -> None:
    house = House(with_history=False)
    assert house.recovery.is_joined
    house.feed(1, 4)
    assert house.told() == [1, (2, 3, "upstream"), 4]
    assert not house.history.asked


_FEED = st.lists(
    st.tuples(
        st.sampled_from(["arrives", "arrives", "arrives", "lost", "doubled", "beat"]),
        st.sampled_from([None, None, "whole", "part", "never", "late"]),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(_FEED, st.integers(1, 30))
def test_a_subscriber_gets_each_update_once_in_order_or_is_told_that_it_is_lost(
    steps: list[tuple[str, str | None]], max_updates: int
) -> None:
    house = House(max_updates)
    house.feed(beat(0))
    seq = 0
    for fate, answer in steps:
        if fate == "beat":
            house.feed(beat(seq))
        else:
            seq += 1
            if fate != "lost":
                house.feed(*[seq] * (2 if fate == "doubled" else 1))
        if answer is not None and house.history.waiting:
            if answer == "whole":
                house.history.answer(at_once=2)
            elif answer == "part":
                house.history.answer(most=1, outcome=TIMED_OUT)
            elif answer == "never":
                house.history.answer(most=0, outcome=TIMED_OUT)
    house.feed(beat(seq))
    while house.history.waiting:
        house.history.answer()
    expected = 1
    for item in house.told():
        if isinstance(item, tuple):
            assert item[0] == expected
            expected = item[1] + 1
        else:
            assert item == expected
            expected += 1
    assert expected == seq + 1
    assert house.fanout.ring.ceiling == seq
