"""Addresses: what may be bound or met, and by whom.

Everything is on the loopback unless a flag says otherwise.
"""

import errno
import ipaddress
import re
import socket
from dataclasses import dataclass

from execgate.wire.errors import UsageError

_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port; port 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback_host(self.host)


def parse_tcp_address(text: str) -> TcpAddress:
    """Read `HOST:PORT`; an IPv6 host stands in brackets.

    Raises:
        ValueError: says what was expected.
    """
    host, colon, port_text = text.rpartition(":")
    expected = "expected HOST:PORT such as 127.0.0.1:8124, with a port from 0 to 65535"
    if not colon or not host or not _PORT.fullmatch(port_text) or int(port_text) > 65535:
        raise ValueError(expected)
    if any(c in host for c in "[]:"):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1] if host[0] == "[" and host[-1] == "]" else ""))
        except ValueError:
            raise ValueError("expected an IPv6 host in brackets, such as [::1]:8124") from None
    return TcpAddress(host, int(port_text))


def is_loopback_host(host: str) -> bool:
    """Whether `host` is `localhost` or an address of the loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_zmq_endpoint(text: str) -> str:
    """Check a ZeroMQ endpoint, `tcp://HOST:PORT` or `ipc://PATH`, and return it.

    Raises:
        ValueError: says what was expected.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "ipc" and rest:
        return text
    if separator and scheme == "tcp":
        if rest.startswith("*:"):  # ZeroMQ's own word for every address
            parse_tcp_address("0.0.0.0" + rest[1:])
        else:
            parse_tcp_address(rest)
        return text
    raise ValueError("expected tcp://HOST:PORT or ipc://PATH")


def replay_endpoint(feed: str) -> str:
    """Return the default place to ask for history: the port after the feed's, or its path + `.replay`.

    Port 0 stays 0: any free one.

    Raises:
        UsageError: there is no port after the feed's.
    """
    scheme, _, rest = feed.partition("://")
    if scheme == "ipc":
        return f"{feed}.replay"
    host, _, port = rest.rpartition(":")
    if int(port) == 65535:
        raise UsageError(f"--replay: no port after that of {feed}; say --replay ENDPOINT")
    return f"tcp://{host}:{int(port) and int(port) + 1}"


def require_loopback(flag: str, endpoint: str, *, insecure: bool, has_curve: bool) -> None:
    """Refuse a ZeroMQ endpoint that others can reach: an open one is an unauthenticated denial of service.

    Args:
        flag: names the endpoint in an error.
        endpoint: what is bound, or connected to.
        insecure: whether the operator wants it so.
        has_curve: whether only peers with known keys get in.

    Raises:
        UsageError: names the flag, the endpoint, and what would allow it.
    """
    scheme, _, rest = endpoint.partition("://")
    if insecure or has_curve or scheme == "ipc" or is_loopback_host(rest.rpartition(":")[0].strip("[]")):
        return
    raise UsageError(
        f"{flag} {endpoint}: not on the loopback, and without CURVE anybody may connect; say --curve-key and its "
        "companions (docs/security.md), use tcp://127.0.0.1:PORT or ipc://PATH, or say --insecure-feed on a "
        "network you trust"
    )


def require_private(flag: str, address: TcpAddress | None, *, insecure: bool) -> None:
    """Refuse an address of plain figures that others can reach, unless the operator wants it so.

    Raises:
        UsageError: names the flag, the address, and what would allow it.
    """
    if address is not None and not address.is_loopback and not insecure:
        raise UsageError(
            f"{flag} {address}: not on the loopback, and always plain text; put a proxy before 127.0.0.1, or say "
            f"{flag.replace('--', '--insecure-', 1)} on a network you trust"
        )


def bind_error(flag: str, address: object, error: OSError) -> UsageError:
    """Return the one line for an address that can't be bound."""
    if error.errno == errno.EADDRINUSE:
        return UsageError(f"{flag} {address}: already in use; stop what listens there or choose another port")
    if error.errno == errno.EACCES:
        return UsageError(f"{flag} {address}: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE")
    return UsageError(f"{flag} {address}: {error.strerror or error}")


def resolve(flag: str, address: TcpAddress) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Return the family and the numeric socket address of `address`.

    Raises:
        UsageError: the host has no address.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"{flag} {address}: {error.strerror or error}") from None
    except ValueError:  # a name that can't be written in IDNA, such as `a..b`
        raise UsageError(f"{flag} {address}: expected the name or the address of a host") from None
    family, _, _, _, sockaddr = found[0]
    return family, (str(sockaddr[0]), int(sockaddr[1]))
