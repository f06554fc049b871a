"""The events of the WebSocket protocol: their names, and the JSON around their data.

An envelope is a prefix and a suffix around shared `data` bytes, chosen per session: an update is framed once
per envelope, whoever receives it. `PLAIN` is the protocol of `docs/protocol.md`; Socket.IO's will stand here.
"""

from collections.abc import Mapping
from typing import Any

import ujson

from execgate.wire.frame_builder import Opcode, header

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
ERROR = "error"

ERROR_CODES = frozenset(
    {
        "bad-message",  # not JSON, not an object, no event, too deep
        "unknown-event",
        "bad-field",  # a field of a known event has a wrong type or value
        "not-available",  # a part of the protocol that this gateway does not have
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


def encode_event(event: str, data: Mapping[str, Any], message_id: Any = None) -> bytes:
    """Return an event as UTF-8 JSON; `message_id` is the client's `id`, which comes back on an answer."""
    message: dict[str, Any] = {"event": event, "data": data}
    if message_id is not None:
        message["id"] = message_id
    return ujson.dumps(message, escape_forward_slashes=False).encode()
