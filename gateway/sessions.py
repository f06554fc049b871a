"""What an operator can do with sessions at the admin socket: see them, page by page, and close one."""

import time
from heapq import nlargest, nsmallest
from typing import Any

from execgate.service.admin import Request, Verb
from execgate.wire.close_codes import CloseCode
from gateway.connection import Connection
from gateway.keepalive import Keepalive

PAGE = 200
SLOWEST = 10
TOPICS_SHOWN = 5
"""Of a subscription, which may have 1,000; `topics_left_out` tells the others."""


def verbs(keepalive: Keepalive) -> dict[str, Verb]:
    """Return what the admin socket of a gateway can do on top of every daemon's."""

    def sessions(request: Request) -> dict[str, Any]:
        after = _whole_number(request, "after", 0)
        later = (each for each in keepalive.connections() if number_of(each) > after)
        page = nsmallest(PAGE, later, key=number_of)
        now_s = time.monotonic()
        last = number_of(page[-1]) if len(page) == PAGE else None
        return {"sessions": [_told(connection, now_s) for connection in page], "next": last}

    def slowest(_request: Request) -> dict[str, Any]:
        behind = (each for each in keepalive.connections() if each.outbound.backlog_bytes)
        most = nlargest(SLOWEST, behind, key=lambda each: each.outbound.backlog_bytes)
        now_s = time.monotonic()
        return {"sessions": [_told(connection, now_s) for connection in most]}

    def kick(request: Request) -> dict[str, Any]:
        number = _whole_number(request, "id", None)
        for connection in keepalive.connections():
            if number_of(connection) == number and not connection.outbound.closing:
                connection.close(CloseCode.POLICY, "an operator has closed it")
                return {"kicked": number, "session": connection.session_name}
        raise ValueError(f"id {number}: no such session; it may have left")

    return {"sessions": sessions, "slowest": slowest, "kick": kick}


def number_of(connection: Connection) -> int:
    """Return the number of a connection in its process, which its session's name ends with."""
    return int(connection.key.rpartition(":")[2])


def _told(connection: Connection, now_s: float) -> dict[str, Any]:
    outbound, interest = connection.outbound, connection.session.interest
    topics = sorted(interest.patterns) if interest else []
    return {
        "id": number_of(connection),
        "session": connection.session_name,
        "address": connection.key.rpartition(":")[0],
        "mode": outbound.mode.value if interest else None,
        "topics": topics[:TOPICS_SHOWN],
        "topics_left_out": max(0, len(topics) - TOPICS_SHOWN),
        "age_s": round(now_s - connection.opened_s, 1),
        "silent_s": round(now_s - connection.last_seen_s, 1),
        "queued_updates": outbound.queued,
        "queued_bytes": outbound.backlog_bytes,
        "sent": outbound.sent,
        "dropped": outbound.dropped,
        "conflated": outbound.conflated,
        "closing": outbound.closing,
    }


def _whole_number(request: Request, name: str, default: int | None) -> int:
    value = request.get(name, default)
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} {value!r}: expected a whole number from 0")
    return value
