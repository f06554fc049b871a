"""The ingest source: any program pushes execs over ZeroMQ (PUSH to our PULL); `docs/ingest.md` is for them.

`app` makes it. A message is `[payload]` or `[topic, payload]`. The topic of an update always comes of the
template; one that is given must be that of every row, or the message is refused: a producer that thinks of
another topic than its subscribers see would better know. While nothing asks for batches nothing is read,
so producers are held back by ZeroMQ and not by our memory.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import zmq

from execgate.service.curve import ServerCurve
from execgate.wire.errors import RowError
from execgate.wire.topics import TopicTemplate
from publisher import sockets
from publisher.core.rows import MAX_MESSAGE_BYTES, Row, check, shown
from publisher.refusals import Refusals
from publisher.sources.base import Batch

MAX_FRAME_BYTES = 4 * MAX_MESSAGE_BYTES
"""Over MAX_MESSAGE_BYTES a message is refused and logged; over this its connection is closed by ZeroMQ."""
RECEIVE_HWM = 10_000
"""Messages queued for us from one producer, before ZeroMQ holds it back."""


class IngestSource:
    """A PULL socket on the running loop. It never ends by itself."""

    name = "ingest"
    unit = "message"

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", template: TopicTemplate, refusals: Refusals
    ) -> None:
        self._template = template
        self._refusals = refusals
        self._socket = context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.RCVHWM, RECEIVE_HWM)
        self._socket.setsockopt(zmq.LINGER, 0)
        sockets.harden(self._socket, MAX_FRAME_BYTES)
        self._readable = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def bind(self, endpoint: str, curve: ServerCurve | None = None) -> str:
        """Bind and return the real endpoint; raises UsageError."""
        return sockets.bind(self._socket, "--ingest", endpoint, curve, sockets.PRODUCERS)

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the batch of each good message as it comes. Whoever asks must let the loop run now and then."""
        self._loop.add_reader(sockets.descriptor(self._socket), self._readable.set)
        number = 0
        while True:
            # The descriptor is edge-triggered: cleared before, and waited for only after all was read.
            self._readable.clear()
            while (frames := self._receive()) is not None:
                number += 1
                try:
                    rows = self._rows(frames)
                except RowError as error:
                    self._refusals.refuse(self, number, error)
                    if number % 64 == 0:  # a flood of bad ones yields nothing, and must not hold the loop
                        await asyncio.sleep(0)
                    continue
                yield Batch(rows, number)
            await self._readable.wait()

    def close(self) -> None:
        """Close the socket; what was not read is lost (docs/ingest.md)."""
        self._loop.remove_reader(sockets.descriptor(self._socket))
        self._socket.close()

    def _receive(self) -> Sequence[bytes] | None:
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _rows(self, frames: Sequence[bytes]) -> list[Row]:
        if len(frames) not in (1, 2):
            raise RowError(f"message has {len(frames)} frames: expected [payload] or [topic, payload]")
        rows = check(frames[-1])
        if len(frames) == 2:
            given = frames[0]
            for row in rows:
                topic = self._template.topic_of(row.fields)
                if topic.encode() != given:
                    raise RowError(
                        f"topic is {shown(given.decode(errors='replace'))}: expected {shown(topic)}, or none"
                    )
        return rows
