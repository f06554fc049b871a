"""The feed: reads ZeroMQ and hands every message to the recovery, which passes it on to the fan-out.

It subscribes to everything, so that seq stays contiguous and a drop is always seen. Draining all that waits, up
to a budget, costs 3.4 us a message where ZMQStream's one a loop turn costs 30, and lets the fan-out join what has
piled up.
"""

import asyncio
import logging
import math
import time
from contextlib import suppress

import zmq

from execgate.service.curve import ClientCurve
from execgate.service.logs import Throttle
from execgate.service.zmq_reader import ZmqReader
from execgate.wire.errors import UpdateError, UsageError
from execgate.wire.update import decode
from gateway import sockets
from gateway.fanout import Fanout
from gateway.recovery import Recovery

log = logging.getLogger("gateway.feed")

# A drain ends at either bound, so that one write to a subscriber stays small and other work gets its turn.
DRAIN_MESSAGES = 512
DRAIN_BYTES = 256 * 1024
BEHIND_S = 1.0
"""The feed was never empty for so long: more comes than can be written, and volatile subscribers miss it."""
GIVE_WAY_S = 0.0002
"""Whatever can be put off lets the feed pass, if nothing has been read of it for so long."""
_SILENCE_CHECKS_PER_LIMIT = 10
_KNOCK_S = 1.0
"""Between two tries where the publisher refuses us."""
_TELL_REFUSED_S = 30.0
_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class Feed:
    """The SUB socket of one gateway.

    Args:
        endpoint: of the publisher, `tcp://` or `ipc://`; it need not be there yet.
        zmq_hwm: messages that ZeroMQ keeps for us while we are busy; beyond it they are lost, which is seen as
            a gap.
        stale_s: silence after which the feed counts as stale.
        recovery: gets every message.
        fanout: is told of silence.
        curve: the keys to speak CURVE with; None is plain.

    Raises:
        UsageError: ZeroMQ refuses the endpoint.
    """

    def __init__(
        self,
        endpoint: str,
        zmq_hwm: int,
        stale_s: float,
        recovery: Recovery,
        fanout: Fanout,
        curve: ClientCurve | None = None,
    ) -> None:
        self._recovery = recovery
        self._fanout = fanout
        fanout.give_way = self.give_way
        self._endpoint = endpoint
        self._stale_s = stale_s
        self._heard_s = self._empty_s = time.monotonic()
        self._drained_s = math.inf  # nobody gives way before the start, and after the end
        self._malformed = Throttle(log)
        self._refused = Throttle(log, _TELL_REFUSED_S)
        self._knocked_s = -_KNOCK_S
        self._silence: asyncio.TimerHandle | None = None
        self._reader: ZmqReader | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = sockets.make(self._context, zmq.SUB, zmq_hwm, curve)
        self._socket.set(zmq.SUBSCRIBE, b"")
        self._refusals = self._socket.get_monitor_socket(_REFUSED)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise UsageError(f"--feed {endpoint}: {error.strerror}") from None

    @property
    def silence_s(self) -> float:
        """Since the publisher last said anything; at first since we listen."""
        return time.monotonic() - self._heard_s

    def start(self) -> None:
        """Begin to read on the running loop."""
        self._reader = ZmqReader(self._socket, self._drain)
        self._drained_s = time.monotonic()
        self._watch()

    def close(self) -> None:
        """Stop reading and let go of the socket."""
        self._drained_s = math.inf
        if self._reader is not None:
            self._reader.close()
        if self._silence is not None:
            self._silence.cancel()
        self._context.destroy(linger=0)

    def give_way(self) -> None:
        """Read what waits, if that was not done just now; called between the pieces of what can be put off."""
        if time.monotonic() - self._drained_s >= GIVE_WAY_S:
            self._drain()

    def _drain(self) -> None:
        receive, take = self._socket.recv_multipart, self._recovery.take
        size = messages = refused = 0
        try:
            while messages < DRAIN_MESSAGES and size < DRAIN_BYTES:
                frames = receive(zmq.NOBLOCK)
                messages += 1
                try:
                    take(decode(frames))
                    size += len(frames[3])
                except UpdateError as error:
                    refused += 1
                    self._fanout.counters.upstream["malformed"] += 1
                    self._malformed.warning("feed message refused: %s", error)
            self._fanout.is_behind = time.monotonic() - self._empty_s > BEHIND_S
            # The budget is spent, and the edge with it: come back after everything else had its turn.
            self._drain_soon()
        except zmq.Again:
            self._empty_s = time.monotonic()
            self._fanout.is_behind = False
        self._drained_s = time.monotonic()
        if messages > refused:  # what is no message of a publisher is no sign of its life
            self._heard_s = self._drained_s
            self._fanout.flush()
            self._drained_s = time.monotonic()

    def _drain_soon(self) -> None:
        if self._reader is not None:
            self._reader.soon()

    def _watch(self) -> None:
        # After a stall of ours it is no lie: the loop reads what waits before it looks at its timers.
        if time.monotonic() - self._heard_s > self._stale_s:
            self._fanout.go_stale(f"silent for {self._stale_s:g} s")
        self._come_again_if_refused()
        interval_s = self._stale_s / _SILENCE_CHECKS_PER_LIMIT
        self._silence = asyncio.get_running_loop().call_later(interval_s, self._watch)

    def _come_again_if_refused(self) -> None:
        """Connect anew where the publisher refused us: libzmq does not come again by itself then."""
        now_s = time.monotonic()
        if now_s - self._knocked_s < _KNOCK_S or not self._refusals.poll(0):
            return
        self._knocked_s = now_s
        with suppress(zmq.Again):
            while True:
                self._refusals.recv_multipart(zmq.NOBLOCK)
        self._refused.warning(
            "feed %s refused us: expected CURVE on both sides, or on none, and our key to be known", self._endpoint
        )
        with suppress(zmq.ZMQError):  # it has let go of it already
            self._socket.disconnect(self._endpoint)
        self._socket.connect(self._endpoint)
        self._drain_soon()  # all this may have taken the edge
