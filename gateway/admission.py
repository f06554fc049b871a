"""Admission: whether a client may make one more connection, whoever connects for it."""

import asyncio
import socket
import time
from collections.abc import Sequence

from execgate.service.endpoints import is_loopback_host
from gateway.core import proxies
from gateway.core.rate import AddressLimiter


class Admission:
    """Counts connections by the client's address. The loopback is not limited, nor is a trusted proxy itself.

    Args:
        limiter: new connections an address; None for no limit.
        trusted: networks of proxies whose word about a client's address is taken.
        reads_header: whether a connection of theirs begins with a PROXY protocol header.
    """

    def __init__(
        self,
        limiter: AddressLimiter | None = None,
        trusted: Sequence[proxies.Network] = (),
        *,
        reads_header: bool = False,
    ) -> None:
        self._limiter = limiter
        self._trusted = trusted
        self._reads_header = reads_header

    def admits(self, host: str) -> bool:
        """Count one attempt from `host`; False when it is over its rate."""
        if self._limiter is None or is_loopback_host(host) or self._is_trusted(host):
            return True
        return self._limiter.allows(host, time.monotonic_ns())

    def limit(self, limiter: AddressLimiter | None) -> None:
        """Count by another limiter from now on."""
        self._limiter = limiter

    def awaits_header(self, host: str) -> bool:
        """Whether `host` is a proxy that begins with a PROXY protocol header."""
        return self._reads_header and self._is_trusted(host)

    def client_of(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the address of the client that `peer` connects for, by `X-Forwarded-For` if `peer` is trusted."""
        return proxies.client_of(peer, forwarded, self._trusted) if self._trusted and forwarded else peer

    def _is_trusted(self, host: str) -> bool:
        return bool(self._trusted) and proxies.is_in(host, self._trusted)


async def read_proxy_header(sock: socket.socket, timeout_s: float) -> tuple[str, int] | None:
    """Read the header that `sock` begins with, and not a byte more; return the client's host and port.

    Returns:
        None where the proxy speaks for itself (a health check), or names no address.

    Raises:
        ProxyHeaderError: it is none that we take.
        OSError: the peer has gone, or not sent all of it within `timeout_s` (TimeoutError).
    """
    async with asyncio.timeout(timeout_s):
        head = await _read_exactly(sock, proxies.HEAD_BYTES)
        return proxies.parse_body(head, await _read_exactly(sock, proxies.body_length(head)))


async def _read_exactly(sock: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        piece = await loop.sock_recv(sock, count - len(data))
        if not piece:
            raise ConnectionResetError("it ended within its PROXY header")
        data += piece
    return data
