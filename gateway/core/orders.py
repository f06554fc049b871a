"""Orders as values: reading an `order-request`, and the answer it gets.

An order is answered with the request's own `request`, `timestamp` and `address`, as they came. `accepted` means
received and valid, not executed.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import ujson

from execgate.wire.errors import shown
from execgate.wire.events import ORDER_RESPONSE

MAX_ROWS = 100
MAX_TEXT = 128
"""Longest `cl_ord_id`, `request` or `address` text, so that what a session remembers is bounded."""


class OrderStatus(StrEnum):
    """How an order ended, as the client is told."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"  # no answer within the deadline: it may or may not have taken effect


@dataclass(slots=True)
class Order:
    """A valid order-request.

    Attributes:
        request, timestamp, address: the client's own, answered as they came.
        execs: at least one row, each an object with a `symbol`.
        cl_ord_id: the client's name for the order, or None.
        message_id: the `id` of the client's message, or None.
        size: bytes of the whole message, which is JSON.
    """

    request: str | int | float
    timestamp: int | float
    address: str | int | float
    execs: list[dict[str, Any]]
    cl_ord_id: str | None
    message_id: str | int | float | None
    size: int


class RejectionError(Exception):
    """Carries the reason why an order is refused from the reader to its answer."""


def read_order(data: dict[str, Any], message_id: Any, size: int) -> Order:
    """Check an order-request against its schema.

    Raises:
        RejectionError: names the field, its value and what was expected.
    """
    request = _name(data, "request")
    timestamp: Any = data.get("timestamp")
    if type(timestamp) not in (int, float) or not 0 <= timestamp < 2**53:
        raise _bad("timestamp", timestamp, "milliseconds since 1970")
    address = _name(data, "address")
    execs: Any = data.get("execs")
    if type(execs) is not list or not 0 < len(execs) <= MAX_ROWS:
        raise _bad("execs", execs, f"a list of 1 to {MAX_ROWS} rows")
    rows: Any = data.get("rows")
    if type(rows) is bool or rows != len(execs):  # True == 1
        raise _bad("rows", rows, f"the number of execs, {len(execs)}")
    for row in execs:
        if type(row) is not dict:
            raise _bad("a row of execs", row, "an object")
        symbol = row.get("symbol")
        if type(symbol) is not str or not symbol:
            raise _bad("symbol", symbol, "a text")
    cl_ord_id = data.get("cl_ord_id")
    if cl_ord_id is not None and (type(cl_ord_id) is not str or not 0 < len(cl_ord_id) <= MAX_TEXT):
        raise _bad("cl_ord_id", cl_ord_id, f"a text of 1 to {MAX_TEXT} characters")
    return Order(request, timestamp, address, execs, cl_ord_id, message_id, size)


def _name(data: dict[str, Any], field: str) -> str | int | float:
    value: Any = data.get(field)
    if not is_name(value):
        raise _bad(field, value, f"a number or a text of 1 to {MAX_TEXT} characters")
    name: str | int | float = value
    return name


def is_name(value: Any) -> bool:
    """Whether `value` may name something of the client's and come back as it was: a short text or a number."""
    kind = type(value)
    if kind is str:
        return 0 < len(value) <= MAX_TEXT
    return kind in (int, float) and -(2.0**64) < value < 2.0**64


def _bad(field: str, value: Any, expected: str) -> RejectionError:
    return RejectionError(f"{field} is {shown(value)}: expected {expected}")


def answer(order: Order, status: OrderStatus, reason: str | None = None) -> bytes:
    """Return the `order-response` to a valid order, as JSON."""
    return _response(order.request, order.timestamp, order.address, status, reason, order.message_id)


def refusal(data: dict[str, Any], reason: str, message_id: Any) -> bytes:
    """Return the `order-response` to a request that is no valid order: its own values as far as they can be."""
    request, timestamp, address = (
        value if is_name(value) else None
        for value in (data.get("request"), data.get("timestamp"), data.get("address"))
    )
    return _response(request, timestamp, address, OrderStatus.REJECTED, reason, message_id)


def _response(
    request: Any, timestamp: Any, address: Any, status: OrderStatus, reason: str | None, message_id: Any
) -> bytes:
    message: dict[str, Any] = {
        "event": ORDER_RESPONSE,
        "data": {
            "request": request,
            "timestamp": timestamp,
            "address": address,
            "status": status,
            "reason": reason,
        },
    }
    if message_id is not None:
        message["id"] = message_id
    # A slash goes out as "\/", the same to any JSON parser: asking ujson not to costs 0.2 us an order.
    return ujson.dumps(message).encode()
