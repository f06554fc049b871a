"""The archive: what many wait for is asked for once; what can not be had is told in bounded time; bounds."""

import time
from typing import Any

import pytest

from execgate.wire.replay import Failed, Gone
from execgate.wire.update import Update
from gateway import archive as module
from gateway.archive import Archive, Lost
from gateway.core.ring import Ring
from gateway.history import Outcome, TimedOut
from tests.unit.gateway.history_fake import FakeHistory, update

TIMED_OUT = TimedOut(2.0)


class House:
    """An archive beside a ring that holds `floor` to `ceiling`, and a publisher that holds everything."""

    def __init__(self, floor: int = 2_001, ceiling: int = 2_010, max_bytes: int = 1 << 30, size: int = 0) -> None:
        self.history = FakeHistory()
        self.history.make = lambda seq, epoch: update(seq, epoch, size=size)
        self.history.publish(1, ceiling + 10_000)
        self.ring = Ring(1 << 30)
        self.news = 0
        self.is_heard = True
        self.archive = Archive(self.history.as_client, self.ring, max_bytes, self._on_news, lambda: self.is_heard)
        self.hold(floor, ceiling)

    def _on_news(self) -> None:
        self.news += 1

    def hold(self, floor: int, ceiling: int, epoch: int = 7) -> None:
        self.ring.restart(epoch, floor - 1)
        for seq in range(floor, ceiling + 1):
            self.ring.append(update(seq, epoch))

    def found(self, seq: int) -> list[int]:
        found = self.archive.find(seq)
        assert isinstance(found, list), found
        return [each.seq for each in found]

    def read(self, seq: int, until: int, outcomes: dict[int, Outcome] | None = None) -> list[Any]:
        """Everything from `seq` to `until` as a follower reads it; seqs, and what is lost."""
        got: list[Any] = []
        while seq <= until:
            found = self.archive.find(seq)
            if found is None:
                self.history.answer(outcome=(outcomes or {}).get(len(self.history.asked)))
                continue
            if isinstance(found, Lost):
                got.append(found)
                seq = found.until + 1
            else:
                got += [each.seq for each in found]
                seq = found[-1].seq + 1
        return got

    def check_sums(self) -> None:
        pages = self.archive._pages.values()
        assert self.archive._bytes == sum(page.size for page in pages)
        for page in pages:
            assert page.size == sum(len(each.payload) for each in page.updates)
            seqs = [each.seq for each in page.updates]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_many_who_wait_for_a_range_cost_one_replay_a_page() -> None:
    house = House()
    for _ in range(1_000):
        for seq in (1, 5, 512, 513, 1_024, 1_025):
            assert house.archive.find(seq) is None
    assert house.history.asked == [(7, 1, 512), (7, 513, 1_024), (7, 1_025, 1_536)]
    for _ in range(3):
        house.history.answer()
    assert house.news == house.archive.requests == 3
    for _ in range(1_000):
        assert house.found(1) == list(range(1, 513))
        assert house.found(512) == [512]
        assert house.found(513) == list(range(513, 1_025))
    assert house.archive.requests == 3


@pytest.mark.parametrize("seq", [1, 2, 511, 512, 513, 1_023, 1_024, 1_025, 2_000])
def test_the_edges_of_pages(seq: int) -> None:
    house = House()
    assert house.read(seq, 2_000)[: 2_001 - seq] == list(range(seq, 2_001))
    house.check_sums()


def test_a_page_ends_where_the_feed_does_and_goes_on_when_that_has_moved() -> None:
    house = House(floor=101, ceiling=110)
    assert house.read(50, 100) == list(range(50, 111))
    assert house.history.asked == [(7, 1, 110)]
    house.hold(301, 310)
    assert house.read(90, 300) == list(range(90, 311))
    assert house.history.asked == [(7, 1, 110), (7, 111, 310)], "only what it lacks"
    house.check_sums()


def test_who_is_behind_a_full_ring_that_moves_on_gets_into_it() -> None:
    """Each answer takes as long as ten updates. Given only what the ring let go of, it would ask for ever."""
    house = House(floor=1_000, ceiling=3_000)
    seq, asked = 990, 0
    while seq < house.ring.floor:
        found = house.archive.find(seq)
        if found is None:
            asked += 1
            assert asked < 5, "it runs after the ring's floor"
            house.hold(house.ring.floor + 10, house.ring.ceiling + 10)
            house.history.answer()
        else:
            assert isinstance(found, list)
            seq = found[-1].seq + 1


def test_what_the_publisher_has_let_go_of_is_asked_for_once_however_much_it_is(now: list[float]) -> None:
    house = House(floor=100_001, ceiling=100_010)
    house.history.retain_from(99_700)
    assert house.archive.find(1) is None
    house.history.answer()
    assert house.archive.find(1) == house.archive.find(5_000) == Lost(99_699, "evicted")
    now[0] += 10_000
    assert house.archive.find(99_699) == Lost(99_699, "evicted")
    assert house.archive.find(99_700) is None
    house.history.answer()
    assert house.found(99_700)[0] == 99_700
    assert house.archive.requests == 2
    assert len(house.archive._pages) == 1, "a loss takes no page"


def test_what_is_lost_never_reaches_into_the_ring() -> None:
    house = House()
    house.history.retain_from(2_005)
    house.archive.find(1)
    house.history.answer()
    assert house.archive.find(1) == Lost(2_000, "evicted")
    house = House()
    house.archive.find(1)
    house.history.answer(outcome=Gone(8, 1, 99), most=0)  # it has begun another epoch
    assert house.archive.find(1) == Lost(2_000, "evicted")


def test_a_loss_and_then_a_part_doubles_nothing(now: list[float]) -> None:
    house = House()
    house.history.retain_from(51)
    assert house.archive.find(1) is None
    house.history.answer()
    assert house.archive.find(1) == Lost(50, "evicted")
    assert house.archive.find(51) is None
    house.history.answer(most=150, outcome=TIMED_OUT)
    assert house.found(51) == list(range(51, 201))
    assert house.archive.find(201) is None
    house.history.answer()
    assert house.found(51) == list(range(51, 513))
    assert house.found(201) == list(range(201, 513))
    assert house.history.asked[-1] == (7, 201, 512)
    house.check_sums()


def test_a_page_whose_end_retention_has_passed_is_begun_anew() -> None:
    """What is behind its end was asked for again and again: whoever waited did so for ever."""
    house = House(floor=101, ceiling=110)
    assert house.read(50, 100) == list(range(50, 111))
    house.hold(901, 910)
    house.history.retain_from(200)
    for _ in range(2):
        assert house.archive.find(300) is None
        house.history.answer()
    assert house.history.asked == [(7, 1, 110), (7, 111, 512), (7, 200, 512)]
    assert house.found(300) == list(range(300, 513))
    assert house.archive.find(150) == Lost(199, "evicted")
    house.check_sums()


def test_a_replay_that_fails_once_is_tried_again_and_what_came_is_kept() -> None:
    house = House()
    assert house.read(1, 1_024, {1: TIMED_OUT, 2: Failed("no")}) == list(range(1, 1_025))
    house = House()
    for _ in range(4):  # each brings something: it is slow, not away
        assert house.archive.find(400) is None
        house.history.answer(most=90, outcome=TIMED_OUT)
    assert house.found(1) == list(range(1, 361))
    house.archive.find(400)
    house.history.answer()
    assert house.found(400) == list(range(400, 513))


def test_a_publisher_that_is_away_is_told_to_everyone_at_once_and_asked_again_after_a_while(
    now: list[float],
) -> None:
    house = House()
    assert house.archive.find(1) is house.archive.find(600) is None
    house.history.answer(most=0, outcome=TIMED_OUT)
    assert house.archive.find(1) is None
    house.history.answer(most=0, outcome=TIMED_OUT)
    assert house.news == 2
    for seq in (1, 600, 1_500, 2_000):
        assert house.archive.find(seq) == Lost(2_000, "unavailable")
    now[0] += 0.99
    assert house.archive.find(1) == Lost(2_000, "unavailable")
    now[0] += 0.02
    assert house.archive.find(1) is None
    while house.history.waiting:
        house.history.answer()
    assert house.found(1) == list(range(1, 513))


@pytest.mark.parametrize("heard", [(False, False), (True, False), (False, True)])
def test_a_publisher_whose_feed_is_silent_too_is_waited_for(heard: tuple[bool, bool]) -> None:
    """Before the request or when it ends: the publisher may have been back for the last moment of it only."""
    house = House()
    for _ in range(10):
        house.is_heard = heard[0]
        assert house.archive.find(1) is None
        house.is_heard = heard[1]
        house.history.answer(most=0, outcome=TIMED_OUT)
    house.is_heard = True
    house.archive.find(1)
    house.history.answer()
    assert house.found(1) == list(range(1, 513))
    house.is_heard = False
    for _ in range(2):
        assert house.archive.find(600) is None
        house.history.answer(most=0, outcome=Failed("an answer, and so no silence"))
    assert house.archive.find(600) == Lost(2_000, "unavailable")


def test_what_is_held_is_served_though_the_publisher_is_away(now: list[float]) -> None:
    house = House()
    house.archive.find(1)
    house.history.answer(most=100, outcome=TIMED_OUT)
    for _ in range(2):
        house.archive.find(101)
        house.history.answer(most=0, outcome=TIMED_OUT)
    assert house.archive.find(101) == Lost(2_000, "unavailable")
    assert house.found(60) == list(range(60, 101))


def test_a_crowd_at_many_positions_asks_for_few_pages_at_once_and_none_is_told_a_loss() -> None:
    """More requests than the history lets wait were failures once, and told as losses by a healthy publisher."""
    house = House(floor=100_001, ceiling=100_001)
    positions = list(range(1, 100_001, 500))
    for seq in positions:
        assert house.archive.find(seq) is None
    assert len(house.history.waiting) == module.MAX_ASKED
    while positions:
        house.history.answer()
        assert len(house.history.waiting) < module.MAX_ASKED
        answers = {seq: house.archive.find(seq) for seq in positions}
        assert not any(isinstance(found, Lost) for found in answers.values())
        positions = [seq for seq, found in answers.items() if found is None]
    assert house.archive.requests == 195, "one for each page"


def test_the_least_recently_used_goes_first_and_what_was_waited_for_is_there_to_be_read() -> None:
    size = sum(len(update(seq).payload) for seq in range(1, 513))
    house = House(max_bytes=2 * size + 4_000)
    for number in range(3):
        house.archive.find(number * 512 + 1)
    for number in range(3):
        house.history.answer()
        assert house.found(number * 512 + 1), "its followers are woken now"
    assert list(house.archive._pages) == [1, 2]
    assert house.archive._bytes <= 2 * size + 4_000
    house.found(513)
    house.archive.find(1)
    house.history.answer()
    assert list(house.archive._pages) == [1, 0]
    house.check_sums()


def test_a_page_that_is_over_the_whole_bound_can_still_be_read() -> None:
    house = House(max_bytes=1)
    for _ in range(3):
        assert house.read(1, 1_536) == list(range(1, 1_537))
    house.check_sums()


def test_great_updates_are_had_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 200_000)
    house = House(size=1_000)
    got = house.read(1, 1_024)
    assert got == list(range(1, 1_025))
    for page in house.archive._pages.values():
        assert page.size < 200_000 + 100 * 1_100, "and what comes at once"
    house.check_sums()


def test_another_epoch_knows_nothing_of_the_one_before_even_while_it_is_asked() -> None:
    house = House()
    house.archive.find(1)
    house.archive.find(513)
    house.history.answer()
    assert house.found(1)
    house.hold(601, 610, epoch=9)
    house.history.publish(1, 700, epoch=9)
    assert house.archive.find(1) is None
    house.history.answer()  # of the old epoch
    assert house.archive.find(513) is None
    house.check_sums()
    while house.history.waiting:
        house.history.answer()
    found = house.archive.find(1)
    assert isinstance(found, list)
    assert {each.epoch for each in found} == {9}
    house.hold(601, 610, epoch=7)  # and back: what was under way meanwhile belongs nowhere
    house.archive.find(1)
    house.check_sums()
    while house.history.waiting:
        house.history.answer()
    house.check_sums()
    assert house.archive._asked == 0


def test_without_a_history_everything_below_the_ring_is_gone() -> None:
    ring = Ring(100)
    archive = Archive(None, ring, 100, lambda: None, lambda: True)
    assert archive.find(1) == Lost(0, "evicted")
    ring.restart(7, 41)
    assert archive.find(5) == Lost(41, "evicted")


def test_an_answer_that_never_comes_is_awaited_and_asked_for_once() -> None:
    house = House()
    for _ in range(100):
        assert house.archive.find(1) is None
    assert house.archive.requests == 1


def test_updates_are_those_of_the_history() -> None:
    house = House()
    house.archive.find(1)
    house.history.answer()
    found = house.archive.find(77)
    assert isinstance(found, list)
    first: Update = found[0]
    assert first == update(77)
