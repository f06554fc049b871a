"""Talking to systemd where it started us, sd_notify(3) and sd_listen_fds(3) in a few lines; silence where not.

A notification is one datagram to the socket that systemd names. `Pulse` sends the regular ones from the event loop
itself, so that a loop that hangs falls silent and is restarted.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping

from execgate.wire.errors import UsageError

_TIMEOUT_S = 1.0
"""A watcher that does not read its full socket may hold us up for so long, and no longer."""
STATUS_S = 5.0
"""Between two status lines at most; a watchdog that asks for more makes it less."""
EXTEND_S = 30
"""What a start or an end that takes long asks for with each pulse, in seconds from then."""
OURS = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"})
"""What systemd tells this process alone: not to be passed on to a child."""

LISTENER = "listen"
"""What a socket unit calls the one socket that it passes (`FileDescriptorName=`)."""
_FIRST_PASSED = 3


def notify(message: str, wait_s: float = _TIMEOUT_S) -> bool:
    """Send `message`, such as "READY=1"; return whether there was anybody to tell.

    A socket that is gone is not an error: a daemon does not die because its watcher did.

    Args:
        message: lines of NAME=VALUE.
        wait_s: how long to wait for room in the watcher's socket.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(wait_s)
        try:
            channel.sendto(message.encode(), address)
        except OSError:
            return False
    return True


def watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Return within what time systemd expects a sign of life of this process; None if it expects none."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # it was for whoever started us
    try:
        return int(environment["WATCHDOG_USEC"]) / 1e6 or None
    except (KeyError, ValueError):
        return None


def passed_listener(environment: Mapping[str, str]) -> socket.socket | None:
    """Return the listening TCP socket that systemd holds for this process; None if it holds none.

    Raises:
        UsageError: what it passes is not one such socket of the name `LISTENER`.
    """
    passed = environment.get("LISTEN_FDS", "0")
    if environment.get("LISTEN_PID") != str(os.getpid()) or passed == "0":
        return None  # it was for whoever started us
    names = environment.get("LISTEN_FDNAMES", "")
    if (passed, names) != ("1", LISTENER):
        raise UsageError(
            f"LISTEN_FDS={passed} LISTEN_FDNAMES={names!r}: expected one socket, "
            f"with FileDescriptorName={LISTENER}"
        )
    try:
        listener = socket.socket(fileno=_FIRST_PASSED)
        if listener.family not in (socket.AF_INET, socket.AF_INET6) or not listener.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        ):
            raise UsageError(f"the socket that systemd passes is {listener}; expected one that listens for TCP")
        listener.set_inheritable(False)
    except OSError as error:
        raise UsageError(f"the socket that systemd passes can't be used: {error.strerror}") from None
    return listener


class Pulse:
    """Tells systemd, from the running loop, that it turns (`WATCHDOG=1`) and how we are (`STATUS=`).

    Args:
        status: returns how we are, one line of `key=value` words.
        is_serving: whether we have begun to serve and not begun to end; where not, each pulse asks for more time
            (`EXTEND_TIMEOUT_USEC`): a start that waits for the feed, or a long drain, is no failure while the loop
            turns.
    """

    def __init__(self, status: Callable[[], str], is_serving: Callable[[], bool]) -> None:
        self._status = status
        self._is_serving = is_serving
        watchdog = watchdog_s(os.environ)
        self._interval_s = STATUS_S if watchdog is None else min(STATUS_S, watchdog / 2)
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to tell, if there is anybody to tell."""
        if os.environ.get("NOTIFY_SOCKET"):
            self._beat()

    def stop(self) -> None:
        """Tell no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _beat(self) -> None:
        words = ["WATCHDOG=1", f"STATUS={' '.join(self._status().split())}"]
        if not self._is_serving():
            words.append(f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1_000_000}")
        notify("\n".join(words), wait_s=0)  # a full socket is not worth a wait of the loop's
        self._handle = asyncio.get_running_loop().call_later(self._interval_s, self._beat)
