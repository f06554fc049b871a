"""The replay socket: gateways ask for the part of the history that they missed, or for the newest of each key.

They also ask what our clock says, and are told at once.

A ROUTER on the loop of the feed. What gateways say is read and answered in small slices with a pause behind each,
so that what is live goes first and other threads get their turn. `publisher.core.replays` decides; the messages
are those of `execgate.wire.replay`.
"""

import asyncio
import logging
import time
from collections import Counter

import zmq

from execgate.service.curve import ServerCurve
from execgate.service.logs import Throttle
from execgate.wire.errors import ReplayError
from execgate.wire.replay import MAX_CREDIT, MAX_JSON_BYTES, Clock, Credit, Now, decode_request, encode_answer
from publisher import sockets
from publisher.core.history import History
from publisher.core.replays import Connection, Replays, Turn

MAX_FRAME_BYTES = 2 * MAX_JSON_BYTES
"""Of what a gateway sends; ZeroMQ closes a connection that sends a greater frame."""
SEND_HWM = 2 * (MAX_CREDIT + 128)
"""Messages queued for one gateway: all its credit, and ends. Only one that asks and never reads has more. Twice
that, since libzmq counts what has left the queue as being in it until half of the mark has left."""
SEND_BUFFER_BYTES = 256 * 1024
"""Of the kernel, for one gateway: a turn goes there at once."""
MAX_UNREAD_BYTES = 48 * 1024
"""Of what is there and the gateway has not taken: with more of it no turn comes, so that in our own memory next to
nothing waits, whatever it grants (a grant can be a lie). Of a path the kernel takes no more than 52 KiB."""
RECEIVE_HWM = 64
"""Messages of one gateway that wait for us, before TCP holds it back."""
PAUSE_S = 0.001
"""Between two slices; uvloop's timers know no less."""
STUCK_PAUSE_S = 0.02
"""Before it is looked again whether one of those who did not read has read."""
_MESSAGES_A_SLICE = 64
_HEARTBEAT_MS = 5_000
_DEAD_MS = 15_000
"""A connection that says nothing for so long is closed, and what is queued for it let go of."""
_FORGET_EVERY_S = 5.0

_LOG = logging.getLogger("publisher.replay")


class ReplayServer:
    """One ROUTER socket on the running loop.

    Args:
        context: its ZeroMQ context, which stays the caller's.
        log: what is served.

    Attributes:
        counts: `malformed` messages; requests whose gateway was `lost` (gone, or it does not read); and those of
            `Replays`.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", log: History) -> None:
        self._log = log
        self._replays = Replays()
        self._malformed = Throttle(_LOG)
        self._next: asyncio.TimerHandle | None = None
        self._socket = context.socket(zmq.ROUTER)
        # Tell us who has gone, or is full: drop nothing in silence.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.SNDHWM, SEND_HWM)
        self._socket.setsockopt(zmq.RCVHWM, RECEIVE_HWM)
        self._socket.setsockopt(zmq.SNDBUF, SEND_BUFFER_BYTES)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _DEAD_MS)
        sockets.harden(self._socket, MAX_FRAME_BYTES)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sockets.descriptor(self._socket), self._wake)
        self._forgetting = self._loop.call_later(_FORGET_EVERY_S, self._forget)

    @property
    def counts(self) -> Counter[str]:
        """What has happened so far."""
        return self._replays.counts

    @property
    def unanswered(self) -> int:
        """How many requests are under way."""
        return len(self._replays)

    def bind(self, endpoint: str, curve: ServerCurve | None = None) -> str:
        """Bind and return the real endpoint; raises UsageError."""
        return sockets.bind(self._socket, "--replay", endpoint, curve, sockets.GATEWAYS)

    def close(self) -> None:
        """Close the socket; a request under way gets no end."""
        self._loop.remove_reader(sockets.descriptor(self._socket))
        self._forgetting.cancel()
        if self._next is not None:
            self._next.cancel()
        self._socket.close()

    def _wake(self) -> None:
        """The descriptor says, once, that something came."""
        if self._next is None:
            self._slice()

    def _slice(self) -> None:
        """Read a little, send a little; come again while there is more of either."""
        self._next = None
        self._receive()
        turn = self._replays.turn(self._log, _has_room)
        if turn is not None:
            self._send(turn)
        # Asked again: a send takes the event off the descriptor.
        if turn is not None or sockets.is_readable(self._socket):
            self._next = self._loop.call_later(PAUSE_S, self._slice)
        elif self._replays.is_ready:
            self._next = self._loop.call_later(STUCK_PAUSE_S, self._slice)

    def _receive(self) -> None:
        for _ in range(_MESSAGES_A_SLICE):
            try:
                peer_frame, *frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            peer = peer_frame.bytes
            try:
                request_id, request = decode_request([frame.bytes for frame in frames])
            except ReplayError as error:
                self.counts["malformed"] += 1
                self._malformed.warning("replay message refused: %s", error)
                continue
            if isinstance(request, Credit):
                self._replays.grant(peer, request_id, request.items, time.monotonic())
                continue
            connection = sockets.connection_of(frames[-1])
            turn: Turn | None
            if isinstance(request, Clock):  # by the clock that stamps updates
                turn = Turn(peer, request_id, [Now(time.time_ns() // 1000)], connection)
            else:
                turn = self._replays.ask(peer, request_id, request, time.monotonic(), connection)
            if turn is not None and _has_room(turn.connection):
                self._send(turn)

    def _send(self, turn: Turn) -> None:
        try:
            for part in turn.parts:
                frames = encode_answer(turn.request_id, part)
                self._socket.send_multipart([turn.peer, *frames], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):  # it has gone; it does not read
                raise
            self._replays.drop(turn.peer, "lost")

    def _forget(self) -> None:
        self._replays.forget_silent(time.monotonic())
        self._forgetting = self._loop.call_later(_FORGET_EVERY_S, self._forget)


def _has_room(connection: Connection) -> bool:
    """Whether a gateway takes what it is sent."""
    return connection is None or sockets.unread_bytes(connection) <= MAX_UNREAD_BYTES
