"""Resuming on a real loop: exact at the seam whatever happens between two steps, and what can't be had is told."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from execgate.wire.events import Envelope
from execgate.wire.replay import Failed
from execgate.wire.update import epoch_text
from gateway import chunks
from gateway.core.account import Account
from gateway.core.interest import EVERY_TOPIC, Interest
from gateway.core.session import Mode, Since, Subscribe
from gateway.fanout import BEAT_S, Fanout
from gateway.history import TimedOut
from gateway.outbound import NOT_BEGUN, Outbound
from gateway.resume import AHEAD_S, TURN_PIECES, Resumer
from tests.unit.gateway.fakes import PLENTY, Owner, Wire
from tests.unit.gateway.history_fake import FakeHistory, beat, update

E, NEXT = 7, 8
A, B = b"ex.A.", b"ex.B."


class House:
    """A resumer beside a fan-out that has joined at `head`; its history answers when it is told to."""

    def __init__(self, head: int = 0, ring: int = 1 << 30, *, with_history: bool = True) -> None:
        self.history = FakeHistory()
        self.history.make = self.make
        self.first = Owner()
        self.owners: list[Owner] = []
        HOUSES.append(self)
        self.joined = True
        self.exhausted: list[Outbound] = []
        self.fanout = Fanout(self.first.counters, lambda: None, self._on_exhausted, ring)
        client = self.history.as_client if with_history else None
        self.resumer = Resumer(self.fanout, client, 1 << 30, lambda: self.joined)
        self.epoch, self.head = E, head
        self.history.publish(1, head)
        self.fanout.take(beat(head))
        self.fanout.flush()

    def make(self, seq: int, epoch: int) -> Any:
        """Seqs that 3 divides are of topic B; each topic has two keys."""
        topic = A if seq % 3 else B
        return update(seq, epoch, topic, b"key-%d" % (seq % 2))

    def _on_exhausted(self, member: Outbound) -> None:
        self.exhausted.append(member)
        self.resumer.leave(member)
        self.fanout.leave(member)
        member.control(b'{"event":"unsubscribed","data":{}}')

    def publish(self, count: int = 1, *, flush: bool = True) -> None:
        for _ in range(count):
            self.head += 1
            self.history.publish(self.head, self.head, self.epoch)
            self.fanout.take(self.make(self.head, self.epoch))
        if flush:
            self.fanout.flush()

    def hear(self, seconds: float) -> None:
        """The publisher says for so long, once a second, that there is nothing new."""
        while seconds > 0:
            NOW[0] += min(seconds, 1.0)
            seconds -= 1.0
            self.fanout.take(beat(self.head, self.epoch))
            self.fanout.flush()

    def begin_epoch(self, epoch: int = NEXT, head: int = 0) -> None:
        self.epoch, self.head = epoch, head
        self.history.publish(1, head, epoch)
        self.fanout.take(beat(head, epoch))
        self.fanout.flush()

    def client(
        self,
        since: int | None = None,
        *,
        epoch: int = E,
        topics: Interest = EVERY_TOPIC,
        snapshot: bool = False,
        most: int | None = None,
        mode: Mode = Mode.ALL,
        wire: Wire | None = None,
    ) -> Owner:
        owner = Owner(wire)
        owner.share(self.first)
        owner.budget = self.first.budget
        owner.outbound.account = Account()
        self.owners.append(owner)

        def on_close() -> None:
            self.resumer.leave(owner.outbound)
            self.fanout.leave(owner.outbound)

        def on_empty() -> None:
            owner.outbound.resume()
            self.resumer.wake_one(owner.outbound)

        owner.on_close = on_close
        owner.wire.on_empty = on_empty
        self.ask(owner, since, epoch=epoch, topics=topics, snapshot=snapshot, most=most, mode=mode)
        return owner

    def ask(
        self,
        owner: Owner,
        since: int | None = None,
        *,
        epoch: int = E,
        topics: Interest = EVERY_TOPIC,
        snapshot: bool = False,
        most: int | None = None,
        mode: Mode = Mode.ALL,
        name: str = "s",
    ) -> None:
        position = None if since is None else Since(epoch, since)
        self.resumer.begin(owner.outbound, Subscribe(topics, mode, most, name, position, snapshot))

    async def settle(self) -> None:
        """Let everything happen that needs nothing from outside but the history's answers."""
        for _ in range(100_000):
            await asyncio.sleep(0)
            if self.resumer._turn is not None:
                continue
            if not self.history.waiting:
                return
            self.history.answer()
        raise AssertionError("it never ends")

    def check_accounts(self) -> None:
        """What each client was owed by its account is what was published, and all of it has a fate."""
        for owner in self.owners:
            outbound, account = owner.outbound, owner.outbound.account
            assert account is not None
            self.resumer.leave(outbound)
            self.fanout.leave(outbound)
            assert outbound.matched == outbound.sent + outbound.queued + outbound.dropped + outbound.discarded
            matched = account.snapshot + account.unlisted_matched
            for stretch in account.stretches:
                topics, seqs = Interest(sorted(stretch.topics)), range(stretch.after + 1, stretch.until + 1)
                owed = sum(topics.matches(self.make(seq, stretch.epoch).topic) for seq in seqs)
                assert stretch.matched == owed or (stretch.is_limited and stretch.matched < owed)
                matched += stretch.matched
            assert outbound.matched == matched

    def check_empty(self) -> None:
        resumer = self.resumer
        assert len(resumer) == 0
        assert not any(resumer._parked.values())
        assert not resumer._chunks
        assert not resumer._snapshots
        assert resumer._chunks.size == 0
        assert list(self.fanout.hub.members()) == []
        assert self.first.budget.used == 0


def told(owner: Owner) -> list[Any]:
    """In short: seqs of updates, and tuples of the rest."""
    short: list[Any] = []
    for message in owner.messages():
        event, data = message["event"], message.get("data", {})
        if event == "receive-execs":
            short.append(data["seq"])
        elif event == "subscribed":
            gap = data["gap"] and (data["gap"]["from"], data["gap"]["to"], data["gap"]["why"])
            assert data["epoch"] == epoch_text(int(data["epoch"], 16))
            short.append(
                ("subscribed", message.get("id"), int(data["epoch"], 16), data["seq"], data["recovered"], gap)
            )
        elif event == "gap":
            short.append(("gap", data["from"], data["to"], data["why"]))
        elif event == "feed":
            short.append(("feed", data["state"], int(data["epoch"], 16), data["seq"]))
        else:
            short.append((event,))
    return short


def seqs(owner: Owner) -> list[int]:
    return [item for item in told(owner) if isinstance(item, int)]


def newest(house: House, position: int) -> list[int]:
    """Seqs of the newest update of each topic and key as of `position`, in order."""
    made = [house.make(seq, E) for seq in range(1, position + 1)]
    return sorted({(each.topic, each.key): each.seq for each in made}.values())


def play(scene: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scene, 30))


Scene = Callable[[], Coroutine[Any, Any, None]]


def scene(steps: Scene) -> Callable[[], None]:
    """Make a test of a coroutine function."""

    def test() -> None:
        play(steps())

    test.__name__, test.__doc__ = steps.__name__, steps.__doc__
    return test


NOW = [1_000.0]
HOUSES: list[House] = []
"""Of the test under way."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes when a test says so."""
    monkeypatch.setattr(time, "monotonic", lambda: NOW[0])


@pytest.fixture(autouse=True)
def accounts() -> Iterator[None]:
    """Whatever a test is about, the accounts of all clients must be right at its end."""
    HOUSES.clear()
    yield
    for house in HOUSES:
        house.check_accounts()


@scene
async def test_from_the_ring_to_live_without_a_hole_or_a_double() -> None:
    house = House()
    house.publish(200)
    owner = house.client(since=50)
    await house.settle()
    house.publish(3)
    assert told(owner) == [("subscribed", "s", E, 50, True, None), *range(51, 204)]
    assert not house.history.asked
    assert owner.outbound.sent == house.first.counters.delivered == 153
    assert owner.outbound.behind is None


@scene
async def test_from_the_publishers_history_through_the_ring_to_live() -> None:
    house = House(head=1_500)
    house.publish(100)
    owner = house.client(since=3)
    await house.settle()
    house.publish(3)
    assert told(owner) == [("subscribed", "s", E, 3, True, None), *range(4, 1_604)]
    assert house.history.asked == [(E, 1, 512), (E, 513, 1_024), (E, 1_025, 1_536)]


@scene
async def test_a_position_at_the_head_is_live_at_once() -> None:
    house = House(head=5)
    owner = house.client(since=5)
    await house.settle()
    house.publish()
    assert told(owner) == [("subscribed", "s", E, 5, True, None), 6]


@scene
async def test_a_crowd_of_whom_each_has_a_turn_seldom_arrives_while_the_feed_moves_all_the_time() -> None:
    house = House()
    house.publish(100)
    owners = [house.client(since=number) for number in range(3 * TURN_PIECES)]
    for _ in range(3 * 3 + 1):  # three steps each: it is answered, it gets 64, it gets the rest
        await asyncio.sleep(0)
        house.publish()
    assert len(house.resumer) == 0
    for since, owner in enumerate(owners):
        assert seqs(owner) == list(range(since + 1, house.head + 1))


@scene
async def test_the_feed_may_pass_before_each_step_of_a_crowd_and_whenever_one_comes() -> None:
    house = House()
    house.publish(100)
    asked = []

    def give_way() -> None:
        asked.append(len(house.resumer))
        house.publish()

    house.fanout.give_way = give_way
    owners = [house.client(since=number) for number in range(10)]
    assert asked == list(range(1, 11))
    await asyncio.sleep(0)
    assert len(asked) == 20
    await house.settle()
    assert len(house.resumer) == 0
    for since, owner in enumerate(owners):
        assert seqs(owner) == list(range(since + 1, house.head + 1))


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 90)),
        st.tuples(st.just("turn"), st.integers(1, 3)),
        st.tuples(st.just("answer"), st.just(0)),
        st.tuples(st.just("fail"), st.just(0)),
        st.tuples(st.just("pass on"), st.one_of(st.integers(1, 500), st.just(PLENTY))),
        st.tuples(st.just("control"), st.just(0)),
        st.tuples(st.just("beat"), st.just(0)),
    ),
    max_size=40,
)
_SENDS = st.lists(st.one_of(st.just(PLENTY), st.integers(0, 2_000)), max_size=30)


@settings(max_examples=150, deadline=None)
@given(
    _STEPS,
    _SENDS,
    st.integers(0, 700),
    st.integers(0, 200),
    st.sampled_from([EVERY_TOPIC, Interest(["ex.A."]), Interest(["ex.B*"])]),
    st.sampled_from([1, 2_000, 1 << 30]),
    st.sampled_from([None, 1, 70, 5_000]),
)
@example([], [PLENTY, 0, 0], 0, 0, EVERY_TOPIC, 1, 1)  # `unsubscribed` waits behind the last update, and once more
def test_exact_at_the_seam_whatever_happens_between_two_steps(
    steps: list[tuple[str, int]],
    sends: list[int],
    head: int,
    back: int,
    topics: Interest,
    ring: int,
    most: int | None,
) -> None:
    async def play_it() -> None:
        house = House(head, ring)
        house.publish(100)
        since = max(house.head - back * 4, 0)
        owner = house.client(since, topics=topics, most=most, wire=Wire(sends))
        failed = 0
        for what, amount in steps:
            if what == "publish":
                house.publish(amount)
            elif what == "turn":
                for _ in range(amount):
                    await asyncio.sleep(0)
            elif what == "answer" and house.history.waiting:
                house.history.answer()
                failed = 0
            elif what == "fail" and house.history.waiting and not failed:
                failed += 1
                house.history.answer(most=7, outcome=TimedOut(2.0))
            elif what == "pass on":
                owner.wire.pass_on(amount)
            elif what == "control":
                owner.outbound.control(b'{"event":"control"}')
            elif what == "beat":
                _check_position(house, owner, since, topics)
        for _ in range(100):
            await house.settle()
            owner.wire.pass_on()
        house.publish(2)
        while owner.wire.held:
            owner.wire.pass_on()
        got = [item for item in told(owner) if item != ("control",)]
        expected = [s for s in range(since + 1, house.head + 1) if topics.matches(house.make(s, E).topic)][:most]
        assert got[0] == ("subscribed", "s", E, since, True, None)
        ended = most is not None and len(expected) == most
        assert got[1:] == expected + ([("unsubscribed",)] if ended else [])
        assert owner.outbound.sent == len(expected)
        assert house.first.counters.delivered == len(expected)
        assert len(house.exhausted) == ended
        owner.close(1000)
        house.check_empty()

    play(play_it())


def _check_position(house: House, owner: Owner, since: int, topics: Interest) -> None:
    """What a heartbeat would say now: all that matches up to it is written or queued, and nothing beyond it."""
    behind = owner.outbound.behind
    if behind == NOT_BEGUN or owner.outbound.closing or owner.outbound in house.exhausted:
        return
    seq = house.fanout.seq if behind is None else behind[1]
    assert behind is None or behind[0] == epoch_text(E)
    owed = sum(topics.matches(house.make(s, E).topic) for s in range(since + 1, seq + 1))
    queued = sum(count for _, count in owner.outbound._backlog or ())
    assert owner.outbound.sent + queued == owed


@scene
async def test_a_gateway_behind_its_client_sends_nothing_that_it_has() -> None:
    house = House(head=10)
    owner = house.client(since=13)
    await house.settle()
    assert told(owner) == []
    assert owner.outbound.behind == NOT_BEGUN
    house.publish(2)
    await house.settle()
    assert told(owner) == []
    house.publish(3)  # 13 to 15 in one drain
    await house.settle()
    house.publish()
    assert told(owner) == [("subscribed", "s", E, 13, True, None), 14, 15, 16]


@scene
async def test_a_position_that_stays_ahead_of_a_feed_that_is_heard_is_told_and_then_it_is_live() -> None:
    house = House(head=10)
    owner = house.client(since=99)
    await house.settle()
    house.hear(AHEAD_S - 0.1)
    await house.settle()
    assert told(owner) == []
    house.hear(0.1)
    await house.settle()
    house.publish()
    assert told(owner) == [("subscribed", "s", E, 10, False, (11, 99, "future")), 11]


@scene
async def test_silence_is_no_proof_that_a_position_never_was_and_who_waits_is_told_of_it() -> None:
    """The publisher died having reached another gateway and not this one; it comes back, whenever that is."""
    house = House(head=10)
    house.hear(1_000)
    owner = house.client(since=13)
    await house.settle()
    house.hear(AHEAD_S - 1)
    await house.settle()
    house.fanout.go_stale("silence")
    await house.settle()
    assert told(owner) == [("feed", "stale", E, 10)]
    NOW[0] += 100 * AHEAD_S
    house.publish(5)
    await house.settle()
    assert told(owner)[1:] == [("subscribed", "s", E, 13, True, None), 14, 15, ("feed", "live", E, 15)]
    house.publish()
    house.fanout.go_stale("silence")
    assert told(owner)[5:] == [16, ("feed", "stale", E, 16)], "as everybody else"


@scene
async def test_a_silence_counts_as_one_second_however_long_it_was() -> None:
    """All that a gateway finds after it was stopped itself was said before the request."""
    house = House(head=10)
    owner = house.client(since=13)
    await house.settle()
    NOW[0] += 100 * AHEAD_S
    for _ in range(100):
        house.fanout.take(beat(10))
    house.fanout.flush()
    await house.settle()
    assert told(owner) == []
    house.hear(AHEAD_S - BEAT_S)
    await house.settle()
    assert told(owner) == [("subscribed", "s", E, 10, False, (11, 13, "future"))]


@scene
async def test_who_waits_is_told_each_state_of_the_feed_once() -> None:
    house = House(head=10)
    house.fanout.go_stale("silence")
    owner = house.client(since=99)
    await house.settle()
    for _ in range(2):
        house.fanout.flush()
        await house.settle()
        house.hear(1)
        await house.settle()
        house.fanout.go_stale("silence")
        await house.settle()
    states = [("feed", state, E, 10) for state in ("stale", "live", "stale", "live", "stale")]
    assert told(owner) == states
    house.publish(89)
    await house.settle()
    assert told(owner)[5:] == [("subscribed", "s", E, 99, True, None), ("feed", "live", E, 99)]


@scene
async def test_who_waits_too_long_while_its_socket_is_full_is_answered_when_it_is_free() -> None:
    house = House(head=10)
    owner = house.client(since=99, wire=Wire(sends=[0]))
    owner.outbound.control(b'{"event":"control"}')
    await house.settle()
    house.hear(AHEAD_S)
    await house.settle()
    assert told(owner) == []
    owner.wire.pass_on()
    await house.settle()
    assert told(owner) == [("control",), ("subscribed", "s", E, 10, False, (11, 99, "future"))]


@scene
async def test_another_epoch_is_waited_for_then_told_and_all_of_this_one_follows() -> None:
    house = House(head=3)
    owner = house.client(since=40, epoch=5)
    await house.settle()
    NOW[0] += 100 * AHEAD_S
    house.hear(AHEAD_S - 1)
    await house.settle()
    assert told(owner) == []
    house.hear(1)
    await house.settle()
    house.publish()
    assert told(owner) == [("subscribed", "s", E, 0, False, (41, None, "epoch")), 1, 2, 3, 4]


@scene
async def test_what_is_evicted_of_another_epoch_is_told_behind_the_position_that_subscribed_says() -> None:
    house = House(head=2_000)
    house.history.retain_from(1_201)
    owner = house.client(since=40, epoch=5)
    await house.settle()
    house.hear(AHEAD_S)
    await house.settle()
    expected = [("subscribed", "s", E, 0, False, (41, None, "epoch")), ("gap", 1, 1_200, "evicted")]
    assert told(owner) == [*expected, *range(1_201, 2_001)]


@scene
async def test_no_position_is_told_before_it_is_known_how_a_request_is_served() -> None:
    house = House(head=2_000)
    owner = house.client(since=10)
    for _ in range(3):
        await asyncio.sleep(0)
    assert house.history.waiting
    assert owner.outbound.behind == NOT_BEGUN, "what is behind it may be told as lost"
    house.history.answer()
    for _ in range(20):
        await asyncio.sleep(0)
    assert owner.outbound.behind == (epoch_text(E), 512)


@scene
async def test_who_waits_in_the_middle_of_its_stream_is_told_of_the_feed_where_it_stands_itself() -> None:
    house = House(head=1_000)
    owner = house.client(since=0)
    for _ in range(3):
        await asyncio.sleep(0)
    house.history.answer()
    for _ in range(20):
        await asyncio.sleep(0)
    house.fanout.go_stale("silence")
    house.history.answer(most=0, outcome=TimedOut(1.0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert told(owner)[1:] == [*range(1, 513), ("feed", "stale", E, 512)]


@scene
async def test_a_client_of_a_newer_epoch_gets_nothing_of_the_older_one() -> None:
    house = House(head=3)
    owner = house.client(since=2, epoch=NEXT)
    await house.settle()
    house.begin_epoch(head=4)
    await house.settle()
    house.publish()
    assert told(owner) == [("subscribed", "s", NEXT, 2, True, None), 3, 4, 5]


@scene
async def test_what_is_evicted_is_told_in_subscribed_as_one_range_and_the_rest_follows() -> None:
    house = House(head=2_000)
    house.history.retain_from(1_201)
    owner = house.client(since=10)
    await house.settle()
    assert told(owner) == [("subscribed", "s", E, 1_200, False, (11, 1_200, "evicted")), *range(1_201, 2_001)]
    assert len(house.history.asked) <= 4


@scene
async def test_without_a_history_what_the_ring_does_not_hold_is_told() -> None:
    house = House(head=500, with_history=False)
    house.publish(3)
    owner = house.client(since=10)
    await house.settle()
    assert told(owner) == [("subscribed", "s", E, 500, False, (11, 500, "evicted")), 501, 502, 503]


@scene
async def test_an_unreachable_publisher_is_told_after_two_tries() -> None:
    house = House(head=2_000)
    owner = house.client(since=10)
    for _ in range(2):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        house.history.answer(most=0, outcome=Failed("no"))
    await house.settle()
    house.publish()
    assert told(owner) == [("subscribed", "s", E, 2_000, False, (11, 2_000, "unavailable")), 2_001]


@scene
async def test_a_loss_on_the_way_is_a_gap_event() -> None:
    house = House(head=1_000)
    owner = house.client(since=0)
    for _ in range(3):
        await asyncio.sleep(0)
    house.history.answer()
    for _ in range(30):
        await asyncio.sleep(0)
    house.history.retain_from(601)
    await house.settle()
    expected = [("subscribed", "s", E, 0, True, None), *range(1, 513), ("gap", 513, 600, "evicted")]
    assert told(owner) == [*expected, *range(601, 1_001)]


@scene
async def test_an_epoch_that_begins_on_the_way_is_told_and_followed_from_its_first_update() -> None:
    house = House(head=2_000)
    owner = house.client(since=1_900)
    for _ in range(2):
        await asyncio.sleep(0)
    house.begin_epoch(head=2)
    await house.settle()
    house.publish()
    assert told(owner) == [
        ("subscribed", "s", E, 1_900, True, None),
        ("gap", 1_901, None, "epoch"),
        ("feed", "epoch-changed", NEXT, 0),
        1,
        2,
        3,
    ]


@scene
async def test_the_position_of_a_follower_is_told_with_its_own_epoch() -> None:
    """It stands in the old one until its socket takes more: the new epoch with the old seq would be a lie."""
    house = House()
    house.publish(100)
    owner = house.client(since=0, wire=Wire(sends=[PLENTY, 100]))
    await house.settle()
    house.begin_epoch(head=90)
    assert owner.outbound.behind == (epoch_text(E), chunks.PIECE_UPDATES)


@scene
async def test_topics_are_those_of_the_request() -> None:
    house = House(head=30)
    house.publish(10)
    owner = house.client(since=20, topics=Interest(["ex.B."]))
    await house.settle()
    house.publish(10)
    assert seqs(owner) == [s for s in range(21, 51) if s % 3 == 0]


@scene
async def test_nothing_is_written_past_a_socket_that_subscribed_has_filled() -> None:
    house = House()
    house.publish(10)
    owner = house.client(since=0, wire=Wire(sends=[20]))  # `Wire.send` fails a test that does
    await house.settle()
    assert owner.wire.held
    house.publish(3)
    owner.wire.pass_on()
    await house.settle()
    assert told(owner) == [("subscribed", "s", E, 0, True, None), *range(1, 14)]


@scene
async def test_a_blocked_follower_waits_for_its_socket_and_costs_no_turns() -> None:
    house = House()
    house.publish(1_000)
    owner = house.client(since=0, wire=Wire(sends=[PLENTY, 10]))
    await house.settle()
    assert house.resumer._turn is None
    assert owner.outbound.backlog_bytes == 0, "nothing is buffered for it"
    house.publish(5)
    await house.settle()
    assert len(house.resumer) == 1
    owner.wire.pass_on()
    await house.settle()
    assert seqs(owner) == list(range(1, 1_006))


@pytest.mark.parametrize("ends_at", range(12))
def test_who_leaves_on_the_way_leaves_nothing(ends_at: int) -> None:
    async def steps() -> None:
        house = House(head=2_000, ring=1)
        house.publish(50)
        owners = [house.client(since=0), house.client(since=2_060), house.client(snapshot=True)]
        for _ in range(ends_at):
            await asyncio.sleep(0)
            if house.history.waiting and ends_at % 2:
                house.history.answer()
        for owner in owners:
            owner.close(1000)
        await house.settle()
        house.publish()
        house.check_empty()

    play(steps())


@scene
async def test_clients_that_come_and_go_while_there_is_no_feed_leave_nothing() -> None:
    house = House()
    house.joined = False
    for _ in range(100):
        owner = house.client(since=0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        owner.close(1000)
    house.check_empty()
    assert not house.resumer._ready


@scene
async def test_nobody_begins_before_the_gateway_has_joined() -> None:
    house = House(head=5)
    house.joined = False
    owner = house.client(since=3)
    await house.settle()
    assert told(owner) == []
    house.joined = True
    house.fanout.on_progress()
    await house.settle()
    assert told(owner) == [("subscribed", "s", E, 3, True, None), 4, 5]


@scene
async def test_a_change_of_topics_on_the_way_counts_from_where_it_stands() -> None:
    house = House()
    house.publish(1_000)
    owner = house.client(since=0, wire=Wire(sends=[PLENTY, PLENTY, 10]))
    await house.settle()
    assert owner.outbound.behind == (epoch_text(E), 128)
    assert house.resumer.change(owner.outbound, Interest(["ex.B."]))
    owner.wire.pass_on()
    await house.settle()
    house.publish(3)
    assert seqs(owner) == [*range(1, 129), *(s for s in range(129, 1_004) if s % 3 == 0)]
    assert not house.resumer.change(owner.outbound, EVERY_TOPIC), "it is no follower any more"


@scene
async def test_a_plain_subscription_on_the_way_goes_on_from_where_it_stands() -> None:
    house = House()
    house.publish(1_000)
    owner = house.client(since=0, topics=Interest(["ex.A."]), wire=Wire(sends=[PLENTY, PLENTY, 10]))
    await house.settle()
    assert house.resumer.renew(owner.outbound, Subscribe(EVERY_TOPIC, Mode.ALL, 900, "again"))
    owner.wire.pass_on()
    await house.settle()
    got = told(owner)
    at = got.index(("subscribed", "again", E, 128, False, None))
    assert got[1:at] == [s for s in range(1, 129) if s % 3]
    house.publish(40)
    assert told(owner)[at + 1 :] == [*range(129, 1_029), ("unsubscribed",)]
    assert not house.resumer.renew(owner.outbound, Subscribe(EVERY_TOPIC, Mode.ALL, None, "x"))


@scene
async def test_each_request_is_answered_though_another_replaces_it_before_it_is_known_how() -> None:
    house = House(head=5)
    owner = house.client(since=9)
    await house.settle()
    house.ask(owner, since=8, name="second")
    house.resumer.renew(owner.outbound, Subscribe(Interest(["ex.A."]), Mode.ALL, None, "third"))
    house.publish(6)
    await house.settle()
    assert told(owner) == [
        ("subscribed", "s", E, 5, False, None),
        ("subscribed", "second", E, 5, False, None),
        ("subscribed", "third", E, 8, True, None),
        10,
        11,
    ]


@scene
async def test_an_end_before_it_is_known_how_answers_and_leaves_nothing() -> None:
    house = House(head=5)
    owner = house.client(since=9)
    await house.settle()
    house.resumer.unsubscribe(owner.outbound)
    house.publish(9)
    house.hear(AHEAD_S)
    await house.settle()
    assert told(owner) == [("subscribed", "s", E, 5, False, None)]
    house.check_empty()


@scene
async def test_a_subscriber_that_is_live_begins_again_where_it_says() -> None:
    house = House()
    house.publish(10)
    owner = house.client(since=8)
    await house.settle()
    house.ask(owner, since=9, name="again")
    house.publish(2)
    await house.settle()
    house.publish()
    got = told(owner)
    assert got == [
        ("subscribed", "s", E, 8, True, None),
        9,
        10,
        ("subscribed", "again", E, 9, True, None),
        10,
        11,
        12,
        13,
    ]
    assert house.fanout.subscribers == {"all": 1}


@scene
async def test_a_snapshot_is_the_newest_of_each_key_in_order_then_live() -> None:
    house = House()
    house.publish(100)
    owner = house.client(snapshot=True)
    await asyncio.sleep(0)
    house.publish(2)
    await house.settle()
    house.publish()
    got = told(owner)
    assert got[0] == ("subscribed", "s", E, 100, False, None)
    assert got[1:] == [*newest(house, 100), 101, 102, 103]


@scene
async def test_no_position_is_told_in_the_middle_of_a_snapshot() -> None:
    house = House()
    for number in range(300):
        house.head += 1
        house.fanout.take(update(house.head, key=b"%d" % number))
    house.fanout.flush()
    owner = house.client(snapshot=True, wire=Wire(sends=[PLENTY, PLENTY, 10]))
    await house.settle()
    assert owner.outbound.behind == NOT_BEGUN
    assert 0 < len(seqs(owner)) < 300
    house.resumer.change(owner.outbound, Interest(["ex.A."]))
    owner.wire.pass_on()
    await house.settle()
    assert seqs(owner) == list(range(1, 301))
    assert owner.outbound.behind is None


@scene
async def test_snapshots_that_are_asked_for_together_are_made_once_and_stay_exact() -> None:
    house = House()
    house.publish(50)
    made = 0
    really = house.fanout.snapshot

    def snapshot(interest: Interest) -> Any:
        nonlocal made
        made += 1
        return really(interest)

    house.fanout.snapshot = snapshot  # type: ignore[method-assign]
    owners = []
    keeper = house.client(since=0, wire=Wire(sends=[PLENTY, 1]))
    for _ in range(20):
        owners.append(house.client(snapshot=True))
        await house.settle()
        house.publish()
    assert made == 1
    for owner in owners:
        assert seqs(owner) == [*newest(house, 50), *range(51, 71)]
    keeper.close(1000)


@scene
async def test_where_since_is_served_no_snapshot_comes_and_where_it_is_not_the_snapshot_stands_for_the_rest() -> (
    None
):
    house = House(head=100, with_history=False)
    house.publish(20)
    served = house.client(since=115, snapshot=True)
    lost = house.client(since=50, snapshot=True)
    other = house.client(since=50, epoch=5, snapshot=True)
    await house.settle()
    house.hear(AHEAD_S)
    await house.settle()
    house.publish()
    assert told(served) == [("subscribed", "s", E, 115, True, None), *range(116, 122)]
    assert told(lost)[0] == ("subscribed", "s", E, 120, False, (51, 120, "evicted"))
    assert told(other)[0] == ("subscribed", "s", E, 120, False, (51, None, "epoch"))
    assert seqs(lost) == seqs(other) == [*newest(house, 120), 121]


@scene
async def test_a_limit_within_a_snapshot_is_exact() -> None:
    house = House()
    house.publish(100)
    owner = house.client(snapshot=True, most=3)
    await house.settle()
    house.publish(3)
    assert told(owner)[1:] == [*newest(house, 100)[:3], ("unsubscribed",)]
    house.check_empty()


@scene
async def test_many_followers_of_one_range_share_its_frames_and_its_replay() -> None:
    house = House(head=512)
    made = 0

    class Counting(Interest):
        def matches(self, topic: bytes) -> bool:
            nonlocal made
            made += 1
            return super().matches(topic)

    owners = [house.client(since=0, topics=Counting(["*"])) for _ in range(50)]
    await house.settle()
    assert house.history.asked == [(E, 1, 512)]
    assert made == 512, "each update was looked at once"
    for owner in owners:
        assert seqs(owner) == list(range(1, 513))


@scene
async def test_followers_of_other_topics_and_other_envelopes_get_frames_of_their_own() -> None:
    house = House()
    house.publish(130)
    interests = [EVERY_TOPIC, Interest(["ex.A."]), Interest(["ex.B."])]
    owners = [house.client(since=0, topics=topics) for topics in interests]
    other = house.client(since=0)
    other.outbound.envelope = Envelope(b'{"event":"other","data":', b"}")
    await house.settle()
    for owner, topics in zip(owners, interests, strict=True):
        assert seqs(owner) == [s for s in range(1, 131) if topics.matches(house.make(s, E).topic)]
    assert [item for item in told(other) if item == ("other",)] == [("other",)] * 130


@scene
async def test_frames_for_others_are_bounded_in_bytes_and_gone_with_the_last_follower() -> None:
    house = House()
    house.history.make = lambda seq, epoch: update(seq, epoch, size=10_000)
    house.make = house.history.make  # type: ignore[method-assign]
    house.publish(4_000)
    stuck = house.client(since=0, wire=Wire(sends=[PLENTY, 1]))
    owner = house.client(since=0)
    await house.settle()
    assert len(seqs(owner)) == 4_000
    kept = house.resumer._chunks
    assert 0 < kept.size <= chunks.MAX_BYTES
    assert kept.size == sum(len(chunk.data) for chunk in kept._made.values())
    assert len(stuck.wire.held) < chunks.PIECE_BYTES + 20_000, "what stands in a transport is bounded"
    stuck.close(1000)
    assert not house.resumer._chunks


@scene
async def test_a_stale_feed_is_told_at_arrival() -> None:
    house = House(head=3)
    house.fanout.go_stale("silence")
    owner = house.client(since=3)
    await house.settle()
    assert told(owner) == [("subscribed", "s", E, 3, True, None), ("feed", "stale", E, 3)]


@scene
async def test_a_turn_is_short_and_the_loop_runs_between_two() -> None:
    house = House()
    house.publish(64 * 200)
    owner = house.client(since=0)
    turns = 0
    while len(house.resumer):
        await asyncio.sleep(0)
        turns += 1
    assert turns > 200
    assert len(seqs(owner)) == 64 * 200
