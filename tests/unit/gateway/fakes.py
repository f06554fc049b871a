"""Stand-ins for a connection: a kernel and a transport that take what a script lets them; a peer that reads."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from execgate.wire.frame_parser import Closing, Event, FrameParser, Text
from gateway.connection import Connection
from gateway.core.orders import Order, OrderStatus
from gateway.counters import Counters
from gateway.outbound import Outbound, OutboundBudget

PLENTY = 1 << 30
GONE = -1
"""In a script of sends: the socket raises, because the peer is gone."""


class Wire(asyncio.Transport):
    """A socket and the transport that owns it: both write into `received`.

    Args:
        sends: how many bytes each `send` takes, one after the other; 0 is EAGAIN; after the script, everything.
        takes: the same for each write to the transport that comes while it holds nothing.
    """

    def __init__(self, sends: Iterable[int] = (), takes: Iterable[int] = ()) -> None:
        super().__init__()
        self.received = bytearray()
        self.held = bytearray()
        self.aborted = 0
        self.send_calls = 0
        self.is_gone = False
        self.on_empty: Callable[[], None] = lambda: None
        self._sends, self._takes = iter(sends), iter(takes)

    def send(self, data: bytes) -> int:
        assert not self.held, "written past what the transport holds"
        assert not self.is_gone, "written to a socket that has failed"
        self.send_calls += 1
        taken = next(self._sends, PLENTY)
        if taken == GONE:
            self.is_gone = True
            raise ConnectionResetError
        if not taken:
            raise BlockingIOError
        self.received += data[:taken]
        return min(taken, len(data))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        data = bytes(data)
        taken = next(self._takes, 0) if not self.held else 0
        self.received += data[:taken]
        self.held += data[taken:]

    def get_write_buffer_size(self) -> int:
        return len(self.held)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == low == 0

    def abort(self) -> None:
        self.aborted += 1

    def pass_on(self, size: int = PLENTY) -> None:
        """The kernel takes `size` more bytes of what the transport holds; when that was all, say so."""
        if not self.held:
            return
        self.received += self.held[:size]
        del self.held[:size]
        if not self.held:
            self.on_empty()


class Owner:
    """The part of a connection that an outbound, the fan-out and the order desk see."""

    def __init__(self, wire: Wire | None = None, session_limit: int = PLENTY, limit: int = PLENTY) -> None:
        self.wire = wire or Wire()
        self.key = "127.0.0.1:1:1"
        self.counters = Counters()
        self.budget = OutboundBudget(session_limit, limit)
        self.closed: list[tuple[int, bool]] = []
        self.on_close: Callable[[], None] = lambda: None
        self.answers: list[tuple[Order, OrderStatus, str | None]] = []
        self.outbound = Outbound(self.as_connection, self.wire, self.wire.send, self.budget, self.counters)
        self.wire.on_empty = self.outbound.resume

    def share(self, other: "Owner") -> None:
        """Count with `other`, as the connections of one process do."""
        self.counters = other.counters
        self.outbound = Outbound(self.as_connection, self.wire, self.wire.send, self.budget, self.counters)
        self.wire.on_empty = self.outbound.resume

    @property
    def as_connection(self) -> Connection:
        return cast("Connection", self)

    def close(self, code: int, reason: str = "", *, flush: bool = True) -> None:
        if not self.outbound.closing:
            self.closed.append((int(code), flush))
            self.on_close()
            self.outbound.close(code, reason, flush=flush)

    def answer_order(self, order: Order, status: OrderStatus, reason: str | None) -> None:
        self.answers.append((order, status, reason))

    def events(self) -> list[Event]:
        """What the peer has read so far."""
        return FrameParser(server=False, max_message_bytes=PLENTY).feed(bytes(self.wire.received))

    def messages(self) -> list[dict[str, Any]]:
        """The events that the peer has read so far; a close is `{"event": "close", "code"}`."""
        return list(_as_messages(self.events()))


def _as_messages(events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    for event in events:
        if isinstance(event, Closing):
            yield {"event": "close", "code": event.code}
        else:
            assert isinstance(event, Text), event
            yield json.loads(event.text)
