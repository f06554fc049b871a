"""The order desk: every order that a session accepts ends exactly once, whoever answers it and whenever.

    placed -> accepted | rejected (the handler settled it)
           -> unknown (its deadline passed first)
           -> disconnected (its session ended first)

The handler is the seam: it takes a valid order and settles it later. The gateway's own answers at once; an order
desk behind ZeroMQ will be the second.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from execgate.measure.classic import ClassicMetrics
from gateway.core.orders import Order, OrderStatus
from gateway.counters import Counters

if TYPE_CHECKING:
    from gateway.connection import Connection

MAX_PENDING = 100
"""Orders of one session that wait for their end; one more is rejected."""

_SWEEP_S = 0.1


class PendingOrder:
    """An order under way; `settle` is the handler's, and only the first end counts."""

    __slots__ = ("_desk", "began_s", "connection", "deadline_s", "order", "settled")

    def __init__(self, desk: "OrderDesk", order: Order, connection: "Connection") -> None:
        self._desk = desk
        self.order = order
        self.connection = connection
        self.began_s = time.monotonic()
        self.deadline_s = 0.0
        self.settled = False

    def settle(self, status: OrderStatus, reason: str | None = None) -> None:
        """Give the order its end; after another end it is only counted."""
        self._desk.settle(self, status, reason)


class OrderHandler(Protocol):
    """Takes orders; settles each, now or later."""

    def submit(self, pending: PendingOrder) -> None:
        """Take one valid order; must not block."""
        ...


class ImmediateHandler:
    """Accepts every valid order at once: received and valid, not executed."""

    def submit(self, pending: PendingOrder) -> None:
        """Settle the order."""
        pending.settle(OrderStatus.ACCEPTED)


class OrderDesk:
    """Between the sessions and the handler.

    Args:
        handler: settles orders.
        timeout_s: an order that has no end by then is `unknown`.
        counters: `orders` of this process.
        metrics: the 2012 server-side figures; None when nobody wants them.
    """

    def __init__(
        self,
        handler: OrderHandler,
        timeout_s: float,
        counters: Counters,
        metrics: ClassicMetrics | None = None,
    ) -> None:
        self._handler = handler
        self._timeout_s = timeout_s
        self._counters = counters
        self._metrics = metrics
        # Orders that were not settled at once; in the order of their deadlines, as a dict keeps its keys.
        self._pending: dict[PendingOrder, None] = {}
        self._per_connection: dict[Connection, dict[PendingOrder, None]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def place(self, order: Order, connection: "Connection") -> bool:
        """Take an order from a session; its answer goes to that session.

        Returns:
            False where too many of its orders wait: it was rejected, the handler never saw it, and it may come
            again.
        """
        if self._metrics is not None:
            response_ms = time.time() * 1000 - order.timestamp
            self._metrics.record(connection.key, response_ms, order.size)
        pending = PendingOrder(self, order, connection)
        if self._per_connection and len(self._per_connection.get(connection, ())) >= MAX_PENDING:
            self.settle(pending, OrderStatus.REJECTED, f"{MAX_PENDING} orders of this session are under way")
            return False
        self._handler.submit(pending)
        if not pending.settled:
            self._wait_for(pending)
        return True

    def settle(self, pending: PendingOrder, status: OrderStatus, reason: str | None) -> None:
        """End `pending`, unless it has ended."""
        if pending.settled:
            self._counters.orders["late"] += 1
            return
        self._end(pending, status)
        pending.connection.answer_order(pending.order, status, reason)

    def forget(self, connection: "Connection") -> None:
        """The session is gone: its orders under way end as disconnected."""
        for pending in list(self._per_connection.get(connection, ())):
            self._end(pending, "disconnected")

    def close(self) -> None:
        """Stop sweeping."""
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _end(self, pending: PendingOrder, how: str) -> None:
        pending.settled = True
        self._counters.orders[how] += 1
        self._counters.order_s.observe(time.monotonic() - pending.began_s)
        if pending in self._pending:  # it had to wait
            del self._pending[pending]
            of_connection = self._per_connection[pending.connection]
            del of_connection[pending]
            if not of_connection:
                del self._per_connection[pending.connection]

    def _wait_for(self, pending: PendingOrder) -> None:
        pending.deadline_s = time.monotonic() + self._timeout_s
        self._pending[pending] = None
        self._per_connection.setdefault(pending.connection, {})[pending] = None
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        now_s = time.monotonic()
        while self._pending:
            oldest = next(iter(self._pending))
            if oldest.deadline_s > now_s:
                break
            self.settle(oldest, OrderStatus.UNKNOWN, f"no answer within {self._timeout_s:g} s")
        self._sweeper = None
        if self._pending:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)
