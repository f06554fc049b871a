"""The producer: numbered execs through acknowledged ingest, each batch again until it is answered."""

import asyncio
import json
import random
import time
from collections import OrderedDict
from typing import cast

import zmq
import zmq.asyncio

from execgate.service.curve import ClientCurve

MAX_UNANSWERED = 500
RESEND_S = 1.0
SYMBOLS = 8
_EXECS = 2
"""In a batch; of two symbols, so that each becomes an update."""
_PADDING = "x" * 300


class Producer:
    """Pushes until `stop`, then until all is answered.

    Args:
        endpoint: of acknowledged ingest.
        curve: the keys to speak CURVE with.
        rate: updates a second.
        seed: makes the rows.

    Attributes:
        sent: execs that were numbered, from 1.
        answered: batches that are kept.
        resent: batches that were sent again.
        refused, busy: answers that say so.
        head: the greatest seq that was answered.
    """

    def __init__(self, endpoint: str, curve: ClientCurve, rate: float, seed: int) -> None:
        self.sent = self.answered = self.resent = self.refused = self.busy = 0
        self.head = 0
        self._interval_s = _EXECS / rate
        self._seed = seed
        self._rng = random.Random(seed)
        self._unanswered: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        curve.secure(cast("zmq.Socket[bytes]", self._socket))
        self._socket.connect(endpoint)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Push and take answers; returns when, after `stop`, everything is answered."""
        answers = asyncio.create_task(self._take_answers())
        pushing = asyncio.create_task(self._push())
        try:
            while not (self._stopping.is_set() and pushing.done() and not self._unanswered):
                await asyncio.sleep(0.1)
                await self._resend()
            await pushing
        finally:
            for task in (answers, pushing):
                task.cancel()
            await asyncio.gather(answers, pushing, return_exceptions=True)
            self._socket.close()
            self._context.term()

    def stop(self) -> None:
        """Number no more execs."""
        self._stopping.set()

    async def _push(self) -> None:
        due_s = time.monotonic()
        while not self._stopping.is_set():
            due_s = max(due_s + self._interval_s, time.monotonic() - 1.0)  # what a stall held up comes at once
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if len(self._unanswered) >= MAX_UNANSWERED:
                continue
            batch_id = f"{self._seed}-{self.sent}".encode()
            payload = json.dumps([self._exec(symbol) for symbol in self._rng.sample(range(SYMBOLS), _EXECS)])
            self._unanswered[batch_id] = payload.encode(), time.monotonic()
            await self._send(batch_id, payload.encode())

    def _exec(self, symbol: int) -> dict[str, object]:
        self.sent += 1
        key = f"S{symbol}-{self.sent % 3}"
        return {"symbol": f"S{symbol}", "key": key, "number": self.sent, "price": 1.5, "padding": _PADDING}

    async def _send(self, batch_id: bytes, payload: bytes) -> None:
        try:
            await self._socket.send_multipart([batch_id, payload], zmq.NOBLOCK)
        except zmq.Again:
            pass  # nobody is there: it is sent again

    async def _resend(self) -> None:
        now_s = time.monotonic()
        for batch_id, (payload, sent_s) in list(self._unanswered.items()):
            if now_s - sent_s < RESEND_S:
                break
            self._unanswered[batch_id] = payload, now_s
            self._unanswered.move_to_end(batch_id)
            self.resent += 1
            await self._send(batch_id, payload)

    async def _take_answers(self) -> None:
        while True:
            batch_id, verb, fields = await self._socket.recv_multipart()
            if verb == b"OK":
                self.head = max(self.head, json.loads(fields)["last"])
                self.answered += self._unanswered.pop(batch_id, None) is not None
            elif verb == b"BUSY":
                self.busy += 1
            else:
                self.refused += 1
                self._unanswered.pop(batch_id, None)
