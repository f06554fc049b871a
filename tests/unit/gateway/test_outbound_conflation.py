"""Conflation: the newest of each topic and key, in order; what was sent, merged and waits adds up exactly."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.update import Kind, Update
from gateway.core.interest import EVERY_TOPIC
from gateway.core.session import Mode
from gateway.fanout import Fanout
from gateway.outbound import Outbound
from tests.unit.gateway.fakes import GONE, PLENTY, Owner, Wire

Named = tuple[bytes, bytes]
TOPICS, KEYS = [b"ex.A.", b"ex.B."], [b"", b"k", b"l"]


class House:
    """A fan-out with one conflating subscriber, and the naive list of what it matched."""

    def __init__(
        self,
        wire: Wire | None = None,
        session_limit: int = PLENTY,
        limit: int = PLENTY,
        most: int | None = None,
        mode: Mode = Mode.CONFLATE,
    ) -> None:
        self.owner = Owner(wire, session_limit, limit)
        self.outbound = self.owner.outbound
        self.counters = self.owner.counters
        self.exhausted = 0
        self.fanout = Fanout(self.counters, lambda: None, self._on_exhausted)
        self.fanout.join(self.outbound, EVERY_TOPIC, mode, most)
        self.owner.on_close = lambda: self.fanout.leave(self.outbound)
        self.names: dict[int, Named] = {}
        self.seq = 0

    def _on_exhausted(self, member: Outbound) -> None:
        self.exhausted += 1
        self.fanout.leave(member)
        member.control(b'{"event":"unsubscribed","data":{}}')

    def offer(self, *names: Named, size: int = 0) -> None:
        """One drain of the feed."""
        for topic, key in names:
            self.seq += 1
            self.names[self.seq] = topic, key
            payload = json.dumps({"seq": self.seq, "fill": "x" * size}).encode()
            self.fanout.take(Update(Kind.DATA, topic, 7, self.seq, self.seq, 0, key, payload))
        self.fanout.flush()

    @property
    def queued(self) -> int:
        backlog = sum(count for _, count in self.outbound._backlog or ())
        return backlog + len(self.outbound._conflated_frames or ())

    def check_sums(self, matched: int | None = None) -> None:
        outbound, counters = self.outbound, self.counters
        matched = self.seq if matched is None else matched
        assert counters.delivered + counters.conflated + counters.discarded + self.queued == matched
        assert counters.conflated == outbound.conflated
        assert counters.sent_bytes == len(self.owner.wire.received) + len(self.owner.wire.held)
        waiting = [*(chunk for chunk, _ in outbound._backlog or ()), *(outbound._conflated_frames or {}).values()]
        assert self.owner.budget.used == outbound.backlog_bytes == sum(map(len, waiting))

    def seqs(self) -> list[int]:
        return [m["data"]["seq"] for m in self.owner.messages() if m["event"] == "receive-execs"]

    def let_everything_out(self) -> None:
        while self.owner.wire.held:
            self.owner.wire.pass_on()


def blocked(**options: Any) -> House:
    """Its peer has taken a part of update 1 and then stopped."""
    house = House(Wire(sends=[10]), **options)
    house.offer((b"ex.A.", b"first"))
    return house


def test_the_newest_of_each_topic_and_key_waits_in_the_place_of_the_one_before_it() -> None:
    house = blocked()
    house.offer((b"ex.A.", b"k"), (b"ex.A.", b"l"), (b"ex.B.", b"k"))
    house.offer((b"ex.A.", b"k"))
    house.check_sums()
    house.let_everything_out()
    assert house.seqs() == [1, 3, 4, 5]
    assert (house.outbound.sent, house.outbound.conflated, house.queued) == (4, 1, 0)


def test_an_update_without_a_key_is_never_conflated() -> None:
    house = blocked()
    house.offer(*[(b"ex.A.", b"")] * 5)
    house.let_everything_out()
    assert house.seqs() == [1, 2, 3, 4, 5, 6]
    assert house.outbound.conflated == 0


def test_what_the_socket_takes_is_not_conflated() -> None:
    house = House()
    house.offer(*[(b"ex.A.", b"k")] * 5)
    assert house.seqs() == [1, 2, 3, 4, 5]


def test_an_answer_stands_behind_what_came_before_it_and_what_is_newer_behind_the_answer() -> None:
    house = blocked()
    house.offer((b"ex.A.", b"k"))
    house.outbound.control(b'{"event":"control","data":{"seq":0}}')
    house.offer((b"ex.A.", b"k"))
    house.offer((b"ex.A.", b"k"))
    house.check_sums()
    house.let_everything_out()
    assert [m["data"]["seq"] for m in house.owner.messages()] == [1, 2, 0, 4]
    assert house.outbound.conflated == 1


def test_what_is_not_written_yet_can_still_be_replaced_when_a_part_has_gone_out() -> None:
    """A slow reader of many keys is served their newest for ever: it needs the bound once, not twice."""
    keys = [(b"ex.A.", b"key-%d" % number) for number in range(20)]
    house = House(Wire(sends=[10, *[1] * 1_000]), session_limit=21 * 60_000)
    house.offer(keys[0])
    for _ in range(30):
        house.offer(*keys, size=60_000 - 100)
        house.check_sums()
        house.owner.wire.pass_on()
        assert not house.owner.closed
    house.let_everything_out()
    got = house.seqs()
    assert got == sorted(set(got))
    assert set(range(house.seq - 19, house.seq + 1)) <= set(got)
    house.check_sums()


@pytest.mark.parametrize("bounds", [{"session_limit": 2_000}, {"limit": 2_000}], ids=["session", "process"])
def test_over_the_bound_it_is_closed_with_4108_and_what_waits_is_let_go_and_counted(
    bounds: dict[str, int],
) -> None:
    house = blocked(**bounds)
    number = 0
    while not house.owner.closed:
        number += 1
        house.offer((b"ex.A.", b"key-%d" % number))
    assert house.owner.closed == [(4108, False)]
    assert house.counters.delivered + house.counters.conflated + house.counters.discarded == house.seq
    assert house.counters.discarded == house.seq - 1
    house.let_everything_out()
    assert house.owner.messages()[-1] == {"event": "close", "code": 4108}
    assert house.owner.budget.used == house.outbound.backlog_bytes == 0
    assert list(house.fanout.hub.members()) == []


def test_one_key_never_fills_the_bound() -> None:
    house = blocked(session_limit=500)
    for _ in range(1_000):
        house.offer((b"ex.A.", b"k"))
    assert not house.owner.closed
    house.check_sums()
    house.let_everything_out()
    assert house.seqs() == [1, 1_001]
    assert house.outbound.conflated == 999


def test_a_limit_counts_what_was_merged_and_the_newest_within_it_is_sent() -> None:
    house = blocked(most=6)
    house.offer(*[(b"ex.A.", b"k")] * 3)
    house.offer(*[(b"ex.A.", b"k")] * 9)
    house.let_everything_out()
    assert house.seqs() == [1, 6]
    assert house.owner.messages()[-1]["event"] == "unsubscribed"
    assert house.outbound.sent + house.outbound.conflated == 6
    assert house.exhausted == 1


def test_a_volatile_subscriber_with_a_limit_is_told_of_everything_that_it_missed() -> None:
    """A drain may bring more than it still takes; when it takes none of them all are dropped, not only those."""
    house = blocked(mode=Mode.VOLATILE, most=3)
    house.offer(*[(b"ex.A.", b"")] * 8)
    house.offer((b"ex.A.", b""))
    house.let_everything_out()
    house.offer(*[(b"ex.A.", b"")] * 5)
    gap = next(m["data"] for m in house.owner.messages() if m["event"] == "gap")
    assert (gap["from"], gap["to"], gap["count"]) == (2, 10, 9)
    assert house.seqs() == [1, 11, 12]
    assert (house.outbound.sent, house.outbound.dropped) == (3, 9)
    assert house.counters.delivered + house.counters.dropped == 12


_NAMES = st.lists(st.tuples(st.sampled_from(TOPICS), st.sampled_from(KEYS)), min_size=1, max_size=5)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), _NAMES),
        st.tuples(st.just("offer"), _NAMES),
        st.tuples(st.just("control"), st.none()),
        st.tuples(st.just("pass on"), st.one_of(st.integers(1, 200), st.just(PLENTY))),
        st.tuples(st.just("rejoin"), st.none()),
    ),
    max_size=40,
)
_SENDS = st.lists(st.one_of(st.just(PLENTY), st.integers(0, 150)), max_size=30)


def played(sends: list[int], steps: list[tuple[str, Any]]) -> tuple[House, list[int]]:
    """Play a script; return what happened and the seqs behind which a control was said."""
    house = House(Wire(sends))
    controls = []
    for what, given_ in steps:
        if what == "offer":
            house.offer(*given_)
        elif what == "control":
            controls.append(house.seq)
            house.outbound.control(b'{"event":"control","data":{}}')
        elif what == "pass on":
            house.owner.wire.pass_on(given_)
        else:
            house.fanout.join(house.outbound, EVERY_TOPIC, Mode.CONFLATE, None)
        if not house.outbound.closing:
            house.check_sums()
    return house, controls


@given(_SENDS, _STEPS)
def test_what_is_sent_is_in_order_misses_only_what_a_newer_one_stands_for_and_adds_up(
    sends: list[int], steps: list[tuple[str, Any]]
) -> None:
    house, controls = played(sends, steps)
    house.let_everything_out()
    got = house.seqs()
    assert got == sorted(set(got)), "in order of seq, none twice"
    for missed in set(house.names) - set(got):
        name = house.names[missed]
        assert name[1], "without a key nothing is merged"
        assert any(house.names[seq] == name for seq in got if seq > missed)
    assert len(got) == house.outbound.sent == house.counters.delivered
    assert len(got) + house.outbound.conflated == house.seq
    assert house.queued == house.owner.budget.used == 0
    said = [m["event"] for m in house.owner.messages()]
    assert said.count("control") == len(controls)
    before = 0
    at = iter(controls)
    for message in house.owner.messages():
        if message["event"] == "control":
            position = next(at)
            assert before <= position
            assert all(seq > position for seq in got if seq > before)
        else:
            before = message["data"]["seq"]


@given(_SENDS.map(lambda sends: [*sends, GONE]), _STEPS)
def test_a_peer_that_is_gone_is_owed_nothing_and_every_byte_is_given_back(
    sends: list[int], steps: list[tuple[str, Any]]
) -> None:
    house, _ = played(sends, steps)
    for _ in range(len(sends) + 1):
        house.outbound.control(b'{"event":"control","data":{}}')
        house.let_everything_out()
    assert house.outbound.closing
    assert house.owner.budget.used == house.outbound.backlog_bytes == house.queued == 0
    counters = house.counters
    assert counters.delivered + counters.conflated + counters.discarded == house.seq
