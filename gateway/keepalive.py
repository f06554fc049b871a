"""The keepalive wheel: heartbeats, pings, idle and half-sent messages, for all connections by one timer.

Connections stand in slots; each turn serves one slot, so that a heartbeat to 15,000 sessions is spread over its
interval instead of a burst. A dead peer is found by its silence, pings being what it should have answered.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from execgate.wire import events
from execgate.wire.close_codes import CloseCode
from execgate.wire.frame_builder import Opcode, build
from gateway.fanout import Fanout
from gateway.limits import Limits
from gateway.outbound import NOT_BEGUN

if TYPE_CHECKING:
    from gateway.connection import Connection

_SLOTS = 20
_ROUNDS_PER_INTERVAL = 4  # how often a connection is looked at within the shortest interval
_PING = build(Opcode.PING, b"")


class Keepalive:
    """The wheel of one process.

    Attributes:
        now_s: monotonic time of the last turn: a clock without a system call, right to an eightieth of the
            shortest interval.
    """

    def __init__(self, limits: Limits, fanout: Fanout) -> None:
        self._limits = limits
        self._fanout = fanout
        # Dicts for their order, that of the connections, whatever their addresses; the values mean nothing.
        self._slots: list[dict[Connection, None]] = [{} for _ in range(_SLOTS)]
        self._partial: dict[Connection, None] = {}
        self._next_slot = 0
        self._turn = 0
        shortest_s = min(limits.heartbeat_s, limits.ping_s, limits.idle_s, limits.message_timeout_s)
        self._round_s = shortest_s / _ROUNDS_PER_INTERVAL
        self._turn_s = self._round_s / _SLOTS
        self._due_s = 0.0  # of the next turn
        self._timer: asyncio.TimerHandle | None = None
        self.now_s = time.monotonic()

    def __len__(self) -> int:
        return sum(map(len, self._slots))

    def connections(self) -> "list[Connection]":
        """Every connection, open or closing."""
        return [connection for slot in self._slots for connection in slot]

    def __contains__(self, connection: "Connection") -> bool:
        return connection in self._slots[connection.slot]

    def add(self, connection: "Connection") -> None:
        """Give `connection` a slot."""
        connection.slot = self._next_slot
        self._slots[self._next_slot][connection] = None
        self._next_slot = (self._next_slot + 1) % _SLOTS

    def remove(self, connection: "Connection") -> None:
        """Forget `connection`."""
        self._slots[connection.slot].pop(connection, None)
        self._partial.pop(connection, None)

    def watch(self, connection: "Connection") -> None:
        """`connection` has sent a part of a message, which must be whole in time."""
        self._partial[connection] = None

    def start(self) -> None:
        """Begin to turn on the running loop."""
        self.now_s = self._due_s = time.monotonic()
        self._tick()

    def stop(self) -> None:
        """Stop turning."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self.now_s = time.monotonic()
        # Turns have their times, so that a timer that comes late makes no round longer; a full round at the most.
        missed = int((self.now_s - self._due_s) / self._turn_s)
        if missed > _SLOTS:
            self._forgive(missed * self._turn_s)
        self._check_partial()
        for _ in range(min(1 + missed, _SLOTS)):
            self._serve(self._slots[self._turn % _SLOTS])
            self._turn += 1
        self._due_s += (1 + missed) * self._turn_s
        self._timer = asyncio.get_running_loop().call_later(self._due_s - self.now_s, self._tick)

    def _forgive(self, stall_s: float) -> None:
        """It was us who stood still: what peers said meanwhile is dated before it, or not read yet."""
        for connection in self.connections():
            connection.last_seen_s += stall_s
            if connection.partial_since_s:
                connection.partial_since_s += stall_s

    def _serve(self, slot: "dict[Connection, None]") -> None:
        for connection in list(slot):
            self._fanout.give_way()
            if not connection.outbound.closing:
                self._beat(connection)

    def _check_partial(self) -> None:
        timeout_s = self._limits.message_timeout_s
        for connection in list(self._partial):
            if not connection.partial_since_s:
                self._partial.pop(connection, None)
            elif self.now_s - connection.partial_since_s > timeout_s:
                self._partial.pop(connection, None)
                connection.close(CloseCode.POLICY, f"a message that was not whole within {timeout_s:g} s")

    def _beat(self, connection: "Connection") -> None:
        limits, now_s = self._limits, self.now_s
        if now_s - connection.last_seen_s > limits.idle_s:
            connection.close(CloseCode.GOING_AWAY, f"silent for {limits.idle_s:g} s", flush=False)
            return
        due = b""
        # What would be late by the next round goes out in this one: an interval is never exceeded.
        next_round_s = now_s + self._round_s
        is_told = connection.session.interest is not None and connection.outbound.behind != NOT_BEGUN
        if is_told and next_round_s - connection.last_beat_s > limits.heartbeat_s:
            connection.last_beat_s = now_s
            due += self._heartbeat(connection)
        if next_round_s - connection.last_ping_s > limits.ping_s:
            connection.last_ping_s = now_s
            due += _PING
        if due:
            connection.outbound.raw(due)

    def _heartbeat(self, connection: "Connection") -> bytes:
        outbound = connection.outbound
        epoch, seq = outbound.behind or (self._fanout.epoch, self._fanout.seq)
        return events.frame_event(
            events.HEARTBEAT,
            {
                "epoch": epoch,
                "seq": seq,
                "sent": outbound.sent,
                "dropped": outbound.dropped,
                "conflated": outbound.conflated,
            },
        )
