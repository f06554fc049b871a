"""Pushes updates into a publisher's ingest at a rate, while a trial of `find-capacity --var rate` runs."""

import time

import zmq

from execgate.measure.pacer import constant_rate
from loadgen.pacing import Paced

MOST_QUEUED = 1_000
"""Updates that wait here for the publisher; what is due beyond is counted as `refused` and left out."""
_UPDATE = (
    b'[{"sequence":0,"symbol":"QQQ","price":99.5,"qty":100,"key":"QQQ:::S","transaction":"STO","accountId":1772139},'
    b'{"sequence":1,"symbol":"QQQ","price":99.6,"qty":200,"key":"QQQ:::S","transaction":"STO","accountId":1772139}]'
)
"""Two rows of one symbol, which are one update."""


class Feeder:
    """A PUSH socket for the length of a block.

    Attributes:
        refused: updates that were due and for which there was no room.
    """

    def __init__(self, endpoint: str, per_s: float) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, MOST_QUEUED)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._paced = Paced(constant_rate(per_s), self._push)
        self.refused = 0

    def __enter__(self) -> "Feeder":
        self._paced.start(time.monotonic_ns())
        return self

    def __exit__(self, *_: object) -> None:
        self._paced.stop()
        self._context.destroy(linger=0)

    def take_worst_us(self) -> int:
        """Return how late the latest update was pushed, since the last call, in microseconds."""
        return self._paced.take_worst_us()

    def _push(self, _due_ns: int) -> None:
        try:
            self._socket.send(_UPDATE, zmq.DONTWAIT)
        except zmq.Again:
            self.refused += 1
