"""PURE: the order book of a load generator: every order that was sent ends exactly once.

Called by `order_client.py` (send, answer, disconnect) and by the tick of `crowd.py` (expire). It takes times
as arguments. Rules, which a property test holds:

- an order ends as answered, rejected, timed out or disconnected, whichever comes first, and stays so;
- `sent` is at all times the sum of the four ends and of what is outstanding;
- the deadline decides, not the moment that somebody looks: an answer after it is a late one of an order that
  timed out;
- an answer to nothing (a second one, or another client's) is unexpected, and ends nothing.

Bounded: at most `capacity` orders are outstanding, and as many that timed out are remembered for late answers.
"""

from typing import NamedTuple

DEFAULT_CAPACITY = 100_000


class _Order(NamedTuple):
    client: int
    intended_ns: int
    sent_ns: int


class Times(NamedTuple):
    """How long an answer took: from the real send, and from when the order was due (response time).

    The second is what a closed loop hides: it contains the wait of an order that could not be sent in time.
    """

    service_ns: int
    response_ns: int


class OrderBook:
    """All orders of one process. `request` numbers must be unique; `client` is any number for its sender.

    Attributes:
        sent, answered, rejected, timed_out, disconnected: see the rules above.
        late: answers that came after their order's deadline.
        unexpected: answers to no outstanding order.
    """

    __slots__ = (
        "_by_client",
        "_capacity",
        "_orders",
        "_overdue",
        "_timeout_ns",
        "answered",
        "disconnected",
        "late",
        "rejected",
        "sent",
        "timed_out",
        "unexpected",
    )

    def __init__(self, timeout_ns: int, capacity: int = DEFAULT_CAPACITY) -> None:
        self._timeout_ns = timeout_ns
        self._capacity = capacity
        # In order of sending, which with one timeout for all is the order of their deadlines.
        self._orders: dict[int, _Order] = {}
        self._by_client: dict[int, set[int]] = {}
        self._overdue: dict[int, None] = {}  # timed out and unanswered, the oldest first
        self.sent = 0
        self.answered = 0
        self.rejected = 0
        self.timed_out = 0
        self.disconnected = 0
        self.late = 0
        self.unexpected = 0

    @property
    def outstanding(self) -> int:
        """Orders that have not ended."""
        return len(self._orders)

    @property
    def full(self) -> bool:
        """Whether the bound is reached: an order that is due now must not be sent."""
        return len(self._orders) >= self._capacity

    def send(self, request: int, client: int, intended_ns: int, sent_ns: int) -> None:
        """Enter an order that is sent now.

        Raises:
            ValueError: the book is full or the number is taken; both are the caller's bug.
        """
        if self.full or request in self._orders:
            raise ValueError(f"order {request}: the book is full or holds it already")
        self._orders[request] = _Order(client, intended_ns, sent_ns)
        self._by_client.setdefault(client, set()).add(request)
        self.sent += 1

    def answer(self, request: int, client: int, now_ns: int, *, rejected: bool = False) -> Times | None:
        """Take an answer; return how long it took, or None where it ended no order in time."""
        order = self._orders.get(request)
        if order is None or order.client != client:
            if request in self._overdue:
                del self._overdue[request]
                self.late += 1
            else:
                self.unexpected += 1
            return None
        self._end(request, order)
        if now_ns >= order.sent_ns + self._timeout_ns:
            self.timed_out += 1
            self.late += 1
            return None
        if rejected:
            self.rejected += 1
        else:
            self.answered += 1
        return Times(now_ns - order.sent_ns, now_ns - order.intended_ns)

    def expire(self, now_ns: int) -> int:
        """End the orders whose deadline has passed; return how many."""
        ended = 0
        while self._orders:
            request, order = next(iter(self._orders.items()))
            if now_ns < order.sent_ns + self._timeout_ns:
                break
            self._end(request, order)
            self._overdue[request] = None
            if len(self._overdue) > self._capacity:
                del self._overdue[next(iter(self._overdue))]
            ended += 1
        self.timed_out += ended
        return ended

    def disconnect(self, client: int) -> int:
        """End what `client` has outstanding: its connection is gone; return how many."""
        requests = self._by_client.pop(client, None) or ()
        for request in requests:
            del self._orders[request]
        self.disconnected += len(requests)
        return len(requests)

    def _end(self, request: int, order: _Order) -> None:
        del self._orders[request]
        of_client = self._by_client[order.client]
        of_client.discard(request)
        if not of_client:
            del self._by_client[order.client]
