"""The write side: nothing lost or reordered whatever the kernel takes; what is dropped is told; bytes add up."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.wire.close_codes import CloseCode
from execgate.wire.events import PLAIN
from gateway.core.hub import Hub
from gateway.core.interest import EVERY_TOPIC
from gateway.core.session import Mode
from gateway.outbound import Outbound, OutboundBudget, write_to_all
from tests.unit.gateway.fakes import GONE, PLENTY, Owner, Wire


def update(seq: int, size: int = 0) -> bytes:
    return PLAIN.frame(json.dumps({"seq": seq, "fill": "x" * size}).encode())


def offer(outbound: Outbound, *seqs: int, size: int = 0) -> bool:
    """Offer as the fan-out does: counted as written first."""
    outbound._counters.delivered += len(seqs)
    group = outbound.group
    if group is None:
        group = Hub[Outbound]().join(outbound, EVERY_TOPIC)
        outbound.enter(group)
    chunk = b"".join(update(seq, size) for seq in seqs)
    outbound._counters.sent_bytes += len(chunk)
    return write_to_all(group, chunk, len(seqs), seqs[0], seqs[-1])


def control(number: int) -> bytes:
    return json.dumps({"event": "control", "data": {"number": number}}).encode()


def seqs_of(messages: list[dict[str, Any]]) -> list[int]:
    return [message["data"]["seq"] for message in messages if message["event"] == "receive-execs"]


def numbers_of(messages: list[dict[str, Any]]) -> list[int]:
    return [message["data"]["number"] for message in messages if message["event"] == "control"]


def blocked(mode: Mode = Mode.ALL, session_limit: int = PLENTY, limit: int = PLENTY) -> Owner:
    """An owner whose peer has taken half of update 1 and then stopped."""
    owner = Owner(Wire(sends=[10]), session_limit, limit)
    owner.outbound.mode = mode
    offer(owner.outbound, 1)
    return owner


def test_a_peer_that_takes_everything_costs_one_send_a_chunk_and_no_backlog() -> None:
    owner = Owner()
    offer(owner.outbound, 1)
    offer(owner.outbound, 2, 3)
    assert owner.wire.send_calls == 2
    assert seqs_of(owner.messages()) == [1, 2, 3]
    assert owner.outbound.sent == owner.counters.delivered == 3
    assert owner.outbound.backlog_bytes == owner.budget.used == 0


def test_what_the_transport_takes_at_once_does_not_block() -> None:
    owner = Owner(Wire(sends=[5], takes=[PLENTY]))
    offer(owner.outbound, 1)
    offer(owner.outbound, 2)
    assert seqs_of(owner.messages()) == [1, 2]


# A script: what the kernel takes of each send and the transport of each write, and what happens in which order.
_SENDS = st.lists(st.one_of(st.just(PLENTY), st.integers(0, 200)), max_size=30)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.integers(1, 4)),
        st.tuples(st.just("skip"), st.integers(1, 3)),  # seqs of topics that this subscriber does not take
        st.tuples(st.just("control"), st.just(0)),
        st.tuples(st.just("pass on"), st.one_of(st.integers(1, 150), st.just(PLENTY))),
    ),
    max_size=60,
)


class Run:
    """One script played; what was offered, in order."""

    def __init__(self, mode: Mode, sends: list[int], takes: list[int], steps: list[tuple[str, int]]) -> None:
        self.owner = Owner(Wire(sends, takes))
        self.outbound = self.owner.outbound
        self.outbound.mode = mode
        self.offered: list[int] = []
        self.items: list[tuple[str, int]] = []  # updates and controls, in their order
        self.controls = 0
        self.queued = 0
        seq = 0
        for what, amount in steps:
            if what == "offer":
                seqs = list(range(seq + 1, seq + 1 + amount))
                seq += amount
                self.offered += seqs
                self.items += [("update", each) for each in seqs]
                offer(self.outbound, *seqs)
            elif what == "skip":
                seq += amount
            elif what == "control":
                self.controls += 1
                self.items.append(("control", self.controls))
                self.outbound.control(control(self.controls))
            else:
                self.owner.wire.pass_on(amount)
            self.check_sums()

    def check_sums(self) -> None:
        outbound, counters = self.outbound, self.owner.counters
        queued = sum(count for _, count in outbound._backlog or ())
        assert counters.delivered + counters.dropped + counters.discarded + queued == len(self.offered)
        assert self.owner.budget.used == outbound.backlog_bytes
        assert outbound.backlog_bytes == sum(len(chunk) for chunk, _ in outbound._backlog or ())
        assert counters.sent_bytes == len(self.owner.wire.received) + len(self.owner.wire.held)

    def let_everything_out(self) -> None:
        while self.owner.wire.held:
            self.owner.wire.pass_on()


@given(_SENDS, _SENDS, _STEPS)
def test_mode_all_loses_and_reorders_nothing_whatever_the_kernel_takes(
    sends: list[int], takes: list[int], steps: list[tuple[str, int]]
) -> None:
    run = Run(Mode.ALL, sends, takes, steps)
    run.let_everything_out()
    messages = run.owner.messages()
    assert seqs_of(messages) == run.offered
    assert numbers_of(messages) == list(range(1, run.controls + 1))
    assert len(messages) == len(run.offered) + run.controls
    assert run.owner.budget.used == run.outbound.backlog_bytes == 0
    assert run.owner.counters.delivered == run.outbound.sent == len(run.offered)


@given(_SENDS, _SENDS, _STEPS)
def test_volatile_drops_exactly_what_its_gaps_tell_before_what_follows_and_never_a_control(
    sends: list[int], takes: list[int], steps: list[tuple[str, int]]
) -> None:
    run = Run(Mode.VOLATILE, sends, takes, steps)
    run.let_everything_out()
    messages = run.owner.messages()
    assert numbers_of(messages) == list(range(1, run.controls + 1))
    owed = iter(run.items)
    dropped = 0
    for message in messages:
        data = message["data"]
        if message["event"] == "receive-execs":
            assert next(owed) == ("update", data["seq"])
        elif message["event"] == "control":
            assert next(owed) == ("control", data["number"])
        else:
            assert message["event"] == "gap"
            missed = [next(owed) for _ in range(data["count"])]
            assert (missed[0], missed[-1]) == (("update", data["from"]), ("update", data["to"]))
            assert {kind for kind, _ in missed} == {"update"}
            assert (data["why"], data["then"], data["topic"]) == ("slow", "lost", None)
            dropped += data["count"]
    assert list(owed) == []
    assert dropped == run.outbound.dropped == run.owner.counters.dropped
    assert run.owner.budget.used == 0


@given(_SENDS, _SENDS, _STEPS, st.sampled_from(Mode), st.booleans())
def test_after_a_close_frame_nothing_is_sent_and_every_byte_is_given_back(
    sends: list[int], takes: list[int], steps: list[tuple[str, int]], mode: Mode, flush: bool
) -> None:
    run = Run(mode, sends, takes, steps)
    run.outbound.close(CloseCode.RESTART, flush=flush)
    assert run.outbound.closing
    assert not offer(run.outbound, 1_000_000)
    run.offered.append(1_000_000)
    run.outbound.control(control(0))
    run.outbound.raw(b"no")
    run.outbound.close(CloseCode.NORMAL)
    run.check_sums()
    run.let_everything_out()
    messages = run.owner.messages()
    assert messages[-1] == {"event": "close", "code": 1012}
    assert [m["event"] for m in messages].count("close") == 1
    if flush and mode is Mode.ALL:
        assert seqs_of(messages) == run.offered[:-1]
    run.outbound.discard()
    assert run.owner.budget.used == run.outbound.backlog_bytes == 0
    run.check_sums()


@given(_SENDS.map(lambda sends: [*sends, GONE]), _SENDS, _STEPS, st.sampled_from(Mode))
def test_a_peer_that_is_gone_at_any_moment_is_aborted_once_counted_as_lost_and_owed_nothing(
    sends: list[int], takes: list[int], steps: list[tuple[str, int]], mode: Mode
) -> None:
    run = Run(mode, sends, takes, steps)
    run.let_everything_out()
    for _ in range(len(sends) + 1):
        run.outbound.control(control(0))
        run.let_everything_out()
    assert run.outbound.closing
    assert run.owner.wire.aborted == 1
    assert run.owner.counters.closes == {"lost": 1}
    run.outbound.resume()  # the transport may still say that it is empty
    assert run.owner.wire.aborted == 1
    assert run.owner.budget.used == run.outbound.backlog_bytes == 0
    run.check_sums()


def test_a_close_that_finds_the_peer_gone_is_counted_by_its_code_alone() -> None:
    owner = Owner(Wire(sends=[GONE]))
    owner.close(CloseCode.GOING_AWAY)
    assert owner.wire.aborted == 1
    assert not owner.counters.closes


def test_updates_whose_write_fails_after_they_waited_are_discarded_not_delivered() -> None:
    owner = Owner(Wire(sends=[10, GONE]))
    for seq in range(1, 6):
        offer(owner.outbound, seq)
    owner.wire.pass_on()
    assert (owner.counters.delivered, owner.counters.discarded) == (1, 4)
    assert owner.wire.send_calls == 2


def test_once_a_write_has_failed_nothing_more_of_the_backlog_or_a_gap_is_written() -> None:
    owner = Owner(Wire(sends=[10, GONE]))
    for seq in range(1, 11):
        offer(owner.outbound, seq, size=100_000)
    owner.wire.pass_on()
    assert (owner.counters.delivered, owner.counters.discarded) == (1, 9)
    assert owner.budget.used == 0
    owner = Owner(Wire(sends=[10, GONE]))
    owner.outbound.mode = Mode.VOLATILE
    offer(owner.outbound, 1)
    owner.outbound.control(control(1))
    offer(owner.outbound, 2)
    owner.wire.pass_on()
    assert (owner.wire.send_calls, owner.wire.aborted) == (2, 1)


@pytest.mark.parametrize("bounds", [{"session_limit": 500}, {"limit": 500}], ids=["session", "process"])
def test_mode_all_is_closed_with_4108_at_the_bound_and_what_waits_is_let_go(bounds: dict[str, int]) -> None:
    owner = blocked(Mode.ALL, **bounds)
    seq = 1
    while not owner.closed:
        seq += 1
        offer(owner.outbound, seq)
        assert owner.budget.used <= 500
    assert owner.closed == [(4108, False)]
    assert owner.outbound.closing
    assert owner.counters.discarded == seq - 1
    assert owner.counters.delivered == 1
    owner.wire.pass_on()
    messages = owner.messages()
    assert seqs_of(messages) == [1], "the frame under way is sent whole"
    assert messages[-1] == {"event": "close", "code": 4108}
    assert owner.budget.used == 0


@pytest.mark.parametrize("mode", Mode)
def test_a_control_that_does_not_fit_closes_with_4108(mode: Mode) -> None:
    owner = blocked(mode, session_limit=100)
    owner.outbound.control(control(1))
    assert not owner.closed
    owner.outbound.control(b'"' + b"x" * 100 + b'"')
    assert owner.closed == [(4108, False)]


def test_volatile_keeps_no_update_however_long_it_is_blocked() -> None:
    owner = blocked(Mode.VOLATILE, session_limit=0)
    for seq in range(2, 1000):
        assert not offer(owner.outbound, seq)
    assert owner.outbound.backlog_bytes == 0
    assert not owner.closed
    owner.wire.pass_on()
    gap = owner.messages()[-1]["data"]
    assert (gap["from"], gap["to"], gap["count"]) == (2, 999, 998)


def test_a_big_backlog_goes_out_in_pieces_so_that_the_transport_never_holds_it_all() -> None:
    owner = Owner(Wire(sends=[10, *[1] * 100]))
    for seq in range(1, 41):
        offer(owner.outbound, seq, size=100_000)
    most = 0
    while owner.wire.held:
        owner.wire.pass_on()
        most = max(most, len(owner.wire.held))
    assert 256 * 1024 <= most < 256 * 1024 + 101_000
    assert seqs_of(owner.messages()) == list(range(1, 41))


def test_a_process_is_nearly_spent_at_95_percent() -> None:
    budget = OutboundBudget(100, 1000)
    budget.used = 949
    assert not budget.is_nearly_spent
    budget.used = 950
    assert budget.is_nearly_spent


def test_the_handshakes_answer_stands_before_everything() -> None:
    owner = Owner(Wire(sends=[3]))
    owner.outbound.raw(b"HTTP/1.1 101\r\n\r\n")
    offer(owner.outbound, 1)
    owner.wire.pass_on()
    assert bytes(owner.wire.received) == b"HTTP/1.1 101\r\n\r\n" + update(1)
