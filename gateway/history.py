"""The publisher's history: asks it for the part of the feed that was missed, or for the newest update of each key.

A DEALER on the running loop; the messages are those of `execgate.wire.replay`. One request is under way, others
wait their turn. Items are handed over as they come, then granted, so that no more than `MAX_CREDIT` are on their
way. Each request ends once, with an `Outcome`, whatever the publisher does: silence ends it too. What the
publisher's clock says is asked for beside them all, and may stay untold.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import zmq

from execgate.service.curve import ClientCurve
from execgate.service.logs import Throttle
from execgate.service.zmq_reader import ZmqReader
from execgate.wire.errors import ReplayError, UsageError
from execgate.wire.replay import (
    MAX_CREDIT,
    Clock,
    Credit,
    End,
    Failed,
    Gone,
    Now,
    Replay,
    Request,
    Snapshot,
    decode_answer,
    encode_request,
)
from execgate.wire.update import Update, epoch_text
from gateway import sockets

log = logging.getLogger("gateway.history")

MAX_WAITING = 64
"""Requests that wait for the one under way; one more fails at once."""
JITTER_S = 0.25
"""After a timeout the next request waits up to so long, lest all gateways come back in the same moment."""
# A drain ends at either bound, so that other work gets its turn.
DRAIN_MESSAGES = 256
DRAIN_BYTES = 256 * 1024
_LOOKS_PER_TIMEOUT = 10


class TimedOut(NamedTuple):
    """The publisher said nothing for so long."""

    after_s: float


Outcome = End | Gone | Failed | TimedOut
"""How a request ended. Items that came before it are right: those of a replay are the first of its range."""

OnItems = Callable[[list[Update]], None]
OnEnd = Callable[[Outcome], None]
OnNow = Callable[[int], None]


class _Job(NamedTuple):
    """A request, and who waits for its answer."""

    request: Replay | Snapshot
    on_items: OnItems
    on_end: OnEnd


class HistoryClient:
    """The requests of one gateway process; made, called and closed on the running loop.

    It has a ZeroMQ context of its own, which is a thread: what many resuming clients need is decrypted and taken
    apart there, and not in the way of the feed.

    Args:
        endpoint: the publisher's replay socket, `tcp://` or `ipc://`; it need not be there yet.
        curve: the keys to speak CURVE with; None is plain.
        timeout_s: silence of the publisher after which a request has timed out. Time in which our own loop stood
            still is none of it.

    Attributes:
        malformed: messages that were none of the protocol.

    Raises:
        UsageError: ZeroMQ refuses the endpoint.
    """

    def __init__(self, endpoint: str, curve: ClientCurve | None = None, timeout_s: float = 5.0) -> None:
        self.malformed = 0
        self._endpoint = endpoint
        self._curve = curve
        self._timeout_s = timeout_s
        self._waiting: deque[_Job] = deque()
        self._job: _Job | None = None
        self._number = 0  # of the request under way; its id
        self._expected = 0  # seq of the next item of a replay
        self._clocks = 0  # how often the publisher's clock was asked for
        self._on_now: OnNow | None = None  # who waits for the last time of them
        self._silent_looks = 0
        self._timer: asyncio.TimerHandle | None = None  # looks at the silence, or ends the pause behind a timeout
        self._refusals = Throttle(log)
        self._loop = asyncio.get_running_loop()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._socket, self._reader = self._open()
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise UsageError(f"--replay {endpoint}: {error.strerror}") from None

    def replay(self, epoch: int, first: int, last: int, on_items: OnItems, on_end: OnEnd) -> None:
        """Ask for updates `first` to `last` of `epoch`, inclusive. Callbacks come from the loop, never from here.

        Args:
            epoch: u64.
            first: seq, from 1.
            last: seq, not less than `first`.
            on_items: gets the next updates, in order, none twice, none left out; returns when it has them.
            on_end: gets the outcome, once, and nothing comes behind it: End when all has come, Gone where some is
                not held (any more), Failed where the publisher says so or is wrong, or too many requests wait.
        """
        self._ask(_Job(Replay(epoch, first, last), on_items, on_end))

    def snapshot(self, on_items: OnItems, on_end: OnEnd) -> None:
        """Ask for the newest update of each key, in any order; End has the position that they stand for."""
        self._ask(_Job(Snapshot(), on_items, on_end))

    def ask_clock(self, on_now: OnNow) -> None:
        """Ask what the publisher's clock says.

        Args:
            on_now: gets it, in microseconds since 1970, from the loop; never where the publisher does not tell, or
                is asked again before.
        """
        self._clocks += 1
        self._on_now = on_now
        self._send(self._clock_id, Clock())

    def close(self) -> None:
        """Let go of everything; nobody is called any more."""
        self._on_now = None
        self._reader.close()
        if self._timer is not None:
            self._timer.cancel()
        self._job = None
        self._context.destroy(linger=0)

    def _open(self) -> "tuple[zmq.Socket[bytes], ZmqReader]":
        made = sockets.make(self._context, zmq.DEALER, MAX_CREDIT + 128, self._curve)
        made.connect(self._endpoint)
        return made, ZmqReader(made, self._drain)

    def _ask(self, job: _Job) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._loop.call_soon(job.on_end, Failed(f"{MAX_WAITING} requests wait already"))
            return
        self._waiting.append(job)
        if self._timer is None:
            self._begin()

    def _begin(self) -> None:
        """Send the next request; none is under way."""
        self._timer = None
        if not self._waiting:
            return
        job = self._job = self._waiting.popleft()
        self._number += 1
        self._expected = job.request.first if isinstance(job.request, Replay) else 0
        self._silent_looks = 0
        self._send(self._request_id, job.request)
        self._watch()

    @property
    def _request_id(self) -> bytes:
        return self._number.to_bytes(8, "big")

    @property
    def _clock_id(self) -> bytes:
        return b"c" + self._clocks.to_bytes(8, "big")  # longer than a request's: never the same

    def _send(self, request_id: bytes, request: Request) -> None:
        with suppress(zmq.Again):  # nobody takes what we say, so nothing will come of it: a timeout
            self._socket.send_multipart(encode_request(request_id, request), zmq.NOBLOCK)
        self._reader.soon()  # a send may take the event of what has come off the descriptor

    def _drain(self) -> None:
        """Take what waits, up to a budget, and hand it over."""
        items: list[Update] = []
        end: Outcome | None = None
        size = 0
        try:
            for _ in range(DRAIN_MESSAGES):
                part = self._receive()
                if isinstance(part, Update):
                    items.append(part)
                    size += len(part.payload)
                elif part is not None:
                    end = part
                if end is not None or size >= DRAIN_BYTES:
                    break
            self._reader.soon()
        except zmq.Again:
            pass
        if items or end is not None:
            self._silent_looks = 0
            self._deliver(items, end)

    def _receive(self) -> Update | End | Gone | Failed | None:
        """Return the next part of the answer that is waited for; None for anything else.

        Raises:
            zmq.Again: nothing waits.
        """
        frames = self._socket.recv_multipart(zmq.NOBLOCK)
        try:
            request_id, part = decode_answer(frames)
        except ReplayError as error:
            self.malformed += 1
            self._refusals.warning("history message refused: %s", error)
            return None
        if isinstance(part, Now):
            on_now = self._on_now
            if on_now is not None and request_id == self._clock_id:
                self._on_now = None
                on_now(part.now_us)
            return None
        if self._job is None or request_id != self._request_id:
            return None  # of a request that is over
        asked = self._job.request
        if isinstance(asked, Snapshot):
            return part
        if isinstance(part, Update):
            if part.epoch != asked.epoch or part.seq != self._expected or part.seq > asked.last:
                return Failed(f"item {part.seq} of epoch {epoch_text(part.epoch)} where {self._expected} was due")
            self._expected += 1
        elif isinstance(part, End) and self._expected <= asked.last:
            return Failed(f"an end before item {self._expected}")
        return part

    def _deliver(self, items: list[Update], end: Outcome | None) -> None:
        job = self._job
        if job is None:
            return
        if items:
            job.on_items(items)
        if self._job is not job:  # closed by whoever took them
            return
        if end is None:
            self._send(self._request_id, Credit(len(items)))
        else:
            self._finish(job, end)

    def _finish(self, job: _Job, outcome: Outcome, pause_s: float = 0.0) -> None:
        self._job = None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(pause_s, self._begin)
        job.on_end(outcome)

    def _watch(self) -> None:
        self._timer = self._loop.call_later(self._timeout_s / _LOOKS_PER_TIMEOUT, self._look)

    def _look(self) -> None:
        job = self._job
        if job is None:
            return
        # Counted, not read off a clock: however long we stood still, or the whole machine did, it is one look, and
        # the publisher has the others to answer in.
        self._silent_looks += 1
        if self._silent_looks <= _LOOKS_PER_TIMEOUT:
            self._watch()
            return
        # A new socket, with which nothing of the old requests comes along.
        self._reader.close()
        self._socket.close()
        self._socket, self._reader = self._open()
        self._finish(job, TimedOut(self._timeout_s), random.uniform(0, JITTER_S))
