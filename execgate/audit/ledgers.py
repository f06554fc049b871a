"""PURE: the ledgers of gateways and publishers, held against the journal, each other, and what clients wrote down.

A gateway's line of a session (`docs/gateway.md` has the fields) is right where

- its fates add up: matched = delivered + queued + dropped (slow, behind) + conflated + discarded;
- in each stretch there matched what the journal has of its topics there, neither more nor less;
- its client began where the session did, and received and was told no more than was sent and dropped.

The lines of one life of a gateway add up to the line that it wrote at its end; one that was killed wrote none. A
publisher's line is right where accepted = journaled = published = what the journal has of its life.

What a journal has let go of can't be judged, and is counted as such.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from execgate.audit.records import Received, Record, Subscribed, Told
from execgate.audit.truth import Truth

FATES = ("delivered", "queued", "conflated", "discarded")
_SUMS = ("matched", *FATES, "dropped")
EVERYTHING = ("*",)
Fields: TypeAlias = dict[str, Any]


class Wrong(NamedTuple):
    """A line that does not balance: whose it is, and why."""

    who: str
    what: str


@dataclass(slots=True)
class Heard:
    """What a client wrote down of one session, where that began, and how far it has come."""

    epoch: str
    start: int
    received: int = 0
    told_slow: int = 0
    last: tuple[str, int] | None = None


class Ledgers:
    """All lines of all ledgers; `close` judges them.

    Attributes:
        sessions: lines of sessions.
        compared: of them, those that a client wrote of too.
        unfinished: lives of gateways that did not write their own line.
        unjudged: stretches, or lives of publishers, that the journal does not hold any more.
        wrongs: what does not balance, in order.
    """

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._heard: dict[str, Heard] = {}
        self._at: dict[str, str | None] = {}  # the session that a client is in
        self._lines: dict[str, Fields | None] = {}  # by session; None where two have that name
        self._sums: dict[tuple[str, int], Counter[str]] = {}
        self._ended: set[tuple[str, int]] = set()
        self.sessions = self.publishers = self.compared = self.unjudged = 0
        self.wrongs: list[Wrong] = []

    @property
    def gateways(self) -> int:
        """Lives of gateways."""
        return len(self._sums)

    @property
    def unfinished(self) -> int:
        """See above."""
        return len(self._sums) - len(self._ended)

    def hear(self, record: Record) -> None:
        """Take what a client wrote down."""
        if isinstance(record, Subscribed):
            self._at[record.client] = record.session
            if record.session is not None and record.session not in self._heard:
                self._heard[record.session] = Heard(record.epoch, record.seq)
            return
        heard = self._heard.get(self._at.get(record.client) or "")
        if heard is None:
            return
        if isinstance(record, Received):
            heard.received += record.count
            heard.last = record.epoch, record.last
        elif isinstance(record, Told) and record.why == "slow":
            heard.told_slow += record.count or 0

    def take(self, fields: Fields) -> None:
        """Take a line; those of a life's sessions come before its own.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is none.
        """
        if fields["is"] == "publisher":
            self._take_publisher(fields)
            return
        life = str(fields["gateway"]), int(fields["life"])
        sums = self._sums.setdefault(life, Counter())
        if fields["is"] == "session":
            self._take_session(fields, sums)
        else:
            self._take_gateway(fields, life, sums)

    def close(self) -> None:
        """All lines are there: compare sessions with what clients wrote."""
        for name, line in self._lines.items():
            heard = self._heard.get(name)
            if line is not None and heard is not None:
                self.compared += 1
                self.wrongs += [Wrong(name, what) for what in _differences(line, heard)]

    def _take_session(self, line: Fields, sums: Counter[str]) -> None:
        self.sessions += 1
        name = str(line["session"])
        self._lines[name] = None if name in self._lines else line
        dropped = sum(line["dropped"].values())
        for key in ("matched", *FATES):
            sums[key] += line[key]
        sums["dropped"] += dropped
        sums["sessions"] += 1
        fates = sum(line[key] for key in FATES) + dropped
        if fates != line["matched"]:
            self.wrongs.append(Wrong(name, f"{line['matched']} matched, and {fates} have a fate"))
        listed = sum(stretch["matched"] for stretch in line["stretches"]) + line["unlisted_matched"]
        if listed + line["snapshot"] != line["matched"]:
            what = f"{line['matched']} matched, and {listed} in its stretches, {line['snapshot']} in snapshots"
            self.wrongs.append(Wrong(name, what))
        for stretch in line["stretches"]:
            self.wrongs += [Wrong(name, what) for what in self._wrongs_of(stretch)]

    def _wrongs_of(self, stretch: Fields) -> Iterator[str]:
        truth, epoch = self._truth, stretch["epoch"]
        after, until = stretch["after"], stretch["until"]
        if until == after and not stretch["matched"]:
            return
        floor = truth.floors.get(epoch)
        if floor is None or after + 1 < floor:
            self.unjudged += 1
            return
        where = f"epoch {epoch} behind {after} up to {until}"
        if until > truth.heads[epoch]:
            yield f"{where}: the journal ends at {truth.heads[epoch]}"
            return
        owed = truth.owed(epoch, tuple(stretch["topics"])).count(after + 1, until)
        if stretch["matched"] > owed or (stretch["matched"] < owed and not stretch["limited"]):
            yield f"{where}: {stretch['matched']} matched where the journal has {owed}"

    def _take_gateway(self, line: Fields, life: tuple[str, int], sums: Counter[str]) -> None:
        self._ended.add(life)
        for key in (*_SUMS, "sessions"):
            if line[key] != sums[key]:
                what = f"{key} {line[key]}, and {sums[key]} in the lines of its sessions"
                self.wrongs.append(Wrong(life[0], what))

    def _take_publisher(self, line: Fields) -> None:
        self.publishers += 1
        epoch, after, until = str(line["epoch"]), int(line["after"]), int(line["until"])
        who = f"publisher of epoch {epoch} behind {after}"
        counts = {name: int(line[name]) for name in ("accepted", "journaled", "published")}
        counts["seqs"] = until - after
        floor = self._truth.floors.get(epoch)
        if until > after:
            if floor is None or after + 1 < floor:
                self.unjudged += 1
            else:
                counts["in the journal"] = self._truth.owed(epoch, EVERYTHING).count(after + 1, until)
        if len(set(counts.values())) > 1:
            self.wrongs.append(Wrong(who, ", ".join(f"{count} {name}" for name, count in counts.items())))


def _differences(line: Fields, heard: Heard) -> Iterator[str]:
    """Say where what a client wrote of a session can't be true of the line that its gateway wrote."""
    stretches = line["stretches"]
    if stretches and (stretches[0]["epoch"], stretches[0]["after"]) != (heard.epoch, heard.start):
        first = stretches[0]
        yield (
            f"its client began in epoch {heard.epoch} behind {heard.start}, "
            f"it in epoch {first['epoch']} behind {first['after']}"
        )
    if heard.received > line["delivered"]:
        yield f"its client received {heard.received} where {line['delivered']} were delivered"
    dropped = sum(line["dropped"].values())
    if heard.told_slow > dropped:
        yield f"its client was told of {heard.told_slow} dropped where {dropped} were"
    if heard.last is not None and not line["unlisted"] and not line["snapshot"]:
        epoch, seq = heard.last
        if not any(stretch["epoch"] == epoch and seq <= stretch["until"] for stretch in stretches):
            yield f"its client received up to {seq} of epoch {epoch}, beyond its end"
