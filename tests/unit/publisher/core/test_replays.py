"""Who is sent what, how much, and when: exact ranges, bounded credit, everybody's turn, nobody kept for ever."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.replay import MAX_CREDIT, Answer, End, Failed, Gone, Replay, Snapshot
from execgate.wire.update import Update
from publisher.core.replays import (
    FIRST_ITEMS,
    MAX_UNGRANTED_BYTES,
    SILENCE_S,
    TURN_BYTES,
    TURN_ITEMS,
    Replays,
    Turn,
)
from tests.unit.publisher.histories import FakeLog


def take_turn(replays: Replays, log: FakeLog) -> Turn:
    turn = replays.turn(log)
    assert turn is not None
    return turn


def run_dry(replays: Replays, log: FakeLog) -> list[Answer]:
    """Take turns until nothing may be sent."""
    parts: list[Answer] = []
    while replays.is_ready:
        parts += take_turn(replays, log).parts
    return parts


def all_of(replays: Replays, log: FakeLog, peer: bytes = b"a") -> list[Answer]:
    """Take turns and grant what came, to the end of the answer."""
    parts: list[Answer] = []
    while len(replays):
        came = take_turn(replays, log).parts
        parts += came
        replays.grant(peer, b"1", len(came), 0.0)
    return parts


def seqs(parts: list[Answer]) -> list[int]:
    return [part.seq for part in parts if isinstance(part, Update)]


def test_a_replay_is_the_range_in_order_and_its_end() -> None:
    log, replays = FakeLog(2000), Replays()
    replays.ask(b"a", b"1", Replay(7, 5, 1500), 0.0)
    parts = all_of(replays, log)
    assert seqs(parts) == list(range(5, 1501))
    assert parts[-1] == End(7, 1500)
    assert sum(isinstance(part, End) for part in parts) == 1
    assert replays.counts == {"replay": 1, "items": 1496, "end": 1}


@pytest.mark.parametrize("asked", [Replay(8, 11, 12), Replay(7, 10, 12), Replay(7, 11, 101), Replay(7, 101, 200)])
def test_what_is_not_held_is_gone_with_what_is(asked: Replay) -> None:
    log, replays = FakeLog(100), Replays()
    log.let_go(11)
    replays.ask(b"a", b"1", asked, 0.0)
    assert run_dry(replays, log) == [Gone(7, 11, 100)]
    assert (len(replays), replays.counts["gone"]) == (0, 1)


def test_an_empty_log_has_nothing_to_replay_and_an_empty_snapshot() -> None:
    log, replays = FakeLog(), Replays()
    replays.ask(b"a", b"1", Replay(7, 1, 1), 0.0)
    replays.ask(b"b", b"1", Snapshot(), 0.0)
    assert run_dry(replays, log) == [Gone(7, 1, 0), End(7, 0)]


def test_retention_in_the_middle_ends_what_was_begun() -> None:
    log, replays = FakeLog(1000), Replays()
    replays.ask(b"a", b"1", Replay(7, 1, 1000), 0.0)
    assert seqs(run_dry(replays, log)) == list(range(1, FIRST_ITEMS + 1))
    log.let_go(500)
    replays.grant(b"a", b"1", 1, 0.0)
    assert run_dry(replays, log) == [Gone(7, 500, 1000)]


def test_retention_between_the_look_and_the_read_is_gone_and_never_a_hole() -> None:
    class Raced(FakeLog):
        def read(self, first: int, last: int, max_bytes: int) -> list[Update]:
            self.let_go(50)
            return super().read(first, last, max_bytes)

    for first in (40, 10):  # what the read returns begins later, or is nothing
        log, replays = Raced(100), Replays()
        replays.ask(b"a", b"1", Replay(7, first, first + 20), 0.0)
        assert run_dry(replays, log) == [Gone(7, 50, 100)]


def test_a_snapshot_is_the_newest_of_each_key_as_of_one_position() -> None:
    log, replays = FakeLog(1000, keys=200), Replays()
    replays.ask(b"a", b"1", Snapshot(), 0.0)
    first = take_turn(replays, log).parts
    log.grow(500)  # while it is on its way
    replays.grant(b"a", b"1", MAX_CREDIT, 0.0)
    parts = first + all_of(replays, log)
    assert sorted(seqs(parts)) == list(range(801, 1001))
    assert parts[-1] == End(7, 1000)


def test_nobody_is_sent_more_than_was_granted() -> None:
    log, replays = FakeLog(5000), Replays()
    replays.ask(b"a", b"1", Replay(7, 1, 5000), 0.0)
    assert len(run_dry(replays, log)) == FIRST_ITEMS  # nobody knows yet whether it reads
    replays.grant(b"a", b"1", 1, 0.0)
    assert len(run_dry(replays, log)) == MAX_CREDIT - FIRST_ITEMS + 1
    replays.grant(b"a", b"1", 10, 0.0)
    assert len(run_dry(replays, log)) == 10
    for _ in range(3):  # more than it was sent
        replays.grant(b"a", b"1", MAX_CREDIT, 0.0)
    assert len(run_dry(replays, log)) == MAX_CREDIT


def test_large_items_are_bounded_in_bytes_and_one_always_fits() -> None:
    size = 100 * 1024
    log, replays = FakeLog(100, payload_bytes=size), Replays()
    replays.ask(b"a", b"1", Replay(7, 1, 100), 0.0)
    assert len(take_turn(replays, log).parts) == 1, "more than TURN_BYTES by itself"
    sent = 1 + len(run_dry(replays, log))
    assert MAX_UNGRANTED_BYTES <= sent * size < MAX_UNGRANTED_BYTES + size
    huge = FakeLog(2, payload_bytes=2 * MAX_UNGRANTED_BYTES)
    replays.ask(b"a", b"1", Replay(7, 1, 2), 0.0)
    assert len(run_dry(replays, huge)) == 1
    replays.grant(b"a", b"1", 1, 0.0)
    assert len(run_dry(replays, huge)) == 2  # and the end


def test_a_snapshot_s_turn_is_bounded_in_bytes_too() -> None:
    log, replays = FakeLog(100, keys=100, payload_bytes=TURN_BYTES // 4), Replays()
    replays.ask(b"a", b"1", Snapshot(), 0.0)
    assert len(take_turn(replays, log).parts) == 4


def test_turns_go_round_in_small_slices() -> None:
    log, replays = FakeLog(10_000), Replays()
    peers = [b"a", b"b", b"c"]
    for peer in peers:
        replays.ask(peer, b"1", Replay(7, 1, 10_000), 0.0)
    order: list[bytes] = []
    for _ in range(60):
        turn = take_turn(replays, log)
        assert len(turn.parts) <= TURN_ITEMS
        order.append(turn.peer)
        replays.grant(turn.peer, b"1", len(turn.parts), 0.0)
    assert order == peers * 20
    assert max(last - first + 1 for first, last in log.reads) <= TURN_ITEMS


def test_a_new_request_replaces_the_old() -> None:
    log, replays = FakeLog(1000), Replays()
    replays.ask(b"a", b"1", Replay(7, 1, 1000), 0.0)
    take_turn(replays, log)
    replays.ask(b"a", b"2", Replay(7, 900, 1000), 0.0)
    replays.grant(b"a", b"1", 5, 0.0)  # for the old one: no matter
    assert seqs(run_dry(replays, log)) == list(range(900, 900 + FIRST_ITEMS))
    replays.grant(b"a", b"2", 5, 0.0)
    assert seqs(run_dry(replays, log)) == list(range(900 + FIRST_ITEMS, 1001))
    assert (replays.counts["replaced"], len(replays)) == (1, 0)


def test_one_too_many_pushes_out_the_one_that_was_silent_longest_and_tells_it() -> None:
    log, replays = FakeLog(1000), Replays(max_requests=2)
    replays.ask(b"a", b"1", Replay(7, 1, 1000), 0.0)
    replays.ask(b"b", b"2", Replay(7, 1, 1000), 1.0)
    replays.grant(b"a", b"1", 1, 2.0)
    told = replays.ask(b"c", b"3", Replay(7, 1, 1000), 3.0)
    assert told is not None
    assert (told.peer, told.request_id, type(told.parts[0])) == (b"b", b"2", Failed)
    assert {take_turn(replays, log).peer for _ in range(4)} == {b"a", b"c"}
    assert (len(replays), replays.counts["forgotten"]) == (2, 1)


def test_the_silent_are_forgotten_and_the_others_are_not() -> None:
    log, replays = FakeLog(1000), Replays()
    replays.ask(b"a", b"1", Replay(7, 1, 1000), 0.0)
    replays.ask(b"b", b"1", Replay(7, 1, 1000), 0.0)
    run_dry(replays, log)
    replays.grant(b"a", b"1", 1, 5.0)
    replays.forget_silent(SILENCE_S - 1)
    assert len(replays) == 2
    replays.forget_silent(SILENCE_S)
    assert (len(replays), replays.counts["forgotten"]) == (1, 1)
    replays.grant(b"b", b"1", 1, SILENCE_S)
    assert {take_turn(replays, log).peer for _ in range(2)} == {b"a"}


PEERS = [b"a", b"b", b"c", b"d"]
steps = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(PEERS), st.integers(1, 600), st.integers(0, 900)),
    st.tuples(st.just("snapshot"), st.sampled_from(PEERS), st.just(0), st.just(0)),
    st.tuples(st.just("grant"), st.sampled_from(PEERS), st.integers(1, MAX_CREDIT), st.just(0)),
    st.tuples(st.just("turn"), st.just(b""), st.integers(1, 9), st.just(0)),
    st.tuples(st.just("grow"), st.just(b""), st.integers(1, 100), st.just(0)),
    st.tuples(st.just("drop"), st.sampled_from(PEERS), st.just(0), st.just(0)),
)


@given(st.lists(steps, max_size=60))
def test_whatever_they_say_each_is_sent_its_range_within_its_credit(
    said: list[tuple[str, bytes, int, int]],
) -> None:
    log, replays = FakeLog(700, keys=150), Replays(max_requests=3)
    ids = Counter[bytes]()
    wanted: dict[bytes, Replay | None] = {}
    came: dict[bytes, list[int]] = {}
    ungranted = Counter[bytes]()
    for what, peer, number, length in said:
        request_id = b"%d" % ids[peer]
        if what in ("ask", "snapshot"):
            ids[peer] += 1
            asked = Replay(7, number, number + length) if what == "ask" else Snapshot()
            wanted[peer] = asked if isinstance(asked, Replay) else None
            came[peer], ungranted[peer] = [], 0
            replays.ask(peer, b"%d" % ids[peer], asked, 0.0)
        elif what == "grant":
            replays.grant(peer, request_id, number, 0.0)
            ungranted[peer] = max(0, ungranted[peer] - number)
        elif what == "grow":
            log.grow(number)
        elif what == "drop":
            replays.drop(peer, "lost")
        for _ in range(number if what == "turn" else 0):
            if not replays.is_ready:
                break
            turn = take_turn(replays, log)
            assert turn.parts, "a turn that does nothing would be taken again for ever"
            assert turn.request_id == b"%d" % ids[turn.peer]
            came[turn.peer] += seqs(turn.parts)
            ungranted[turn.peer] += len(seqs(turn.parts))
            assert ungranted[turn.peer] <= MAX_CREDIT
            asked_range = wanted[turn.peer]
            if asked_range is not None:
                first = asked_range.first
                assert came[turn.peer] == list(range(first, first + len(came[turn.peer])))
                if isinstance(turn.parts[-1], End):
                    assert came[turn.peer][-1] == asked_range.last == turn.parts[-1].seq
            elif isinstance(turn.parts[-1], End):
                assert len(came[turn.peer]) == 150
        assert len(replays) <= 3


def test_who_has_no_room_gets_no_turn_and_holds_nobody_up() -> None:
    log, replays = FakeLog(1000), Replays()
    for number, peer in enumerate((b"a", b"b", b"c")):
        replays.ask(peer, b"1", Replay(7, 1, 1000), 0.0, (number, number))
    full = {(0, 0), (2, 2)}

    def has_room(connection: object) -> bool:
        return connection not in full

    turn = replays.turn(log, has_room)
    assert turn is not None
    assert (turn.peer, turn.connection) == (b"b", (1, 1))
    assert (replays.turn(log, has_room), replays.is_ready) == (None, True)  # the others wait on
    full.clear()
    served = []
    while replays.is_ready:
        served.append(take_turn(replays, log).peer)
    assert sorted(served) == [b"a", b"c"]
