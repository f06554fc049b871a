"""The end of a gateway's clients: told in batches, closed, and not waited for any longer than is written down."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from execgate.wire import events
from execgate.wire.close_codes import CloseCode
from gateway.acceptor import Acceptor
from gateway.connection import Connection
from gateway.core import drain
from gateway.counters import Counters
from gateway.keepalive import Keepalive

log = logging.getLogger("gateway.draining")

_LOOK_S = 0.02


async def stop_accepting(acceptor: Acceptor) -> None:
    """Take who waits in the listener's queue, close the listener, and let the handshakes under way end."""
    await _until(lambda: acceptor.waiting == 0, drain.QUEUE_S)
    acceptor.close()  # in the same turn: who comes between is a matter of microseconds, and counted
    await _until(lambda: acceptor.exchanges == 0, drain.HANDSHAKES_S)


async def drain_clients(keepalive: Keepalive, counters: Counters, drain_s: float) -> None:
    """Tell everybody to leave, by `gateway.core.drain`'s plan; close who does not; return when all are gone."""
    began_s, grace_s = time.monotonic(), drain.grace_s(drain_s)
    notice = events.encode_event(events.DRAIN, {"after_ms": round(grace_s * 1000)})
    log.info("draining connections=%s drain_s=%g grace_s=%g", len(keepalive), drain_s, grace_s)
    untold = deque(keepalive.connections())
    told: deque[tuple[float, list[Connection]]] = deque()  # when to close whom

    def tell(size: int) -> None:
        batch: list[Connection] = []
        while untold and len(batch) < size:
            connection = untold.popleft()
            if not connection.outbound.closing:
                connection.outbound.control(notice)
                batch.append(connection)
        counters.drained += len(batch)
        told.append((time.monotonic() + grace_s, batch))

    def close_due(now_s: float) -> None:
        while told and told[0][0] <= now_s:
            for connection in told.popleft()[1]:
                connection.close(CloseCode.RESTART, "the gateway stops")

    for batch in drain.batches(len(untold), drain_s):
        while len(keepalive) and (wait_s := began_s + batch.at_s - time.monotonic()) > 0:
            await asyncio.sleep(min(wait_s, _LOOK_S))
            close_due(time.monotonic())
        close_due(time.monotonic())
        tell(batch.size)
    known = {connection for _, batch in told for connection in batch}
    untold.extend(connection for connection in keepalive.connections() if connection not in known)
    tell(len(untold))  # whose handshakes ended meanwhile
    while told and len(keepalive):
        await asyncio.sleep(_LOOK_S)
        close_due(time.monotonic())
    await _until(lambda: len(keepalive) == 0, drain.CLOSES_S)


async def _until(is_so: Callable[[], bool], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < deadline_s:
        await asyncio.sleep(_LOOK_S)
