"""The clients that order and time the answers: one that is told when, and that of 2012, which keeps its own time.

Made by `run.py` and `classic.py`. Open loop: an order is due when the schedule says, whatever became of the one
before; one that is due while the client is not connected is counted as unsent, never sent later in a burst.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import ujson

from execgate.measure.pacer import one_random_interval
from execgate.wire import events
from execgate.wire.heritage import random_row
from loadgen.client import Connection
from loadgen.crowd import Crowd, Member
from loadgen.subscriber import BAD_MESSAGE, data_bytes_of

INTERVAL_MS = (50.0, 300.0)
_ANSWER_PREFIX = f'{{"event":"{events.ORDER_RESPONSE}","data":'


class OrderSender(Member):
    """One client that orders when it is told to. It offers the subprotocol, so that it is sent no updates."""

    __slots__ = ("_max_rows",)

    def __init__(self, crowd: Crowd, number: int, max_rows: int) -> None:
        super().__init__(crowd, number, subprotocol=events.SUBPROTOCOL)
        self._max_rows = max_rows

    def send_order(self, due_ns: int) -> None:
        """Send the order that was due at `due_ns`, or count it as unsent."""
        connection, crowd = self._connection, self.crowd
        if connection is None or crowd.book.full:
            crowd.recorder.orders_unsent += 1
            return
        request = crowd.next_request()
        payload = self._order(request)
        now_ns = time.monotonic_ns()
        # The timers of 2012's clients are whole milliseconds and may be early; no answer is owed that soon.
        crowd.book.send(request, self.number, min(due_ns, now_ns), now_ns)
        connection.send_text(payload)

    def on_text(self, text: str, received_ns: int, doubt_ns: int) -> None:
        """Dispatch one event; what is not one is counted, and the client lives."""
        try:
            message = ujson.loads(text)
            event = message["event"]
            data = message["data"]
            if event == events.ORDER_RESPONSE:
                self._take_answer(text, data, received_ns, doubt_ns)
            elif event == events.HELLO:
                self.name = str(data["address"])
            elif event == events.ERROR:
                self.crowd.recorder.errors[f"server error {str(data.get('code'))[:40]}"] += 1
        except BAD_MESSAGE:
            self.crowd.recorder.errors["bad message"] += 1

    def _order(self, request: int) -> bytes:
        now_ms = time.time_ns() // 1_000_000
        date = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        random = self.crowd.random
        rows = random.randint(1, self._max_rows)
        data = {
            "request": request,
            "rows": rows,
            "timestamp": now_ms,
            "address": self.name,
            "execs": [random_row(sequence, date, random) for sequence in range(rows)],
        }
        return events.encode_event(events.ORDER_REQUEST, data)

    def _take_answer(self, text: str, data: dict[str, Any], received_ns: int, doubt_ns: int) -> None:
        crowd = self.crowd
        request, timestamp_ms = data["request"], data["timestamp"]
        if type(request) is not int:
            raise TypeError("an answer to a request that was never a number")
        response_ms = (received_ns // 1000 + crowd.wall_offset_us) / 1000 - timestamp_ms
        size = data_bytes_of(text, data, _ANSWER_PREFIX)
        rejected = data.get("status") == "rejected"
        times = crowd.book.answer(request, self.number, received_ns, rejected=rejected)
        if times is None:
            return
        # It was not there before the order was sent.
        doubt_us = min(doubt_ns, times.service_ns) // 1000
        crowd.recorder.service.record(times.service_ns // 1000, doubt_us)
        crowd.recorder.response.record(times.response_ns // 1000, doubt_us)
        if crowd.metrics is not None:
            crowd.metrics.record(self.name, response_ms, size)


class OrderClient(OrderSender):
    """The request/reply client of 2012: an order every 50 to 300 ms, one interval a client."""

    __slots__ = ("_due_ns", "_schedule", "_start_ns", "_timer")

    def __init__(self, crowd: Crowd, number: int, max_rows: int) -> None:
        super().__init__(crowd, number, max_rows)
        self._schedule = one_random_interval(crowd.random, *INTERVAL_MS)
        self._start_ns = 0  # the schedule begins when the client is first connected
        self._due_ns = 0
        self._timer: asyncio.TimerHandle | None = None

    def on_open(self, connection: Connection) -> None:
        """See `client.Listener`; the first time it starts the schedule, which never stops for anything."""
        super().on_open(connection)
        if not self._start_ns and not self.crowd.stopping:
            self._start_ns = time.monotonic_ns()
            self._plan_next()

    def stop_sending(self) -> None:
        """Order no more; answers are still taken."""
        super().stop_sending()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan_next(self) -> None:
        self._due_ns = self._start_ns + next(self._schedule)
        delay_s = (self._due_ns - time.monotonic_ns()) / 1e9
        self._timer = self.crowd.loop.call_later(max(0.0, delay_s), self._send_due)

    def _send_due(self) -> None:
        """Send the order that is due; a loop that fell behind finds the next one due at once."""
        self.send_order(self._due_ns)
        self._plan_next()
