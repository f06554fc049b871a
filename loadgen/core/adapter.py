"""PURE: what a message of a server that is not ours says: its sequence and timestamp, by a JSON path or a regex.

The settings make an `Adapter` of what was asked for; `foreign.py` asks it about every message. Our own protocol is
read by `subscriber.py` and never comes here.

A WebSocket message may hold several updates: Centrifugo sends replies that are ready together as lines of one
message, and a regex finds as many as it matches.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ujson

UNITS_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""Unit of a timestamp -> microseconds."""
BAD_SEQ, BAD_TS, NO_TS = "sequence is no whole number", "timestamp is no number", "update without a timestamp"
_MAX_DIGITS = 20
"""Of a sequence that is text: a u64 has 20."""
_JSON_START = re.compile(r"[\[{]")


class Reading(NamedTuple):
    """What one update says.

    Attributes:
        seq: None where no sequence was asked for.
        ts_us: microseconds since 1970; None where there is none.
        problem: why it is no update, or has no latency; "" for a good one.
    """

    seq: int | None
    ts_us: int | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class JsonPath:
    """Names of members, and places in arrays, from the outside in: `push.pub.offset`, `1.seq`."""

    text: str
    steps: tuple[tuple[str, int | None], ...]

    def __str__(self) -> str:
        return self.text

    def documents(self, text: str) -> Sequence[Any]:
        """Return the JSON of a message, or of each of its lines.

        What stands before the first bracket is skipped: Socket.IO writes the type of a message there.
        """
        start = _JSON_START.search(text)
        if start is None:
            return ()
        try:
            return (ujson.loads(text[start.start() :]),)
        except ValueError:
            lines = text.splitlines()
        return [document for line in lines for document in self.documents(line)] if len(lines) > 1 else ()

    def find(self, document: Any) -> Sequence[Any]:
        """Return what stands at the path, nothing where it leads nowhere."""
        for name, index in self.steps:
            if type(document) is dict and name in document:
                document = document[name]
            elif type(document) is list and index is not None and index < len(document):
                document = document[index]
            else:
                return ()
        return (document,)


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression with one group."""

    text: str
    pattern: re.Pattern[str]

    def __str__(self) -> str:
        return self.text

    def documents(self, text: str) -> Sequence[Any]:
        """Return the message."""
        return (text,)

    def find(self, document: Any) -> Sequence[Any]:
        """Return what the group holds in each match."""
        return self.pattern.findall(document)


def parse_path(text: str) -> JsonPath:
    """Read a path.

    Raises:
        ValueError: says what was expected.
    """
    steps = text.split(".")
    if not all(steps) or any(character.isspace() for character in text):
        raise ValueError("expected names and array places with dots between, such as data.seq or 1.seq")
    return JsonPath(
        text, tuple((step, int(step) if step.isdecimal() and len(step) < 10 else None) for step in steps)
    )


def parse_regex(text: str) -> Regex:
    """Read a regular expression.

    Raises:
        ValueError: says what was expected.
    """
    expected = r"""expected a regular expression with one group, such as '"seq":(\d+)'"""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"{error}; {expected}") from None
    if pattern.groups != 1:
        raise ValueError(f"it has {pattern.groups} groups; {expected}")
    return Regex(text, pattern)


@dataclass(frozen=True, slots=True)
class Reply:
    """What to say as often as a message comes that is exactly `ping`."""

    ping: str
    pong: str

    def __str__(self) -> str:
        return f"{self.ping}={self.pong}"


def parse_reply(text: str) -> Reply:
    """Read PING=PONG.

    Raises:
        ValueError: says what was expected.
    """
    ping, is_there, pong = text.partition("=")
    if not is_there or not ping:
        raise ValueError("expected PING=PONG, such as 2=3: what the server says, and what to answer")
    return Reply(ping, pong)


@dataclass(frozen=True, slots=True)
class Adapter:
    """How to talk with a server that is not ours.

    Attributes:
        seq, ts: where an update's sequence and timestamp are found, in the same way; at least one.
        unit_us: microseconds that a timestamp counts.
        on_open: messages to send once a connection is open.
        replies: what to answer to messages that want an answer, as they stand.
        subprotocol: to offer; None for none.
    """

    seq: JsonPath | Regex | None
    ts: JsonPath | Regex | None
    unit_us: float = UNITS_US["ms"]
    on_open: tuple[bytes, ...] = ()
    replies: Mapping[str, bytes] = field(default_factory=dict)
    subprotocol: str | None = None

    def read(self, text: str) -> list[Reading]:
        """Return the updates in a message, none in one that has what was asked for nowhere.

        An update is what has a sequence; where none was asked for, what has a timestamp.
        """
        finder = self.seq or self.ts
        if finder is None:
            return []
        readings = []
        for document in finder.documents(text):
            seqs = None if self.seq is None else self.seq.find(document)
            times = () if self.ts is None else self.ts.find(document)
            for index in range(len(times if seqs is None else seqs)):
                at = times[index] if index < len(times) else None
                readings.append(self._reading(None if seqs is None else seqs[index], at))
        return readings

    def _reading(self, seq: Any, at: Any) -> Reading:
        number = None
        if self.seq is not None:
            number = _whole_number(seq)
            if number is None:
                return Reading(None, None, BAD_SEQ)
        if self.ts is None:
            return Reading(number, None)
        if at is None:
            return Reading(number, None, NO_TS)
        ts_us = self._microseconds(at)
        return Reading(number, ts_us, BAD_TS if ts_us is None else "")

    def _microseconds(self, value: Any) -> int | None:
        if type(value) not in (int, float, str):
            return None
        try:
            return round(float(value) * self.unit_us)
        except (ValueError, OverflowError):  # no number, or not a finite one
            return None


def _whole_number(value: Any) -> int | None:
    if type(value) is str and value.isascii() and value.isdecimal() and len(value) <= _MAX_DIGITS:
        return int(value)
    return int(value) if type(value) is int and value >= 0 else None
