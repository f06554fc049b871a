"""A raw ZeroMQ subscriber for the publisher's tests: every message is decoded and checked as it comes."""

import json
from types import TracebackType
from typing import Any, Self

import zmq

from execgate.wire.update import Kind, Update, decode

TIMEOUT_S = 20.0


class Subscriber:
    """A SUB to everything of one publisher.

    Attributes:
        last: the message that was received last.
        beats: all heartbeats so far.
    """

    last: Update

    def __init__(self, endpoint: str) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, round(TIMEOUT_S * 1000))
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.subscribe(b"")
        self.socket.connect(endpoint)
        self.beats: list[Update] = []
        self._seq: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.context.destroy(linger=0)

    def next(self) -> Update:
        """Return the next message; what is no data must carry the seq of the data before it."""
        update = self.last = decode(self.socket.recv_multipart())
        if update.kind == Kind.DATA:
            assert self._seq is None or update.seq == self._seq + 1
        else:
            assert self._seq is None or update.seq == self._seq
            assert (update.topic, update.key, update.payload, update.tseq) == (b"", b"", b"", 0)
        if update.kind == Kind.HEARTBEAT:
            self.beats.append(update)
        self._seq = update.seq
        return update

    def next_data(self) -> Update:
        """Return the next update, past any heartbeats."""
        while True:
            update = self.next()
            if update.kind == Kind.DATA:
                return update
            assert update.kind == Kind.HEARTBEAT

    def next_beat(self) -> Update:
        """Return the next heartbeat, past any updates."""
        while True:
            update = self.next()
            if update.kind == Kind.HEARTBEAT:
                return update

    def until_bye(self) -> list[Update]:
        """Return all updates until the BYE."""
        updates = []
        while (update := self.next()).kind != Kind.BYE:
            if update.kind == Kind.DATA:
                updates.append(update)
        return updates


def data_of(updates: list[Update]) -> list[dict[str, Any]]:
    """Return the payloads of updates, each checked against its header."""
    found = []
    for update in updates:
        data = json.loads(update.payload)
        assert list(data) == ["request", "rows", "timestamp", "ts_us", "topic", "epoch", "seq", "tseq", "execs"]
        assert data["request"] == data["seq"] == update.seq
        assert data["tseq"] == update.tseq
        assert data["ts_us"] == update.ts_us
        assert data["timestamp"] == update.ts_us // 1000
        assert data["topic"].encode() == update.topic
        assert data["epoch"] == f"{update.epoch:016x}"
        assert data["rows"] == len(data["execs"])
        found.append(data)
    return found


def execs_of(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return all rows, in order."""
    return [exec_ for each in data for exec_ in each["execs"]]
