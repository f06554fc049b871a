"""PURE: one client's books: for every update that it was owed exactly one fate, in the light of the journal.

    owed = received + told (a gap said so) + conflated (a newer one of its name came instead) + lost

Lost is what has no other fate, so a client that stops short of the journal's head has lost the rest, unless it has
left by its own will while it was subscribed: then it is owed what it had passed. A flaw is a
pair (client, seq) whose fate is wrong: lost, doubled, out of order, of other content, not in the journal, or told
with a wrong count.

A stream that is set back and repeats what has passed is one flaw, at the first seq that comes again, however much
follows it: the rest is judged by what came, and new is what lies beyond all that has a fate.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from execgate.audit import chain
from execgate.audit.records import Described, Left, Passed, Received, Record, Subscribed, Told
from execgate.audit.truth import Owed, Truth

MAX_FLAWS = 100
"""Of one client that are listed; all are counted."""
CONFLATE = "conflate"


class Flaw(NamedTuple):
    """A pair that does not balance."""

    client: str
    epoch: str
    seq: int
    what: str


@dataclass(slots=True)
class Fates:
    """How many updates of a client, or of many, ended how."""

    owed: int = 0
    received: int = 0
    told: int = 0
    conflated: int = 0
    lost: int = 0
    flaws: int = 0

    def add(self, other: "Fates") -> None:
        """Add those of another client."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class _Session:
    """Since the last `subscribed`: where it began, and how many it has received and been told since."""

    start: int
    came: int = 0
    told: int = 0
    told_slow: int = 0
    missing: int = 0  # conflate: of epochs before this one


@dataclass(slots=True)
class Books:
    """The books of one client; feed its records in order, then `close`.

    Attributes:
        flaws: the first of them.
        sessions: how often it has subscribed.
    """

    truth: Truth
    who: Described
    fates: Fates = field(default_factory=Fates)
    flaws: list[Flaw] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    _has_left: bool = False
    _epoch: str | None = None
    _cursor: int = 0  # of everything up to it the fate is known
    _position: int = 0  # where its stream stands: below the cursor while it repeats
    _repeats: bool = False  # what is below the cursor has come again, which was told as a flaw
    _session: _Session | None = None
    _received: set[int] = field(default_factory=set)  # in this epoch, where the mode is conflate
    _holes: list[int] = field(default_factory=list)

    @property
    def mode(self) -> str:
        """What the client asked for."""
        return self.who.mode

    def take(self, record: Record) -> None:
        """Take its next record."""
        if self._has_left:
            self._flaw(self._cursor, "after-left")
        elif isinstance(record, Subscribed):
            self._subscribed(record)
        elif self._epoch is None or self._session is None:
            if not isinstance(record, Described):
                self._flaw(0, "before-subscribed")
        elif isinstance(record, Received):
            self._move_to(record.epoch)
            self._take_received(record, self._session)
        elif isinstance(record, Told):
            self._take_told(record, self._session)
        elif isinstance(record, Passed):
            self._move_to(record.epoch)
            self._take_passed(record, self._session)
        elif isinstance(record, Left):
            self._move_to(record.epoch)
            if record.seq > self.truth.heads.get(record.epoch, 0):
                self._flaw(record.seq, "not-in-journal")
                return
            self._skip(record.seq)
            self._has_left = True

    def close(self) -> None:
        """Nothing more comes: what is owed up to the head is lost, where the client has not left."""
        last = self.truth.last_epoch
        if self._has_left:
            self._settle_holes()
            return
        if self._epoch is None:
            if any(self.truth.heads.values()):
                self._flaw(0, "never-subscribed")
            return
        if last is not None:
            self._move_to(last)
        self._skip(self.truth.heads.get(self._epoch, 0))
        self._settle_holes()

    @property
    def _owed(self) -> Owed:
        return self.truth.owed(self._epoch or "", self.who.topics)

    def _flaw(self, seq: int, what: str) -> None:
        self.fates.flaws += 1
        self.kinds[what] += 1
        if len(self.flaws) < MAX_FLAWS:
            self.flaws.append(Flaw(self.who.client, self._epoch or "", seq, what))

    def _subscribed(self, record: Subscribed) -> None:
        self.sessions += 1
        if self._epoch is None:
            self._epoch, self._cursor = record.epoch, record.seq  # nobody was owed what came before
        else:
            if record.told_until is not None and record.epoch != self._epoch:
                self._tell(self.truth.heads.get(self._epoch, 0))  # what the epoch before still had
            self._move_to(record.epoch)
            if record.told_until is not None:
                self._tell(record.seq)
            elif not record.recovered or record.seq > self._cursor:
                self._skip(record.seq)
            if record.seq < self._position:
                self._repeats = False  # whatever comes again now is another flaw
        self._session = _Session(record.seq)
        self._stand_at(record.seq)

    def _stand_at(self, position: int) -> None:
        self._position = position
        if position >= self._cursor:
            self._repeats = False

    def _move_to(self, epoch: str) -> None:
        """Another epoch begins: what the old one still had is lost unless a gap without an end has told it."""
        if epoch == self._epoch:
            return
        self._skip(self.truth.heads.get(self._epoch or "", 0))
        self._settle_holes()
        session = self._session
        if session is not None:
            session.missing = self._missing(session, self._position)
            session.start = session.came = session.told = 0
        self._epoch, self._cursor, self._received = epoch, 0, set()
        self._stand_at(0)

    def _skip(self, until: int) -> None:
        """Everything behind the cursor, up to `until`, has passed without a word: holes, or lost."""
        if until <= self._cursor:
            return
        if self.mode == CONFLATE:
            self._holes += self._owed.between(self._cursor + 1, until)
        else:
            self._lose(self._owed.between(self._cursor + 1, until))
        self._cursor = until

    def _lose(self, seqs: list[int]) -> None:
        self.fates.owed += len(seqs)
        self.fates.lost += len(seqs)
        for seq in seqs:
            self._flaw(seq, "lost")

    def _tell(self, until: int) -> None:
        """Everything behind the cursor, up to `until`, was told as lost."""
        count = self._owed.count(self._cursor + 1, until)
        self.fates.owed += count
        self.fates.told += count
        self._cursor = max(self._cursor, until)

    def _take_received(self, record: Received, session: _Session) -> None:
        owed = self._owed
        head = self.truth.heads.get(record.epoch, 0)
        if record.last > head:
            self._flaw(record.last, "not-in-journal")
            return
        if record.first <= self._position or (record.first <= self._cursor and not self._repeats):
            self._flaw(record.first, "doubled-or-out-of-order")
            self._repeats = True
        self._skip(record.first - 1)
        session.came += record.count
        if self.mode == CONFLATE:
            self._take_sparse(record)
        else:
            expected = owed.count(record.first, record.last)
            if record.count != expected:
                self._flaw(record.first, f"received {record.count} of {expected} up to {record.last}")
            elif record.hash != owed.hash(record.first, record.last):
                self._flaw(record.first, f"other-content up to {record.last}")
            repeated = owed.count(record.first, min(self._cursor, record.last))
            self.fates.owed += expected - repeated
            self.fates.received += max(record.count - repeated, 0)
        self._cursor = max(self._cursor, record.last)
        self._stand_at(record.last)

    def _take_sparse(self, record: Received) -> None:
        seqs = record.seqs
        owed = self._owed.between(record.first, record.last)
        strange = set(seqs).difference(owed)
        if strange or len(seqs) != record.count or list(seqs) != sorted(set(seqs)):
            self._flaw(min(strange, default=record.first), "not owed, or out of order")
            return
        hashed = 0
        for seq in seqs:
            hashed = chain.extend(hashed, self.truth.digest(record.epoch, seq) or 0)
        if hashed != record.hash:
            self._flaw(record.first, f"other-content up to {record.last}")
        new = [seq for seq in seqs if seq > self._cursor]
        self.fates.owed += len(new)
        self.fates.received += len(new)
        self._received.update(new)
        self._holes += [seq for seq in owed if seq > self._cursor and seq not in self._received]

    def _take_told(self, record: Told, session: _Session) -> None:
        head = self.truth.heads.get(self._epoch or "", 0)
        last = head if record.last is None else record.last
        count = self._owed.count(max(record.first, self._position + 1), last)
        self._skip(record.first - 1)
        self._tell(last)
        self._stand_at(max(self._position, last))
        session.told += count
        if record.why == "slow":
            session.told_slow += count
        if record.count is not None and record.count != count:
            self._flaw(record.first, f"told {record.count} where {count} were owed up to {record.last}")

    def _take_passed(self, record: Passed, session: _Session) -> None:
        if record.seq < self._position:
            self._flaw(record.seq, f"position behind {self._position}")
            return
        self._skip(record.seq)
        self._stand_at(record.seq)
        if record.dropped != session.told_slow:
            self._flaw(record.seq, f"dropped {record.dropped} counted where {session.told_slow} were told")
        if self.mode == CONFLATE:
            missing = self._missing(session, record.seq)
            if record.conflated != missing:
                self._flaw(record.seq, f"conflated {record.conflated} counted where {missing} are missing")

    def _missing(self, session: _Session, until: int) -> int:
        """How many of what a session has passed neither came nor were told: conflated, as far as it knows."""
        return session.missing + self._owed.count(session.start + 1, until) - session.came - session.told

    def _settle_holes(self) -> None:
        """A hole is conflated where a newer update of its name has come, else lost.

        Who has left did not wait for the newer one: that there is one is enough.
        """
        if not self._holes:
            return
        names = self._owed.names
        newest: dict[tuple[str, str], int] = {}
        for seq in self._owed.seqs if self._has_left else self._received:
            name = names[seq]
            newest[name] = max(newest.get(name, 0), seq)
        lost = [seq for seq in self._holes if not names[seq][1] or newest.get(names[seq], 0) <= seq]
        conflated = len(self._holes) - len(lost)
        self.fates.owed += conflated
        self.fates.conflated += conflated
        self._lose(lost)
        self._holes = []
