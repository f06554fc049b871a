"""The bounds of a session, as they are enforced and as `hello` tells them."""

from dataclasses import dataclass

from gateway.core.session import Mode


@dataclass(frozen=True, slots=True)
class Limits:
    """One object a process.

    Attributes:
        message_bytes, depth, fragments: of an inbound message.
        message_timeout_s: a message that has begun must be whole within it.
        heartbeat_s: between two heartbeats of a session.
        ping_s: between two pings of a connection.
        idle_s: silence after which a connection is closed.
        default_mode: where a subscription names none.
        explicit_subscribe: whether even a client without the subprotocol must ask before it gets updates.
        deflate: whether messages may be compressed, for clients that offer it.
    """

    message_bytes: int
    depth: int
    fragments: int
    message_timeout_s: float
    heartbeat_s: float
    ping_s: float
    idle_s: float
    default_mode: Mode
    explicit_subscribe: bool
    deflate: bool = False
