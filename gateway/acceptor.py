"""The accept loop: bounded, and calm when descriptors run out.

Tornado's own listener took 75 % of a core and wrote 12 MB of log in 3.5 s once descriptors were spent. This one
accepts at most `ACCEPTS_PER_TURN` a loop turn, stops while too many handshakes are under way (the kernel's backlog
waits for us), and when the process has no descriptor left refuses one connection a pause by a descriptor that it
keeps in reserve for that.
"""

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import Callable

from execgate.service.endpoints import TcpAddress, bind_error, resolve
from execgate.service.logs import Throttle
from execgate.wire.errors import UsageError
from gateway.admission import Admission
from gateway.counters import Counters

log = logging.getLogger("gateway.acceptor")

ACCEPTS_PER_TURN = 8
_PAUSE_S = 0.1
_MOST = 2**31 - 1  # of a socket option
_TCP_INFO_BYTES = 28
_TCPI_UNACKED = 24
_SPENT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def listen(
    flag: str,
    address: TcpAddress,
    *,
    share_port: bool,
    backlog: int = 4096,
    user_timeout_s: float = 0,
    send_buffer_bytes: int = 0,
    passed: socket.socket | None = None,
) -> socket.socket:
    """Return a listening socket. What is set here, accepted sockets inherit.

    Args:
        flag: names the address in an error.
        address: where; port 0 asks for a free one.
        share_port: SO_REUSEPORT; without it a port that another process listens on is an error.
        backlog: connections the kernel keeps for us.
        user_timeout_s: TCP_USER_TIMEOUT, after which a peer that takes nothing is given up; 0 leaves it.
        send_buffer_bytes: SO_SNDBUF; 0 leaves it to the kernel.
        passed: one that listens there already, to be used instead of a new one.

    Raises:
        UsageError: the address can't be had, or the one that was passed has another.
    """
    family, sockaddr = resolve(flag, address)
    listener = passed or socket.socket(family, socket.SOCK_STREAM)
    if passed is not None and bound_address(passed) != TcpAddress(sockaddr[0], sockaddr[1]):
        raise UsageError(f"{flag} {address}: systemd listens at {bound_address(passed)}; make them the same")
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        user_timeout_ms = min(round(user_timeout_s * 1000), _MOST)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
        if send_buffer_bytes:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, min(send_buffer_bytes, _MOST))
        if passed is None:
            listener.bind(sockaddr)
            listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise bind_error(flag, address, error) from None
    listener.setblocking(False)
    return listener


def waiting(listener: socket.socket) -> int:
    """Return how many connections wait in the kernel for somebody to accept them.

    The kernel tells it in `tcpi_unacked` of a socket that listens (tcp_get_info in Linux' net/ipv4/tcp.c).
    """
    information = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    return int.from_bytes(information[_TCPI_UNACKED : _TCPI_UNACKED + 4], sys.byteorder)


def bound_address(listener: socket.socket) -> TcpAddress:
    """Return what `listener` really bound."""
    host, port = listener.getsockname()[:2]
    return TcpAddress(host, port)


class Acceptor:
    """Accepts connections of one listener and hands them over.

    Args:
        listener: non-blocking; closed by `close`.
        hand_over: gets an accepted, non-blocking socket and its address; it calls `exchange_over` when the
            handshake, or whatever it was, has ended.
        max_exchanges: handshakes and requests under way at most.
        admission: of each peer, before anything is read.
        counters: `refused` of this process.

    Attributes:
        give_way: called before each connection: whoever is served already goes first.
        is_kept: whether systemd holds the listener too: who waits there when we go waits for the next gateway.
    """

    def __init__(
        self,
        listener: socket.socket,
        hand_over: Callable[[socket.socket, tuple[str, int]], None],
        max_exchanges: int,
        admission: Admission,
        counters: Counters,
    ) -> None:
        self._listener = listener
        self._hand_over = hand_over
        self._max_exchanges = max_exchanges
        self._admission = admission
        self._counters = counters
        self.give_way: Callable[[], None] = lambda: None
        self.is_kept = False
        self._exchanges = 0
        self._listening = False
        self._closed = False
        self._pause: asyncio.TimerHandle | None = None
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._spent = Throttle(log)

    @property
    def exchanges(self) -> int:
        """Handshakes and requests under way, and connections that are kept for more of them."""
        return self._exchanges

    @property
    def waiting(self) -> int:
        """Connections in the kernel's queue that nobody will accept but us; 0 once it is closed."""
        return 0 if self._closed or self.is_kept else waiting(self._listener)

    def start(self) -> None:
        """Begin to accept on the running loop."""
        self._listen_again()

    def close(self) -> None:
        """Accept no more, close the listener, and count who is reset by that."""
        if self._closed:
            return
        self._counters.refused["unaccepted"] += self.waiting
        self._closed = True
        self._stop_listening()
        if self._pause is not None:
            self._pause.cancel()
        self._listener.close()
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1

    def limit(self, max_exchanges: int) -> None:
        """Have another bound from now on."""
        self._max_exchanges = max_exchanges

    def exchange_over(self) -> None:
        """A handshake or request that was handed over has ended."""
        self._exchanges -= 1
        if not self._listening and self._pause is None and not self._closed:
            self._listen_again()

    def _on_readable(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._exchanges >= self._max_exchanges:
                self._stop_listening()  # until one is over
                return
            self.give_way()
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SPENT:
                    self._refuse_one(error)
                    return
                continue  # the peer has gone before we came: ordinary
            self._take(sock, address)

    def _take(self, sock: socket.socket, address: tuple[str, int]) -> None:
        if not self._admission.admits(address[0]):
            self._counters.refused["rate"] += 1
            sock.close()
            return
        sock.setblocking(False)
        self._exchanges += 1
        self._hand_over(sock, address)

    def _refuse_one(self, error: OSError) -> None:
        """No descriptor is left: use the reserve to turn one peer away, then leave the rest in the backlog."""
        self._spent.warning("cannot accept: %s; refusing, then pausing %s s", error.strerror, _PAUSE_S)
        self._stop_listening()
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1
            try:
                self._listener.accept()[0].close()
                self._counters.refused["descriptors"] += 1
            except OSError:
                pass  # another thread of the process took it, or the peer has gone
        self._pause = asyncio.get_running_loop().call_later(_PAUSE_S, self._after_pause)

    def _after_pause(self) -> None:
        self._pause = None
        if self._reserve < 0:
            try:
                self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self._pause = asyncio.get_running_loop().call_later(_PAUSE_S, self._after_pause)
                return
        self._listen_again()

    def _listen_again(self) -> None:
        self._listening = True
        asyncio.get_running_loop().add_reader(self._listener, self._on_readable)

    def _stop_listening(self) -> None:
        if self._listening:
            self._listening = False
            asyncio.get_running_loop().remove_reader(self._listener)
