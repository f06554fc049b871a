"""The feed: the PUB side of protocol.md, and what can be known of who listens.

The road sends updates through it, `app` heartbeats and the BYE. The socket is an XPUB, which is a PUB on the
wire, and shows each subscription: a gateway that has just joined is told the position at once. It never waits
for a gateway: beyond its high-water mark ZeroMQ drops for that gateway alone, which sees the gap.
"""

import asyncio
import logging
from collections.abc import Callable

import zmq

from execgate.service.curve import ServerCurve
from execgate.service.logs import Throttle
from execgate.wire.update import Update, encode
from publisher import sockets

LINGER_MS = 2_000
"""How long the end waits for what is queued to leave (bounded: a stuck gateway must not hold us)."""
MAX_SUBSCRIPTION_BYTES = 512
"""Nobody has anything to say here but a topic's prefix."""
MAX_SUBSCRIPTIONS = 100
"""Of one connection; a gateway has one. ZeroMQ keeps a node for each byte of each, and has no bound of its own."""
_RECEIVE_HWM = 100
"""Subscriptions of one connection that wait for us, before TCP holds it back."""
_SUBSCRIPTIONS_A_TURN = 1_000

_LOG = logging.getLogger("publisher.feed")


class Feed:
    """One XPUB socket on the running loop.

    Args:
        context: its ZeroMQ context, which stays the caller's.
        zmq_hwm: updates queued for one gateway.
        on_subscription: called when subscriptions have come; once for all that came together.

    Attributes:
        subscriptions: how many there are now.
    """

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", zmq_hwm: int, on_subscription: Callable[[], None]
    ) -> None:
        self.subscriptions = 0
        self._on_subscription = on_subscription
        self._by_connection: dict[int, tuple[int, int]] = {}  # by descriptor: the inode, and how many it has
        self._cuts = Throttle(_LOG)
        self._changed = asyncio.Event()
        self._socket = context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # each subscription, not only the first of its topic
        self._socket.setsockopt(zmq.SNDHWM, zmq_hwm)
        self._socket.setsockopt(zmq.RCVHWM, _RECEIVE_HWM)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        sockets.harden(self._socket, MAX_SUBSCRIPTION_BYTES)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sockets.descriptor(self._socket), self.take_subscriptions)

    def bind(self, endpoint: str, curve: ServerCurve | None = None) -> str:
        """Bind and return the real endpoint; raises UsageError."""
        return sockets.bind(self._socket, "--pub", endpoint, curve, sockets.GATEWAYS)

    def send(self, update: Update) -> None:
        """Queue one update for every gateway; never blocks."""
        self._socket.send_multipart(encode(update))

    def take_subscriptions(self) -> None:
        """Read what gateways said. The descriptor tells once, and a send may eat that: call it after sends too."""
        if not sockets.is_readable(self._socket):
            return
        joined = False
        for _ in range(_SUBSCRIPTIONS_A_TURN):
            try:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            what = bytes(frame.buffer[:1])
            if what == b"\x01":
                self.subscriptions += 1
                self._count(frame, 1)
                joined = True
            elif what == b"\x00":
                self.subscriptions -= 1
                self._count(frame, -1)
        else:
            self._loop.call_soon(self.take_subscriptions)
        self._changed.set()
        if joined:
            self._loop.call_soon(self._on_subscription)  # it sends, and so comes here again

    def _count(self, frame: zmq.Frame, change: int) -> None:
        """Note a subscription of a connection, and end one that has too many: it is no gateway."""
        connection = sockets.connection_of(frame)
        if connection is None:
            return
        descriptor, inode = connection
        known, count = self._by_connection.get(descriptor, (inode, 0))
        count = max(count if known == inode else 0, 0) + change
        self._by_connection[descriptor] = (inode, count)
        if count > MAX_SUBSCRIPTIONS:
            self._cuts.warning("connection to the feed ended: more than %s subscriptions", MAX_SUBSCRIPTIONS)
            sockets.cut(descriptor)

    async def wait_for_subscriptions(self, count: int) -> None:
        """Return once there are `count` of them."""
        while self.subscriptions < count:
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        """Close the socket; what is queued leaves within LINGER_MS, while the context is terminated."""
        self._loop.remove_reader(sockets.descriptor(self._socket))
        self._socket.close()
