"""The gateway's ZeroMQ sockets: what holds for each that connects to the publisher."""

import zmq

from execgate.service.curve import ClientCurve

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""Over it ZeroMQ closes the connection."""


def make(
    context: "zmq.Context[zmq.Socket[bytes]]", kind: int, receive_hwm: int, curve: ClientCurve | None
) -> "zmq.Socket[bytes]":
    """Return a socket that comes back after a cut, finds one that sends no FIN, and is not connected yet.

    Args:
        context: its ZeroMQ context, which stays the caller's.
        kind: SUB or DEALER.
        receive_hwm: messages kept for us while we are busy.
        curve: the keys to speak CURVE with; None is plain.
    """
    made = context.socket(kind)
    made.setsockopt(zmq.RCVHWM, receive_hwm)
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    made.setsockopt(zmq.RECONNECT_IVL, 50)
    made.setsockopt(zmq.RECONNECT_IVL_MAX, 1_000)
    made.setsockopt(zmq.IPV6, 1)
    # ZeroMQ's own pings find a dead connection, which is made anew then.
    made.setsockopt(zmq.HEARTBEAT_IVL, 1_000)
    made.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3_000)
    if curve is not None:
        curve.secure(made)
    return made
