"""Binding the publisher's ZeroMQ sockets, with one clear line where that fails; the feed and ingest call it."""

import fcntl
import os
import socket
import sys
import termios
from pathlib import Path

import zmq

from execgate.service.curve import ServerCurve
from execgate.service.endpoints import bind_error, parse_tcp_address, resolve
from execgate.wire.errors import UsageError

HANDSHAKE_MS = 5_000
"""A peer that connects and stays mute holds a descriptor so long (ZeroMQ's own default: 30 s)."""

GATEWAYS = "gateways"
PRODUCERS = "producers"
"""Who may connect over CURVE, by socket: the domains of `execgate.service.zap`."""


def harden(zmq_socket: "zmq.Socket[bytes]", max_message_bytes: int) -> None:
    """Set what any peer may be: no longer mute, no greater message, no dead connection."""
    zmq_socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
    zmq_socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    zmq_socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    zmq_socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)
    zmq_socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 10)
    zmq_socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)


def bind(zmq_socket: "zmq.Socket[bytes]", flag: str, endpoint: str, curve: ServerCurve | None, domain: str) -> str:
    """Bind and return the endpoint that was really bound (port 0 picks a free one).

    Args:
        zmq_socket: not bound yet.
        flag: names the endpoint in an error.
        endpoint: where.
        curve: the keys to speak CURVE with; None is plain.
        domain: GATEWAYS or PRODUCERS.

    Raises:
        UsageError: names the flag and the endpoint, and says why.
    """
    scheme, _, rest = endpoint.partition("://")
    if scheme == "ipc":
        _check_path(flag, endpoint, rest)
    elif not rest.startswith("*:"):
        family, (host, port) = resolve(flag, parse_tcp_address(rest))  # libzmq binds no names
        if family == socket.AF_INET6:
            zmq_socket.setsockopt(zmq.IPV6, 1)
            host = f"[{host}]"
        endpoint = f"tcp://{host}:{port}"
    if curve is not None:
        curve.secure(zmq_socket, domain)
    try:
        zmq_socket.bind(endpoint)
    except zmq.ZMQError as error:
        # Its own text repeats the endpoint, twice.
        raise bind_error(flag, endpoint, OSError(error.errno, zmq.strerror(error.errno or 0))) from None
    return zmq_socket.getsockopt_string(zmq.LAST_ENDPOINT)


def descriptor(zmq_socket: "zmq.Socket[bytes]") -> int:
    """Return the descriptor that tells, once, that a socket's events have changed."""
    return int(zmq_socket.getsockopt(zmq.FD))


def is_readable(zmq_socket: "zmq.Socket[bytes]") -> bool:
    """Whether a message waits."""
    return bool(int(zmq_socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)


def connection_of(frame: zmq.Frame) -> tuple[int, int] | None:
    """Return descriptor and inode of the connection that a frame came over, None where it is gone.

    A message may be read after its connection has ended, and then another may have its descriptor: what is done to
    that one by mistake must be harmless.
    """
    try:
        descriptor = int(frame.get(zmq.SRCFD))
        return descriptor, os.fstat(descriptor).st_ino
    except (zmq.ZMQError, OSError):
        return None  # libzmq tells of a subscription that ended with its connection, too


def unread_bytes(connection: tuple[int, int]) -> int:
    """Return how much was written to a connection and not taken by its peer's machine; 0 where it is gone.

    What the kernel says, not the peer. Of a path (`ipc://`) it is what the peer has not read.
    """
    descriptor, inode = connection
    try:
        if os.fstat(descriptor).st_ino != inode:
            return 0
        return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4), sys.byteorder)
    except OSError:
        return 0


def cut(descriptor: int) -> None:
    """End a connection: ZeroMQ finds it closed by its peer, and lets go of all that belongs to it."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is gone already
        pass


def _check_path(flag: str, endpoint: str, path: str) -> None:
    """Refuse a path that is somebody's: libzmq removes whatever is there, a listener's socket or any file."""
    if not path.startswith("@") and Path(path).exists() and not Path(path).is_socket():
        raise UsageError(f"{flag} {endpoint}: is no socket; remove the file or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect("\0" + path[1:] if path.startswith("@") else path)
        except OSError:
            return
    raise UsageError(f"{flag} {endpoint}: already in use; stop what listens there or choose another path")
