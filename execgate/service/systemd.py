"""Telling systemd how we are (sd_notify(3)): one datagram to the socket that it names, if it names one."""

import os
import socket

_TIMEOUT_S = 1.0
"""A watcher that does not read its full socket may hold us up for so long, and no longer."""


def notify(message: str) -> bool:
    """Send `message`, such as "READY=1"; return whether there was anybody to tell.

    A socket that is gone is not an error: a daemon does not die because its watcher did.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(_TIMEOUT_S)
        try:
            channel.sendto(message.encode(), address)
        except OSError:
            return False
    return True
