"""The events of the WebSocket protocol: their names, and the JSON around their data.

An envelope is a prefix and a suffix around shared `data` bytes, chosen per session: an update is framed once
per envelope, whoever receives it. `PLAIN` is the protocol of `docs/protocol.md`; Socket.IO's will stand here.
"""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import ujson

from execgate.wire.frame_builder import Opcode, build, header

PROTOCOL_VERSION = 1
SUBPROTOCOL = "execgate.1"
"""A client that offers it gets nothing until it subscribes; one that does not is subscribed at connect."""

HELLO = "hello"
SUBSCRIBE = "subscribe-execs"
SUBSCRIBED = "subscribed"
RECEIVE = "receive-execs"
UNSUBSCRIBE = "unsubscribe-execs"
UNSUBSCRIBED = "unsubscribed"
FEED = "feed"
HEARTBEAT = "heartbeat"
GAP = "gap"
ORDER_REQUEST = "order-request"
ORDER_RESPONSE = "order-response"
DRAIN = "drain"
STAMPS_REQUEST = "stamps-request"
STAMPS = "stamps"
ERROR = "error"

ERROR_CODES = frozenset(
    {
        "bad-message",  # not JSON, not an object, no event, too deep
        "unknown-event",
        "bad-field",  # a field of a known event has a wrong type or value
        "not-allowed",  # the session's policy says no
        "mode-fixed",  # a repeated subscribe-execs may not change the mode
    }
)


class Envelope:
    """What stands around the shared `data` bytes of an update, for all sessions that chose it."""

    __slots__ = ("prefix", "suffix")

    def __init__(self, prefix: bytes, suffix: bytes) -> None:
        self.prefix = prefix
        self.suffix = suffix

    def frame(self, data: bytes) -> bytes:
        """Return the prepared frame: one WebSocket text message that serves every subscriber."""
        length = len(self.prefix) + len(data) + len(self.suffix)
        return b"".join((header(Opcode.TEXT, length), self.prefix, data, self.suffix))


PLAIN = Envelope(b'{"event":"receive-execs","data":', b"}")


def may_come_back(value: Any) -> bool:
    """Whether a client's value can be sent back as it came: text or a finite number.

    ujson reads `NaN`, `Infinity` and `1e999`, which are not JSON and which no answer may repeat.
    """
    return type(value) in (str, int) or (type(value) is float and isfinite(value))


def encode_event(event: str, data: Mapping[str, Any], message_id: Any = None) -> bytes:
    """Return an event as JSON in ASCII (lone surrogates are escaped, so any text is safe).

    Args:
        event: one of the names above.
        data: what the caller has checked; whatever came from a client passes `may_come_back` first.
        message_id: the client's `id`, which comes back on an answer; left out unless it `may_come_back`.

    Raises:
        OverflowError: a non-finite number in `data`: a bug of the caller.
    """
    message: dict[str, Any] = {"event": event, "data": data}
    if message_id is not None and may_come_back(message_id):
        message["id"] = message_id
    return ujson.dumps(message, escape_forward_slashes=False, allow_nan=False).encode()


def frame_event(event: str, data: Mapping[str, Any], message_id: Any = None) -> bytes:
    """Return the frame of an event, a text message; see `encode_event`."""
    return build(Opcode.TEXT, encode_event(event, data, message_id))


def subscribed(
    topics: Iterable[str],
    mode: str,
    epoch: str | None,
    seq: int,
    *,
    recovered: bool = False,
    gap: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the data of a `subscribed` event.

    Args:
        topics: as they were asked for.
        mode: of the subscription.
        epoch: as it stands in JSON, None before the feed is joined.
        seq: the position: live is greater.
        recovered: whether all behind the client's `since` comes.
        gap: what does not, see `missed`.
    """
    return {
        "topics": sorted(topics),
        "mode": mode,
        "epoch": epoch,
        "seq": seq,
        "recovered": recovered,
        "gap": gap,
    }


def missed(first: int, last: int | None, *, why: str) -> dict[str, Any]:
    """Return the `gap` of a `subscribed` event: what a client that resumes can't have, nobody knows how many.

    Args:
        first: of the range of seqs, inclusive, like `last`.
        last: see `first`; None where nobody knows.
        why: `evicted`, `unavailable`, `epoch` or `future`.
    """
    return {"from": first, "to": last, "why": why, "count": None}


def gap(first: int, last: int | None, count: int | None, *, why: str) -> dict[str, Any]:
    """Return the data of a `gap` event that concerns all topics of its session.

    Args:
        first: of the range of seqs, inclusive, like `last`.
        last: see `first`; None where nobody knows.
        count: how many of them the session would have been sent; None where nobody knows.
        why: `upstream` (the gateway never got them), `slow` (the session could not take them), or why a session
            that resumes can't have them: `evicted`, `unavailable`, `epoch`.
    """
    return {"topic": None, "from": first, "to": last, "count": count, "why": why, "then": "lost"}
