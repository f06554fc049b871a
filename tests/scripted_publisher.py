"""A publisher that says exactly what a test tells it to: real ZeroMQ, chosen epochs and sequence numbers."""

import json
import time
from types import TracebackType
from typing import Any, Self

import zmq

from execgate.wire.update import Kind, Update, encode, epoch_text

TIMEOUT_S = 10.0
TOPIC = "ex.QQQ."


def payload_of(seq: int, *, epoch: int = 1, topic: str = TOPIC, padding: int = 0) -> bytes:
    """Return the `data` of an update; `padding` makes it so many bytes longer."""
    execs: list[dict[str, Any]] = [{"symbol": "QQQ", "qty": 100, "note": "x" * padding}]
    data = {
        "request": seq,
        "rows": 1,
        "timestamp": time.time_ns() // 1_000_000,
        "ts_us": time.time_ns() // 1000,
        "topic": topic,
        "epoch": epoch_text(epoch),
        "seq": seq,
        "tseq": seq,
        "execs": execs,
    }
    return json.dumps(data).encode()


class ScriptedPublisher:
    """A bound XPUB socket.

    Attributes:
        endpoint: what it really bound.
        seq: of the update sent last.
    """

    def __init__(self, endpoint: str = "tcp://127.0.0.1:0", epoch: int = 1) -> None:
        self.epoch = epoch
        self.seq = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._socket.bind(endpoint)
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)

    def wait_for_gateways(self, count: int = 1) -> None:
        """Wait until `count` more subscriptions have come; what is sent afterwards arrives."""
        for _ in range(count):
            assert self._socket.poll(round(TIMEOUT_S * 1000)), "no gateway subscribed"
            assert self._socket.recv() == b"\x01"

    def raw(self, *frames: bytes) -> None:
        """Send any message."""
        self._socket.send_multipart(frames)

    def say(self, kind: Kind, seq: int | None = None, epoch: int | None = None) -> None:
        """Send a message that is no update: HEARTBEAT, EPOCH or BYE, with the last seq unless told another."""
        if epoch is not None:
            self.epoch = epoch
        self.seq = self.seq if seq is None else seq
        self._send(Update(kind, b"", self.epoch, self.seq, 0, time.time_ns() // 1000, b"", b""))

    def update(self, seq: int | None = None, topic: str = TOPIC, padding: int = 0) -> bytes:
        """Send an update, the next unless `seq` says which; return its payload."""
        self.seq = self.seq + 1 if seq is None else seq
        payload = payload_of(self.seq, epoch=self.epoch, topic=topic, padding=padding)
        stamp_us = time.time_ns() // 1000
        self._send(Update(Kind.DATA, topic.encode(), self.epoch, self.seq, self.seq, stamp_us, b"", payload))
        return payload

    def updates(self, count: int, **options: Any) -> list[bytes]:
        """Send the next `count` updates; return their payloads."""
        return [self.update(**options) for _ in range(count)]

    def _send(self, update: Update) -> None:
        self._socket.send_multipart(encode(update))
