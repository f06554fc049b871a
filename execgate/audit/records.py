"""PURE: reads what a client wrote down of its stream, one JSON object a line (broken here), in order.

    {"client": "c7", "is": "client", "mode": "all", "topics": ["*"]}
    {"client": "c7", "is": "subscribed", "session": "gateway-411-7", "epoch": "3bf42c7c2daa81cc", "seq": 120,
     "recovered": true, "gap": null}
    {"client": "c7", "is": "received", "epoch": "3bf42c7c2daa81cc", "first": 121, "last": 190, "count": 70,
     "hash": 5}
    {"client": "c7", "is": "gap", "first": 191, "last": 195, "count": 5, "why": "slow"}
    {"client": "c7", "is": "passed", "epoch": "3bf42c7c2daa81cc", "seq": 200, "dropped": 5, "conflated": 0}
    {"client": "c7", "is": "closed", "code": 4108, "reason": "slow consumer: resume"}
    {"client": "c7", "is": "left", "epoch": "3bf42c7c2daa81cc", "seq": 200}

`recording` writes them. A `received` is a strictly ascending run of seqs, with the chain of its payloads; its
`seqs` are told where the mode is `conflate`, which leaves holes on purpose. `passed` is a heartbeat. With `left` a
client that is subscribed ends by its own will: what follows is not owed to it. The audit skips other lines.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import ujson

from execgate.wire.errors import ExecgateError


class RecordError(ExecgateError):
    """A line is no record; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Described:
    """Who it is, and what it wants; its first line."""

    client: str
    mode: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A session begins at `seq`; `told_until` is the end of what it was told as lost, None where nothing was.

    `session` is its name at its gateway, None where it was not written down.
    """

    client: str
    epoch: str
    seq: int
    recovered: bool
    told_until: int | None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """Updates in ascending order; `seqs` may be empty where only their ends and count were kept."""

    client: str
    epoch: str
    first: int
    last: int
    count: int
    hash: int
    seqs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """A `gap` event: `first` to `last` will not come; None is unknown, `last` then being the epoch's end."""

    client: str
    first: int
    last: int | None
    count: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Passed:
    """A heartbeat: the stream has passed `seq`, and the session has lost so many by its own slowness."""

    client: str
    epoch: str
    seq: int
    dropped: int
    conflated: int


@dataclass(frozen=True, slots=True)
class Left:
    """The client has ended, at `seq`, where it was subscribed."""

    client: str
    epoch: str
    seq: int


Record: TypeAlias = Described | Subscribed | Received | Told | Passed | Left


LEDGERS = frozenset({"session", "gateway", "publisher"})
"""What lines of a ledger are, see `execgate.audit.ledgers`."""


def read(lines: Iterable[str | bytes]) -> Iterator[Record | dict[str, Any]]:
    """Yield the records of a history file, and a ledger's lines as they are.

    Raises:
        RecordError: a line is no JSON object, or lacks what its kind needs.
    """
    for number, line in enumerate(lines, 1):
        try:
            record = _record(ujson.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordError(f"line {number}: {error!r}: expected a record of a client's history") from None
        if record is not None:
            yield record


def _record(fields: dict[str, Any]) -> Record | dict[str, Any] | None:
    def field(name: str, kind: Any) -> Any:
        value = fields[name]
        if type(value) is not kind:
            raise TypeError(f"{name} is {str(value)[:40]!r}, expected {kind.__name__}")
        return value

    kind = fields.get("is")
    if kind in LEDGERS:
        return fields
    if kind not in ("client", "subscribed", "received", "gap", "passed", "left"):
        return None
    client = field("client", str)
    if kind == "client":
        return Described(client, field("mode", str), tuple(field("topics", list)))
    if kind == "gap":
        last = None if fields["last"] is None else field("last", int)
        count = None if fields["count"] is None else field("count", int)
        return Told(client, field("first", int), last, count, field("why", str))
    epoch = field("epoch", str)
    if kind == "subscribed":
        gap = fields["gap"]
        told_until = None if gap is None else field("seq", int)
        session = None if fields.get("session") is None else field("session", str)
        return Subscribed(client, epoch, field("seq", int), field("recovered", bool), told_until, session)
    if kind == "left":
        return Left(client, epoch, field("seq", int))
    if kind == "passed":
        return Passed(client, epoch, field("seq", int), field("dropped", int), field("conflated", int))
    first, last, count = field("first", int), field("last", int), field("count", int)
    seqs = tuple(fields.get("seqs") or ())
    return Received(client, epoch, first, last, count, field("hash", int), seqs)
