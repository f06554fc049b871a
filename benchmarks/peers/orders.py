"""Shared by the Python peers: the same checks as the gateway's, and the same answer, on an order-request."""

from typing import Any

import ujson


def _is_name(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= 128
    return type(value) in (int, float)


def answer_order(text: str | bytes) -> str | None:
    """Return the answer to `text`, None if it is no order."""
    message = ujson.loads(text)
    if message["event"] != "order-request":
        return None
    data = message["data"]
    execs = data.get("execs")
    reason = None
    if not _is_name(data.get("request")):
        reason = "request"
    elif type(data.get("timestamp")) not in (int, float):
        reason = "timestamp"
    elif not _is_name(data.get("address")):
        reason = "address"
    elif not isinstance(execs, list) or not 0 < len(execs) <= 100 or data.get("rows") != len(execs):
        reason = "execs"
    elif not all(isinstance(row, dict) and isinstance(row.get("symbol"), str) for row in execs):
        reason = "symbol"
    status = "accepted" if reason is None else "rejected"
    own = {name: data.get(name) for name in ("request", "timestamp", "address")}
    return ujson.dumps({"event": "order-response", "data": {**own, "status": status, "reason": reason}})
