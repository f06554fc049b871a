"""The stitcher: whatever the feed loses, doubles or reorders, what it passes on is in order, without new holes."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.wire.tracking import SequenceTracker, Verdict
from execgate.wire.update import MAX_SEQ, Kind, Update
from gateway.core.stitcher import Missing, Stitcher

MANY = 1 << 30


def data(seq: int, epoch: int = 1, size: int = 1) -> Update:
    return Update(Kind.DATA, b"ex.A.", epoch, seq, seq, 0, b"", b"x" * size)


def beat(seq: int, epoch: int = 1) -> Update:
    return Update(Kind.HEARTBEAT, b"", epoch, seq, 0, 0, b"", b"")


def short(messages: list[Update]) -> list[tuple[int, int]]:
    """Epoch and seq of the updates among `messages`."""
    return [(each.epoch, each.seq) for each in messages if each.kind == Kind.DATA]


def stitcher(*first: Update, max_updates: int = MANY, max_bytes: int = MANY) -> Stitcher:
    made = Stitcher(max_updates, max_bytes)
    for message in first:
        assert made.take(message) == [message]
    return made


def test_the_next_one_follows_and_nothing_else_does() -> None:
    one = stitcher(data(4))
    assert one.follows(data(5))
    for other in (data(5), data(7), data(6, epoch=2), beat(6)):
        assert not one.follows(other)
    assert one.follows(data(6))
    assert one.take(data(8)) == []
    assert not one.follows(data(7)), "it is missing: it comes from the publisher's history"
    assert one.missing == Missing(1, 7, 7)


def test_nothing_follows_where_nothing_has_come_and_the_first_message_is_no_hole() -> None:
    one = stitcher()
    assert not one.follows(data(1))
    assert short(one.take(data(41))) == [(1, 41)]
    assert one.missing is None
    assert one.take(beat(41)) == [beat(41)]


def test_a_hole_is_asked_for_to_its_edges_and_what_is_later_waits() -> None:
    one = stitcher(data(4))
    assert one.take(data(8)) == []
    assert one.missing == Missing(1, 5, 7)
    assert one.take(data(9)) == []
    assert short(one.fill([data(5)])) == [(1, 5)]
    assert one.missing == Missing(1, 6, 7)
    assert one.behind == 4
    assert short(one.fill([data(6), data(7)])) == [(1, 6), (1, 7), (1, 8), (1, 9)]
    assert one.missing is None
    assert one.behind == 0
    assert one.follows(data(10))


def test_a_heartbeat_beyond_the_position_is_a_lost_tail_up_to_and_including_its_seq() -> None:
    one = stitcher(data(4))
    assert one.take(beat(4)) == [beat(4)]
    assert one.take(beat(6)) == []
    assert one.missing == Missing(1, 5, 6)
    assert one.fill([data(5), data(6)]) == [data(5), data(6), beat(6)]


def test_what_does_not_belong_to_the_hole_fills_nothing() -> None:
    one = stitcher(data(4))
    one.take(data(8))
    assert one.fill([data(4), data(6), data(5, epoch=2), data(8)]) == []
    assert one.missing == Missing(1, 5, 7)
    assert stitcher(data(4)).fill([data(5)]) == [], "nothing is missing"


def test_another_epoch_is_missed_from_its_first_update_on() -> None:
    one = stitcher(data(9))
    assert one.take(data(3, epoch=2)) == []
    assert one.missing == Missing(2, 1, 2)
    assert short(one.fill([data(1, 2), data(2, 2)])) == [(2, 1), (2, 2), (2, 3)]
    assert one.take(beat(0, epoch=3)) == [beat(0, epoch=3)]
    assert one.follows(data(1, epoch=3))


def test_an_epoch_that_begins_behind_a_hole_is_a_hole_of_its_own() -> None:
    one = stitcher(data(4))
    for message in (data(6), data(2, epoch=2), data(3, epoch=2)):
        assert one.take(message) == []
    assert short(one.give_up()) == [(1, 6)]
    assert one.missing == Missing(2, 1, 1)
    assert short(one.fill([data(1, epoch=2)])) == [(2, 1), (2, 2), (2, 3)]


def test_what_is_given_up_in_part_stays_asked_for_behind_it() -> None:
    one = stitcher(data(4))
    one.take(data(11))
    assert one.give_up(7) == []
    assert one.missing == Missing(1, 8, 10)
    assert short(one.fill([data(7), data(8), data(9), data(10)])) == [(1, 8), (1, 9), (1, 10), (1, 11)]
    one.take(data(15))
    assert short(one.give_up(14)) == [(1, 15)]
    assert one.missing is None
    assert one.give_up() == []


@pytest.mark.parametrize("bounds", [{"max_updates": 3}, {"max_bytes": 3}])
def test_what_there_is_no_room_for_is_missing_behind_what_is_held(bounds: dict[str, int]) -> None:
    one = stitcher(data(1), **bounds)
    for seq in range(3, 1_001):
        assert one.take(data(seq)) == []
    assert one.take(data(4)) == []
    assert len(one._held) == 4, "three, and the heartbeat that stands for the rest"
    assert short(one.fill([data(2)])) == [(1, 2), (1, 3), (1, 4), (1, 5)]
    assert one.missing == Missing(1, 6, 1_000)
    assert one.take(data(1_001)) == [], "there is room again"
    passed = one.fill(map(data, range(6, 1_001)))
    assert short(passed) == [(1, seq) for seq in range(6, 1_002)]
    assert one.missing is None


def test_epochs_that_come_faster_than_holes_are_filled_give_the_oldest_up() -> None:
    one = stitcher(data(1), max_updates=2)
    for message in (data(3), data(2, epoch=2)):
        assert one.take(message) == []
    assert short(one.take(data(2, epoch=3))) == [(1, 3)]
    assert one.missing == Missing(2, 1, 1)
    assert short(one.take(beat(2, epoch=4))) == [(2, 2)]
    assert one.missing == Missing(3, 1, 1)


def test_many_holes_cost_no_walk_over_everything_that_waits_for_each() -> None:
    """A full ZeroMQ queue drops every other message: with a walk for each this took minutes."""
    one = stitcher(data(1))
    for seq in range(3, 100_001, 2):
        one.take(data(seq))
    passed = 1
    held = one._held
    for seq in range(2, 100_001, 2):
        passed += len(one.fill([data(seq)]))
        assert one._held is held, "what waits stays where it is"
    assert (passed, one.missing) == (99_999, None)


# -- any history: what the publisher published, what the feed made of it, what the replays brought


class Noting(Stitcher):
    """Writes down what is given up."""

    def __init__(self, max_updates: int, max_bytes: int) -> None:
        super().__init__(max_updates, max_bytes)
        self.given_up: set[tuple[int, int]] = set()

    def give_up(self, until: int = MAX_SEQ) -> list[Update]:
        missing = self.missing
        assert missing is not None
        self.given_up |= {(missing.epoch, seq) for seq in range(missing.first, min(until, missing.last) + 1)}
        return super().give_up(until)


@dataclass
class World:
    """A stitcher between a feed that fails and a history that may; what came out is judged by a tracker."""

    max_updates: int
    max_bytes: int
    passed: list[Update] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stitcher = Noting(self.max_updates, self.max_bytes)

    def take(self, message: Update) -> None:
        before = len(self.stitcher.given_up)
        was_full = len(self.stitcher._held) >= self.max_updates
        is_new = bool(self.stitcher._held) and self.stitcher._held[-1].epoch != message.epoch
        size = self.stitcher._held_bytes + len(message.payload)
        if self.stitcher.follows(message):
            self.passed.append(message)
        else:
            self.passed += self.stitcher.take(message)
        if len(self.stitcher.given_up) > before:
            assert is_new, "given up without need"
            assert was_full or size > self.max_bytes, "given up without need"
        epochs = len({each.epoch for each in self.stitcher._held})
        assert len(self.stitcher._held) <= self.max_updates + epochs
        assert self.stitcher._held_bytes <= self.max_bytes
        assert self.stitcher._held_bytes == sum(len(each.payload) for each in self.stitcher._held)
        assert bool(self.stitcher._held) == (self.stitcher.missing is not None)

    def replay(self, how_many: int, then_give_up: int | None) -> None:
        """The history answers with the first `how_many` of what is missing, doubles among them; or gives up."""
        missing = self.stitcher.missing
        if missing is None:
            return
        last = min(missing.first + how_many - 1, missing.last)
        items = [data(seq, missing.epoch) for seq in range(max(missing.first - 2, 1), last + 1)]
        self.passed += self.stitcher.fill(items)
        left = self.stitcher.missing
        if (
            then_give_up is not None
            and left is not None
            and (left.epoch, left.last) == (missing.epoch, missing.last)
        ):
            self.passed += self.stitcher.give_up(left.first + then_give_up)


_PUBLISHED = st.lists(
    st.tuples(
        st.sampled_from(["data"] * 8 + ["beat", "epoch"]),
        st.sampled_from(["arrives"] * 4 + ["lost", "doubled", "replayed after"]),
        st.integers(0, 6),
        st.one_of(st.none(), st.integers(0, 4)),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(_PUBLISHED, st.integers(1, 8), st.integers(1, 40))
def test_any_history_is_passed_on_in_order_without_doubles_and_with_holes_only_where_one_was_given_up(
    published: list[tuple[str, str, int, int | None]], max_updates: int, max_bytes: int
) -> None:
    world = World(max_updates, max_bytes)
    epoch, seq = 1, 0
    existed = [(1, 0)]
    world.take(beat(0))
    for what, fate, size, give_up in published:
        if what == "epoch":
            epoch, seq = epoch + 1, 0
        elif what == "data":
            seq += 1
            existed.append((epoch, seq))
        message = data(seq, epoch, min(size, max_bytes)) if what == "data" else beat(seq, epoch)
        if fate != "lost":
            world.take(message)
        if fate == "doubled":
            world.take(message)
        if fate == "replayed after":
            world.replay(size, give_up)
    world.take(beat(seq, epoch))
    while world.stitcher.missing is not None:
        world.replay(3, None)
    _judge(world, existed, epoch, seq)


def _judge(world: World, existed: list[tuple[int, int]], epoch: int, seq: int) -> None:
    tracker = SequenceTracker()
    got: list[tuple[int, int]] = []
    holes: set[tuple[int, int]] = set()
    for message in world.passed:
        is_data = message.kind == Kind.DATA
        observe = tracker.observe if is_data else tracker.observe_heartbeat
        seen = observe(message.epoch, message.seq)
        if seen.gap is not None:
            holes |= {(message.epoch, lost) for lost in range(seen.gap.first, seen.gap.last + 1)}
        if is_data and seen.verdict is not Verdict.DUPLICATE:
            got.append((message.epoch, message.seq))
    assert got == sorted(set(got)), "in order, without doubles"
    assert holes == world.stitcher.given_up
    assert not holes & set(got)
    assert (tracker.epoch, tracker.seq) == (epoch, seq)
    # An epoch's tail that no message told of before the next epoch began is the one thing nobody can know of.
    assert set(got) | holes <= set(existed)
    told_of = {(e, s) for e, s in existed if s and any(m.epoch == e and m.seq >= s for m in world.passed)}
    assert told_of <= set(got) | holes
