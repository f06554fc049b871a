"""The gateway's ledger: whatever happens to sessions, the fates of each add up, to what the journal has too."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execgate.audit.ledgers import Ledgers, Wrong
from execgate.audit.truth import Entry, Truth
from execgate.service.ledger_file import LedgerFile
from execgate.wire.update import Kind, Update, epoch_text
from gateway.connection import Connection
from gateway.core.account import MAX_STRETCHES, Account
from gateway.core.interest import EVERY_TOPIC, Interest
from gateway.core.session import Mode
from gateway.counters import Counters
from gateway.fanout import Fanout
from gateway.ledger import Ledger
from gateway.outbound import Outbound
from tests.unit.gateway.fakes import GONE, Owner, Wire

TOPICS = (b"ex.A.", b"ex.B.", b"ex.C.")
INTERESTS = (EVERY_TOPIC, Interest(frozenset({"ex.A."})), Interest(frozenset({"ex.A.", "ex.B."})))
LIMIT = 700
"""Bytes that may wait: a few updates."""
PUSHED = 0xFF
"""An epoch of updates that never pass the hub."""


class House:
    """A fan-out with sessions that are kept an account of, and a journal that misses nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counters = Counters()
        self.ledger = Ledger(LedgerFile(str(path)), "gateway-1", self.counters)
        self.fanout = Fanout(self.counters, lambda: None, self._exhausted)
        self.owners: list[Owner] = []
        self.epoch, self.seq = 1, 0
        self.journal: list[Entry] = []
        self.fanout.take(Update(Kind.HEARTBEAT, b"", 1, 0, 0, 1, b"", b""))
        self.begun = self.pushed = 0

    def _exhausted(self, member: Outbound) -> None:
        self.fanout.leave(member)

    def publish(self, topic: bytes, key: bytes, *, arrives: bool) -> None:
        self.seq += 1
        self.journal.append(Entry(epoch_text(self.epoch), self.seq, topic.decode(), key.decode(), 0))
        if arrives:
            payload = json.dumps({"seq": self.seq, "of": "x" * 60}).encode()
            self.fanout.take(Update(Kind.DATA, topic, self.epoch, self.seq, 1, 1, key, payload))

    def beat(self) -> None:
        self.fanout.take(Update(Kind.HEARTBEAT, b"", self.epoch, self.seq, 0, 1, b"", b""))

    def begin(self, interest: Interest, mode: Mode, max_messages: int | None, sends: list[int]) -> None:
        self.begun += 1
        owner = Owner(Wire(sends), session_limit=LIMIT)
        owner.counters = self.counters
        owner.outbound = Outbound(owner.as_connection, owner.wire, owner.wire.send, owner.budget, self.counters)
        owner.wire.on_empty = owner.outbound.resume
        owner.outbound.account = self.ledger.open_account()
        cast("Any", owner).session_name = f"gateway-1-{self.begun}"

        def on_close() -> None:
            owner.outbound.ends_with("4108")
            self.fanout.leave(owner.outbound)

        owner.on_close = on_close
        self.owners.append(owner)
        self.fanout.join(owner.outbound, interest, mode, max_messages)

    def push(self, owner: Owner, *, is_snapshot: bool) -> None:
        """What a client that resumes is sent past the hub: of a snapshot, or a stretch of its own."""
        outbound = owner.outbound
        self.fanout.leave(outbound)
        chunk = b"".join(outbound.envelope.frame(b"{}") for _ in range(3))
        if is_snapshot:
            outbound.push(chunk, 3, is_snapshot=True)
            return
        self.journal += [
            Entry(epoch_text(PUSHED), seq, "ex.A.", "", 0) for seq in range(self.pushed + 1, self.pushed + 4)
        ]
        assert outbound.account is not None
        outbound.account.begin(frozenset({"ex.A."}), PUSHED, self.pushed, outbound.matched, is_limited=False)
        self.pushed += 3
        outbound.push(chunk, 3)
        outbound.end_stretch(self.pushed)

    def end(self, owner: Owner, code: int | None) -> None:
        """As a connection does: with a close frame, or lost without one."""
        outbound = owner.outbound
        if code is not None and not outbound.closing:
            owner.on_close = lambda: None
            outbound.ends_with(str(code))
            self.fanout.leave(outbound)
            owner.close(code)
        if not outbound.closing:
            outbound.closing = True
            outbound.ends_with("lost")
        self.fanout.leave(outbound)
        outbound.discard()
        self.ledger.enter(cast("Connection", owner))
        self.owners.remove(owner)

    def close(self) -> None:
        """The process ends with whoever is still there."""
        left = list(self.owners)
        queued = sum(owner.outbound.queued for owner in left)
        for owner in left:
            self.fanout.leave(owner.outbound)
            self.ledger.enter(cast("Connection", owner))
        self.ledger.close(queued)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


def wrongs_of(lines: list[dict[str, Any]], journal: list[Entry]) -> list[Wrong]:
    ledgers = Ledgers(Truth(journal))
    for line in lines:
        ledgers.take(line)
    ledgers.close()
    assert ledgers.unjudged == 0
    return ledgers.wrongs


MODES = st.sampled_from([Mode.ALL, Mode.VOLATILE, Mode.CONFLATE])
SENDS = st.lists(st.sampled_from([0, 0, 0, 40, 1000, GONE]), max_size=5)
BEGIN = st.tuples(
    st.just("begin"), st.sampled_from(INTERESTS), MODES, st.sampled_from([None, None, None, 3]), SENDS
)
STEP = st.one_of(
    *[st.tuples(st.just("publish"), st.integers(1, 8), st.sampled_from(TOPICS), st.booleans())] * 3,
    st.tuples(st.just("lose"), st.integers(1, 3), st.sampled_from(TOPICS)),
    st.tuples(st.just("flush"), st.sampled_from([False, False, True])),
    st.tuples(st.just("beat")),
    st.tuples(st.just("new epoch")),
    BEGIN,
    st.tuples(st.just("push"), st.integers(0, 9), st.booleans()),
    *[st.tuples(st.just("pass on"), st.integers(0, 9), st.sampled_from([20, 10_000]))] * 2,
    st.tuples(st.just("change"), st.integers(0, 9), st.sampled_from(INTERESTS)),
    st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from([None, 1000])),
)


@settings(max_examples=300)
@given(st.lists(BEGIN, min_size=2, max_size=5), st.lists(STEP, min_size=10, max_size=40))
def test_the_books_of_random_sessions_balance(
    tmp_path_factory: pytest.TempPathFactory, begun: list[Any], steps: list[Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "ledger.jsonl"
    path.unlink(missing_ok=True)
    house = House(path)
    for name, *args in (*begun, *steps):
        if name in ("publish", "lose"):
            for number in range(args[0]):
                key = b"k%d" % (number % 2) if args[-1] is True else b""
                house.publish(args[1], key, arrives=name == "publish")
        elif name == "flush":
            house.fanout.is_behind = args[0]
            house.fanout.flush()
        elif name == "beat":
            house.beat()
        elif name == "new epoch":
            house.epoch, house.seq = house.epoch + 1, 0
        elif name == "begin":
            house.fanout.flush()  # the loop runs nothing else between what the feed brings and its flush
            house.begin(*args)
        elif house.owners:
            house.fanout.flush()
            owner = house.owners[args[0] % len(house.owners)]
            outbound = owner.outbound
            if name == "pass on" and not outbound.closing:
                owner.wire.pass_on(args[1])
            elif name == "change" and outbound.group is not None:
                house.fanout.join(outbound, args[1], outbound.mode, None)
            elif name == "push" and outbound.is_free:
                house.push(owner, is_snapshot=args[1])
            elif name == "end":
                house.end(owner, args[1])
    house.fanout.flush()
    house.close()
    lines = house.lines()
    assert [line["is"] for line in lines] == ["session"] * house.begun + ["gateway"]
    assert wrongs_of(lines, house.journal) == []
    total = lines[-1]
    fates = ("delivered", "queued", "dropped", "conflated", "discarded")
    assert total["matched"] == sum(total[name] for name in fates)


def test_an_account_is_bounded_and_what_it_does_not_list_is_summed() -> None:
    account = Account()
    for number in range(MAX_STRETCHES + 5):
        account.begin(frozenset({"ex.A."}), 1, 10 * number, 3 * number, is_limited=False)
        account.end(10 * number + 5, 3 * number + 3)
    assert len(account.stretches) == MAX_STRETCHES
    assert (account.unlisted, account.unlisted_matched) == (5, 15)


def test_a_stretch_that_goes_on_is_one() -> None:
    """A client that resumes is served by itself first and by the hub then; its stretch is the same."""
    account = Account()
    topics = frozenset({"ex.A."})
    account.begin(topics, 1, 4, 0, is_limited=False)
    account.begin(topics, 1, 9, 3, is_limited=False)
    account.end(12, 4)
    [stretch] = account.stretches
    assert (stretch.after, stretch.until, stretch.matched) == (4, 12, 4)
