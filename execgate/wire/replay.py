"""Replay and snapshot as they travel between a gateway's DEALER and the publisher's ROUTER (docs/protocol.md).

    gateway:   [request id, REPLAY | SNAPSHOT | CREDIT | CLOCK, json]
    publisher: [request id, ITEM, topic, header, key, payload]       an update, its frames those of the feed
               [request id, END | GONE | ERROR, json]                the last of an answer
               [request id, NOW, json]                               the answer to CLOCK

Pure. The request id is opaque, 1 to 16 bytes; every message of an answer carries that of its request, so that what
belongs to an earlier request is told from what belongs to this one.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from execgate.wire import update as wire
from execgate.wire.errors import ReplayError, UpdateError, shown
from execgate.wire.update import MAX_SEQ, Kind, Update, epoch_of, epoch_text

MAX_CREDIT = 512
"""Items that may be on their way to a gateway which it has not granted yet; a request begins with so many."""
MAX_REQUEST_ID_BYTES = 16
MAX_JSON_BYTES = 512
"""Of the last frame of any message but an ITEM."""
MAX_MESSAGE_CHARACTERS = 200
"""Of what an ERROR says."""

_ITEM = b"ITEM"


class Replay(NamedTuple):
    """Asks for updates `first` to `last` of `epoch`, inclusive, in order."""

    epoch: int
    first: int
    last: int


class Snapshot(NamedTuple):
    """Asks for the newest update of each key."""


class Credit(NamedTuple):
    """Grants that many further items to the request whose id it carries."""

    items: int


class Clock(NamedTuple):
    """Asks what the publisher's clock says; it is no request for history, and replaces none."""


class End(NamedTuple):
    """All was sent. `seq` is what was asked for, or the position that a snapshot's items stand for."""

    epoch: int
    seq: int


class Gone(NamedTuple):
    """What was asked for is not held (any more): `first` to `last` of `epoch` are, none where `first` > `last`."""

    epoch: int
    first: int
    last: int


class Failed(NamedTuple):
    """The request could not be served."""

    message: str


class Now(NamedTuple):
    """What the publisher's clock said when it answered: microseconds since 1970."""

    now_us: int


Request = Replay | Snapshot | Credit | Clock
Answer = Update | End | Gone | Failed | Now


def encode_request(request_id: bytes, request: Request) -> list[bytes]:
    """Return the frames of a request."""
    if isinstance(request, Replay):
        return _message(request_id, b"REPLAY", _range(request.epoch, "from", request.first, "to", request.last))
    if isinstance(request, Snapshot):
        return _message(request_id, b"SNAPSHOT", {})
    if isinstance(request, Clock):
        return _message(request_id, b"CLOCK", {})
    return _message(request_id, b"CREDIT", {"items": request.items})


def decode_request(frames: Sequence[bytes]) -> tuple[bytes, Request]:
    """Read what a gateway sent; return the request id and the request.

    Raises:
        ReplayError: it says what is wrong and what was expected.
    """
    if len(frames) != 3:
        raise ReplayError(f"{len(frames)} frames: expected [request id, verb, json]")
    request_id, verb, text = frames
    check_request_id(request_id)
    if verb == b"CREDIT":
        return request_id, Credit(_whole(_object(verb, text), "items", 1, MAX_CREDIT))
    if verb == b"REPLAY":
        fields = _object(verb, text)
        replay = Replay(_epoch(fields), _whole(fields, "from", 1, MAX_SEQ), _whole(fields, "to", 1, MAX_SEQ))
        if replay.first > replay.last:
            raise ReplayError(f"from {replay.first}, to {replay.last}: expected from at most to")
        return request_id, replay
    if verb == b"SNAPSHOT":
        _object(verb, text)
        return request_id, Snapshot()
    if verb == b"CLOCK":
        _object(verb, text)
        return request_id, Clock()
    raise ReplayError(f"verb {shown(verb)}: expected REPLAY, SNAPSHOT, CREDIT or CLOCK")


def encode_answer(request_id: bytes, answer: Answer) -> list[bytes]:
    """Return the frames of a part of an answer: an item, or its end."""
    if isinstance(answer, Update):
        return [request_id, _ITEM, *wire.encode(answer)]
    if isinstance(answer, End):
        return _message(request_id, b"END", {"epoch": epoch_text(answer.epoch), "seq": answer.seq})
    if isinstance(answer, Gone):
        return _message(request_id, b"GONE", _range(answer.epoch, "min", answer.first, "max", answer.last))
    if isinstance(answer, Now):
        return _message(request_id, b"NOW", {"now_us": answer.now_us})
    return _message(request_id, b"ERROR", {"message": answer.message[:MAX_MESSAGE_CHARACTERS]})


def decode_answer(frames: Sequence[bytes]) -> tuple[bytes, Answer]:
    """Read what the publisher sent; return the request id and the part of the answer.

    Raises:
        ReplayError: it says what is wrong and what was expected.
    """
    if len(frames) < 3:
        raise ReplayError(f"{len(frames)} frames: expected [request id, verb, ...]")
    request_id, verb = frames[:2]
    check_request_id(request_id)
    if verb == _ITEM:
        return request_id, _item(frames[2:])
    if len(frames) != 3:
        raise ReplayError(f"{len(frames)} frames: expected [request id, verb, json]")
    if verb == b"END":
        fields = _object(verb, frames[2])
        return request_id, End(_epoch(fields), _whole(fields, "seq", 0, MAX_SEQ))
    if verb == b"GONE":
        fields = _object(verb, frames[2])
        # An empty log holds 1 to 0, and one that has let go of all it had MAX_SEQ + 1 to MAX_SEQ.
        return request_id, Gone(
            _epoch(fields), _whole(fields, "min", 1, MAX_SEQ + 1), _whole(fields, "max", 0, MAX_SEQ)
        )
    if verb == b"ERROR":
        message = _object(verb, frames[2]).get("message")
        if type(message) is not str:
            raise ReplayError(f"message {shown(message)}: expected text")
        return request_id, Failed(message[:MAX_MESSAGE_CHARACTERS])
    if verb == b"NOW":
        return request_id, Now(_whole(_object(verb, frames[2]), "now_us", 0, MAX_SEQ))
    raise ReplayError(f"verb {shown(verb)}: expected ITEM, END, GONE, ERROR or NOW")


def check_request_id(request_id: bytes) -> None:
    """Raise ReplayError unless it is 1 to MAX_REQUEST_ID_BYTES long."""
    if not 1 <= len(request_id) <= MAX_REQUEST_ID_BYTES:
        raise ReplayError(f"request id of {len(request_id)} bytes: expected 1 to {MAX_REQUEST_ID_BYTES}")


def _message(request_id: bytes, verb: bytes, fields: dict[str, Any]) -> list[bytes]:
    return [request_id, verb, json.dumps(fields, separators=(",", ":")).encode()]


def _range(epoch: int, first_name: str, first: int, last_name: str, last: int) -> dict[str, Any]:
    return {"epoch": epoch_text(epoch), first_name: first, last_name: last}


def _item(frames: Sequence[bytes]) -> Update:
    try:
        update = wire.decode(frames)
    except UpdateError as error:
        raise ReplayError(f"item: {error}") from None
    if update.kind != Kind.DATA:
        raise ReplayError(f"item of type {update.kind}: expected {int(Kind.DATA)}")
    return update


def _object(verb: bytes, text: bytes) -> dict[str, Any]:
    if len(text) > MAX_JSON_BYTES:
        raise ReplayError(f"{verb.decode()} with {len(text)} bytes of JSON: expected at most {MAX_JSON_BYTES}")
    try:
        fields = json.loads(text)
    except ValueError:  # also what is no UTF-8
        raise ReplayError(f"{verb.decode()} {shown(text)}: expected a JSON object") from None
    if type(fields) is not dict:
        raise ReplayError(f"{verb.decode()} {shown(fields)}: expected a JSON object")
    return fields


def _whole(fields: dict[str, Any], name: str, low: int, high: int) -> int:
    value = fields.get(name)
    if type(value) is not int or not low <= value <= high:
        raise ReplayError(f"{name} {shown(value)}: expected a whole number from {low} to {high}")
    return value


def _epoch(fields: dict[str, Any]) -> int:
    text = fields.get("epoch")
    epoch = epoch_of(text)
    if epoch is None:
        raise ReplayError(f"epoch {shown(text)}: expected 16 lower-case hex digits")
    return epoch
