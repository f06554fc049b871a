"""Reads the sockets of all clients, each read with the time at which the kernel had it.

Made by `raw_client.py`. A client that is late to read does not make the server any slower: what counts is when the
last packet of a read came (SO_TIMESTAMPNS, socket(7)), and that does not depend on who reads it when. Only where
several packets wait in one socket the kernel keeps no time but the last one's. For those updates it is known that
they came no earlier than when this thread last saw that nothing was there: `Receiver.earliest_ns`.
"""

import asyncio
import select
import socket
import struct
import time
from typing import Protocol

from loadgen.watching import CpuWait

READ_BYTES = 64 * 1024
STAMP_SPACE = socket.CMSG_SPACE(16)
"""Of a read's ancillary data."""
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python does not name it
_STAMP = struct.Struct("@qq")  # struct timespec
_MOST_A_TURN = 256
"""Sockets that are read before the event loop has its turn: some 3 ms."""
_LOOK_EVERY_NS = 5_000_000
_UNCOUNTED_PART, _UNCOUNTED_NS = 8, 100_000
"""Of a thread's time: interrupts, and what a hypervisor took, are in neither of the kernel's counts. Up to 0.07 ms
were missing of 1 to 100 ms here; a kernel that counts interrupts apart leaves out its work for the network."""


class Watched(Protocol):
    """Whose socket it is."""

    def read_ready(self) -> None:
        """Read once: there is something, or the connection has ended."""

    def write_ready(self) -> None:
        """Write: there is room."""


def ask_for_stamps(sock: socket.socket) -> None:
    """Have the kernel say when it received what is read from `sock`."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def received_ns(ancillary: list[tuple[int, int, bytes]], wall_ns: int, now_ns: int) -> int:
    """Return the monotonic time at which the kernel had the last packet of a read; 0 where it does not say.

    Args:
        ancillary: of the read.
        wall_ns: the wall clock, read first: who is held up between the two errs on the side of a later time.
        now_ns: the monotonic clock.
    """
    if not ancillary:
        return 0
    seconds, ns = _STAMP.unpack(ancillary[0][2])  # it is all that was asked for
    # The stamp is the wall clock's: its age is the same by either clock.
    age_ns: int = wall_ns - seconds * 1_000_000_000 - ns
    return now_ns - age_ns if age_ns > 0 else now_ns


class Receiver:
    """One epoll for all sockets of a connector, itself a file that the event loop watches."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._watched: dict[int, Watched] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._attention: _Attention | None = None
        # Of the last poll that was whole: it named all sockets that were ready, and each was read to its end.
        self._seen_ns = 0
        self._is_whole = False  # whether the poll under way is
        self._earliest_ns = 0  # of the poll under way; 0 while nobody asked

    def watch(self, descriptor: int, watched: Watched, events: int) -> None:
        """Call `watched` for these events of the socket (`select.EPOLLIN`, `EPOLLOUT`) from now on; 0 for none.

        Who pauses reads what came meanwhile as if it had just come.
        """
        if not events:
            self._forget(descriptor)
            return
        if self._epoll is None:
            self._epoll, self._attention = select.epoll(), _Attention()
            self._seen_ns = time.monotonic_ns()
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._epoll.fileno(), self._serve_ready)
        if descriptor in self._watched:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._watched[descriptor] = watched

    def _forget(self, descriptor: int) -> None:
        if self._watched.pop(descriptor, None) is None or self._epoll is None:
            return
        self._epoll.unregister(descriptor)
        if self._watched or self._loop is None or self._attention is None:
            return
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._attention.close()
        self._epoll = self._attention = None

    def earliest_ns(self) -> int:
        """Return the monotonic time before which nothing came of what is read now.

        It is when a poll last named all that was ready, or later: while this thread slept in the event loop
        nothing was there, or it had been woken; so all came within the time that it has run, or waited for a CPU,
        since.
        """
        if not self._earliest_ns:
            busy_ns = 0 if self._attention is None else self._attention.busy_since_ns()
            self._earliest_ns = max(self._seen_ns, time.monotonic_ns() - busy_ns)
        return self._earliest_ns

    def is_unread(self) -> None:
        """A socket was not read to its end: what is left in it may be as old as what was read."""
        self._is_whole = False

    def _serve_ready(self) -> None:
        if self._epoll is None:
            return
        now_ns = time.monotonic_ns()
        ready = self._epoll.poll(0, _MOST_A_TURN)
        self._is_whole = len(ready) < _MOST_A_TURN
        self._earliest_ns = 0
        watched_by = self._watched.get
        for descriptor, happened in ready:
            watched = watched_by(descriptor)
            if watched is None:  # one ended another
                continue
            if happened & select.EPOLLOUT:
                watched.write_ready()
            if happened & ~select.EPOLLOUT:
                watched.read_ready()
        if self._is_whole and self._attention is not None:
            self._seen_ns = now_ns
            self._attention.saw_all(now_ns, is_needed=bool(self._earliest_ns))


class _Attention:
    """How long this thread has run, or waited for a CPU, since it last saw all."""

    def __init__(self) -> None:
        self._wait = CpuWait()
        self._before_ns = self._busy_ns()
        self._saw_ns = 0

    def close(self) -> None:
        """Give back what is held."""
        self._wait.close()

    def busy_since_ns(self) -> int:
        """Return nanoseconds since `saw_all`, or up to `_LOOK_EVERY_NS` longer; never too few."""
        busy_ns = self._busy_ns() - self._before_ns
        return busy_ns + busy_ns // _UNCOUNTED_PART + _UNCOUNTED_NS

    def saw_all(self, then_ns: int, *, is_needed: bool) -> None:
        """At the monotonic time `then_ns` it saw all; it costs some microseconds to take notice.

        Args:
            then_ns: see above.
            is_needed: somebody has asked, and may soon again: take notice now.
        """
        if is_needed or then_ns - self._saw_ns >= _LOOK_EVERY_NS:
            self._saw_ns = then_ns
            self._before_ns = self._busy_ns() - (time.monotonic_ns() - then_ns)

    def _busy_ns(self) -> int:
        return time.thread_time_ns() + self._wait.total_ns()
