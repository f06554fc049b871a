"""The acknowledged ingest source: a producer's DEALER sends a batch to our ROUTER, and is told what became of it.

    [batch id, payload]                                          the id may be empty; the payload is that of ingest
    [batch id, OK, {"epoch", "first", "last"}]                   kept; the seqs of its updates
    [batch id, REFUSED, {"reason"}]                              wrong: it would be refused again
    [batch id, BUSY, {"reason"}]                                 nothing of it was taken: send it again, later

A batch whose id is known is answered again and not taken again: the road and the journal see to that. Unlike
ingest this source reads when nobody asks it for batches, so as to say that it is busy; what waits is bounded.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import zmq

from execgate.service.curve import ServerCurve
from execgate.service.zmq_reader import ZmqReader
from execgate.wire.errors import RowError
from execgate.wire.update import epoch_text
from publisher import sockets
from publisher.core.rows import check
from publisher.log import Range
from publisher.refusals import MAX_REASON_CHARACTERS, Refusals
from publisher.sources.base import Batch
from publisher.sources.ingest import MAX_FRAME_BYTES

MAX_BATCH_ID_BYTES = 128
MAX_WAITING = 1_000
MAX_WAITING_BYTES = 16 * 1024 * 1024
"""Batches, and bytes of them, that are taken and not answered; over either the next one is told BUSY."""
RECEIVE_HWM = 100
"""Messages of one producer that wait for us, before ZeroMQ holds it back."""
SEND_HWM = 2 * MAX_WAITING
"""Answers that wait for one producer; those beyond are lost to one that does not read."""
LINGER_MS = 1_000
_TURN_NS = 2_000_000
"""How long messages are read before the loop runs."""


class AcknowledgedSource:
    """A ROUTER socket on the running loop. It never ends by itself.

    Args:
        context: its ZeroMQ context, which stays the caller's.
        refusals: takes the messages that are refused.
        trouble: says why nothing can be kept at the moment; None while all is well.
    """

    name = "ingest-ack"
    unit = "message"

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        refusals: Refusals,
        trouble: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._refusals = refusals
        self._trouble = trouble
        self._number = 0
        self._taken: deque[Batch] = deque()  # that the road has not asked for
        self._waiting = 0  # of those that are taken and not answered; `_waiting_bytes` the same
        self._waiting_bytes = 0
        self._came = asyncio.Event()
        self._reader: ZmqReader | None = None
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.RCVHWM, RECEIVE_HWM)
        self._socket.setsockopt(zmq.SNDHWM, SEND_HWM)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        sockets.harden(self._socket, MAX_FRAME_BYTES)

    def bind(self, endpoint: str, curve: ServerCurve | None = None) -> str:
        """Bind and return the real endpoint; raises UsageError."""
        return sockets.bind(self._socket, "--ingest-ack", endpoint, curve, sockets.PRODUCERS)

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the batch of each good message, in the order in which they came."""
        self._reader = ZmqReader(self._socket, self._read)
        while True:
            while self._taken:
                yield self._taken.popleft()
            self._came.clear()
            await self._came.wait()

    def close(self) -> None:
        """Close the socket; what has no answer by now gets none, and may be sent again."""
        if self._reader is not None:
            self._reader.close()
        self._socket.close()

    def _read_soon(self) -> None:
        if self._reader is not None:
            self._reader.soon()

    def _read(self) -> None:
        ends_ns = time.monotonic_ns() + _TURN_NS
        try:
            while time.monotonic_ns() < ends_ns:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
                self._take(peer, frames)
        except zmq.Again:
            return
        self._read_soon()

    def _take(self, peer: bytes, frames: Sequence[bytes]) -> None:
        self._number += 1
        batch_id = frames[0][:MAX_BATCH_ID_BYTES] if frames else b""
        size = len(frames[-1]) if frames else 0
        if self._waiting >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            why = self._trouble() or f"{self._waiting} batches of {self._waiting_bytes} bytes wait already"
            self._answer(peer, batch_id, b"BUSY", {"reason": why[:MAX_REASON_CHARACTERS]})
            return
        try:
            if len(frames) != 2:
                raise RowError(f"message has {len(frames)} frames: expected [batch id, payload]")
            if len(frames[0]) > MAX_BATCH_ID_BYTES:
                raise RowError(f"batch id of {len(frames[0])} bytes: expected at most {MAX_BATCH_ID_BYTES}")
            rows = check(frames[1])
        except RowError as error:
            self._refusals.refuse(self, self._number, error)
            self._refuse(peer, batch_id, error)
            return
        self._waiting += 1
        self._waiting_bytes += size
        self._taken.append(Batch(rows, self._number, batch_id, partial(self._settle, peer, batch_id, size)))
        self._came.set()

    def _settle(self, peer: bytes, batch_id: bytes, size: int, outcome: Range | RowError) -> None:
        self._waiting -= 1
        self._waiting_bytes -= size
        if isinstance(outcome, RowError):
            self._refuse(peer, batch_id, outcome)
            return
        kept = {"epoch": epoch_text(outcome.epoch), "first": outcome.first, "last": outcome.last}
        self._answer(peer, batch_id, b"OK", kept)

    def _refuse(self, peer: bytes, batch_id: bytes, error: RowError) -> None:
        self._answer(peer, batch_id, b"REFUSED", {"reason": str(error)[:MAX_REASON_CHARACTERS]})

    def _answer(self, peer: bytes, batch_id: bytes, verb: bytes, fields: dict[str, Any]) -> None:
        if self._socket.closed:  # the journal may be done after us
            return
        # To one that has gone, or does not read, a ROUTER drops it: who gets no answer sends again.
        self._socket.send_multipart([peer, batch_id, verb, json.dumps(fields).encode()], zmq.NOBLOCK)
        self._read_soon()  # a send may take the event of what has come off the descriptor
