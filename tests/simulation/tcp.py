"""A stand-in for a client's TCP connection: the kernel's buffer, the transport that owns the socket, the far end.

What a gateway writes stands in the kernel until the client reads it; what does not fit is the transport's, as with
asyncio. Either end may go, and the other hears of it later.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.clock import Loop

if TYPE_CHECKING:
    from gateway.connection import Connection
    from tests.simulation.world import World

LATENCY_S = 0.004


class Wire(asyncio.Transport):
    """One connection; the gateway's socket and transport in one, and the client's end.

    Args:
        room_bytes: what the kernel holds.
        on_data: called with what the client has read.
        on_end: called once, when the client sees the end.
    """

    def __init__(
        self,
        world: "World",
        loop: Loop,
        room_bytes: int,
        on_data: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__()
        self.protocol: Connection | None = None
        self.stuck_until = 0.0
        self.read_bytes = 1 << 30  # by the client at once
        self.ended = False  # at the client's end
        self.lost = False  # at the gateway's
        self._world = world
        self._loop = loop
        self._room_bytes = room_bytes
        self._on_data, self._on_end = on_data, on_end
        self._kernel = bytearray()
        self._held = bytearray()
        self._is_paused = self._is_reading_soon = self._is_closing = self._has_eof = self._is_reset = False
        self._there_s = 0.0

    # -- the socket

    def send(self, data: Any) -> int:
        assert not self._held, "written past what the transport holds"
        if self._is_reset or self.lost:
            raise ConnectionResetError
        taken = min(self._room_bytes - len(self._kernel), len(data))
        if taken <= 0:
            raise BlockingIOError
        self._kernel += data[:taken]
        self._read_soon()
        return taken

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """What this kernel holds is `room_bytes`, whatever it is asked for."""

    # -- the transport

    def write(self, data: Any) -> None:
        if self._is_reset or self.lost:
            return
        self._held += data
        self._fill()
        if self._held:
            self._is_paused = True

    def get_write_buffer_size(self) -> int:
        return len(self._held)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == low == 0

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._has_eof = True
        self._read_soon()

    def close(self) -> None:
        self._is_closing = True
        if not self._held:
            self._end_gateways()

    def abort(self) -> None:
        self._is_closing = True
        self._held.clear()
        self._end_gateways()

    # -- the client

    def say(self, data: bytes) -> None:
        """The client sends `data`."""
        soonest = self._world.scheduler.now + self._world.random.random() * LATENCY_S
        self._there_s = max(self._there_s, soonest)

        def arrive() -> None:
            if not self.lost:
                self._loop.call_soon(self._hear, data)

        self._world.scheduler.at(self._there_s, arrive)

    def drop(self) -> None:
        """The client is gone, without a word; the gateway hears of it when it hears of it."""
        if self.ended:
            return
        self.ended = True
        self._world.scheduler.after(self._world.random.random() * 0.05, self._reset)

    def cut(self) -> None:
        """The gateway was killed: the client sees a part of what was under way, then the end."""
        self.lost = True
        self._held.clear()
        if self.ended:
            return
        del self._kernel[self._world.random.randint(0, len(self._kernel)) :]
        self._has_eof = True
        self._read_soon()

    def read_on(self) -> None:
        """The client has changed how it reads."""
        self._read_soon()

    def _reset(self) -> None:
        self._is_reset = True
        self._kernel.clear()
        self._held.clear()
        self._world.scheduler.after(self._world.random.random() * 0.01, self._end_gateways)

    def _hear(self, data: bytes) -> None:
        if not self.lost and self.protocol is not None:
            self.protocol.data_received(data)

    def _read_soon(self) -> None:
        if self._is_reading_soon or self.ended:
            return
        self._is_reading_soon = True
        scheduler = self._world.scheduler
        when = max(scheduler.now, self.stuck_until) + self._world.random.random() * LATENCY_S
        scheduler.at(when, self._read)

    def _read(self) -> None:
        self._is_reading_soon = False
        if self.ended:
            return
        if self.stuck_until > self._world.scheduler.now:
            self._read_soon()
            return
        data = bytes(self._kernel[: self.read_bytes])
        del self._kernel[: len(data)]
        if data:
            self._on_data(data)
        if self.ended:  # by what it has read
            return
        if self._kernel:
            self._read_soon()
        elif self._has_eof and not self._held:
            self.ended = True
            self._on_end()
            self._world.scheduler.after(self._world.random.random() * 0.01, self._end_gateways)
            return
        if self._held and not self.lost:
            self._fill()
            if not self._held:
                if self._is_closing:
                    self._end_gateways()
                elif self._is_paused:
                    self._is_paused = False
                    self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        if not self.lost and self.protocol is not None and not self._held:
            self.protocol.resume_writing()

    def _fill(self) -> None:
        taken = max(0, self._room_bytes - len(self._kernel))
        self._kernel += self._held[:taken]
        del self._held[:taken]
        self._read_soon()

    def _end_gateways(self) -> None:
        """The gateway's end is closed: it is told, and the client reads what is left and then the end."""
        if self.lost:
            return
        self.lost = True
        self._held.clear()
        self._has_eof = True
        self._read_soon()
        if self.protocol is not None:
            self._loop.call_soon(self.protocol.connection_lost, None)
