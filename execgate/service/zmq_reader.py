"""When to read a ZeroMQ socket on the running loop; whoever reads one in slices uses it.

libzmq's descriptor tells once, for all that has come, and a look at the socket, which a send is too, may take that
away. So whoever stops before the socket is empty, or has sent something, asks to be called again.
"""

import asyncio
from collections.abc import Callable

import zmq


class ZmqReader:
    """Calls `read` when a socket may have something, from the loop and never from within.

    Args:
        zmq_socket: stays the caller's; closed only after `close`.
        read: takes what waits, without blocking; calls `soon` where it left something.
    """

    def __init__(self, zmq_socket: "zmq.Socket[bytes]", read: Callable[[], None]) -> None:
        self._read = read
        self._again: asyncio.Handle | None = None
        self._descriptor = int(zmq_socket.getsockopt(zmq.FD))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._run)
        self.soon()  # what came before has told already

    def soon(self) -> None:
        """Read after everything else had its turn; once, however often it is asked for."""
        if self._again is None:
            self._again = self._loop.call_soon(self._run)

    def close(self) -> None:
        """Read no more."""
        self._loop.remove_reader(self._descriptor)
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _run(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._read()
