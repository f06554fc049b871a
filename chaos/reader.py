"""A client that resumes: connects anew to any gateway, where it stood, and writes down what it gets.

It judges nothing: the audit does.
"""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import ujson

from execgate.audit.recording import Digests, Fields, Recording
from execgate.wire import events
from loadgen.client import Closed, Connection
from loadgen.core.target import Target
from loadgen.raw_client import RawConnection, RawConnector

_PREFIX = '{"event":"receive-execs","data":'
_UPDATE = re.compile(r'"epoch":"([0-9a-f]{16})","seq":(\d+),"tseq":\d+,"execs"')
_BACKOFF_S = (0.02, 0.5)
_NOT_CONNECTED = 1006
RECEIVE_BUFFER_BYTES = 16 * 1024
"""Of a reader's socket, small on purpose: one that stops reading is met by the gateway at once."""
CONNECT_TIMEOUT_S = 5.0


def new_connector() -> RawConnector:
    """Return what all readers of a crowd connect with."""
    return RawConnector(CONNECT_TIMEOUT_S, receive_buffer_bytes=RECEIVE_BUFFER_BYTES)


class Reader:
    """One client.

    Args:
        name: its own.
        subscription: mode and topics.
        connector: see `new_connector`.
        gateways: any of which will do.
        digests: shared.
        write: gets its records.
        rng: chooses gateways and pauses.
        ignores_position: subscribe anew after each disconnect, as if nothing had come before: the control that the
            audit must find.

    Attributes:
        counts: of `connects`, `resumes` (that asked with a position), `recovered`, `closed-CODE`, `errors`,
            `received`, `gaps`, `stale`.
        resumed_s: of each resume, from the loss of a connection to the next `subscribed`, our pause included.
    """

    def __init__(
        self,
        name: str,
        subscription: dict[str, Any],
        connector: RawConnector,
        gateways: list[Target],
        digests: Digests,
        write: Callable[[Fields], None],
        rng: random.Random,
        *,
        ignores_position: bool = False,
    ) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()
        self.resumed_s: list[float] = []
        self._subscription = subscription
        self._connector = connector
        self._gateways = gateways
        self._rng = rng
        self._ignores_position = ignores_position
        self._lost_s: float | None = None
        self._connection: RawConnection | None = None
        self._ending = False
        self._recording = Recording(name, digests, write)
        self._recording.describe(subscription.get("mode", "all"), subscription.get("topics", ["*"]))

    @property
    def position(self) -> int | None:
        """Everything up to it has passed; None before the first `subscribed`."""
        return self._recording.position

    def connect(self) -> None:
        """Connect to a gateway, any of them."""
        if self._ending:
            return
        self.counts["connects"] += 1
        self._connector.connect(self._rng.choice(self._gateways), self, events.SUBPROTOCOL)

    def drop(self) -> None:
        """Lose the connection without a word."""
        if self._connection is not None:
            self._connection.abort()

    def pause(self, paused: bool) -> None:
        """Stop reading, or read on."""
        if self._connection is not None:
            self._connection.pause(paused)

    def end(self) -> None:
        """Disconnect for good; the last record is written."""
        self._ending = True
        self.drop()
        self._recording.flush()

    def on_open(self, connection: Connection) -> None:
        """See `loadgen.client.Listener`."""
        self._connection = cast("RawConnection", connection)
        if self._ending:
            self.drop()

    def on_failed(self, kind: str, reason: str) -> None:
        """See `loadgen.client.Listener`."""
        self.on_close(Closed(_NOT_CONNECTED, f"{kind}: {reason}"))

    def on_close(self, closed: Closed) -> None:
        """See `loadgen.client.Listener`."""
        self._connection = None
        self._lost_s = self._lost_s or time.monotonic()
        self.counts[f"closed-{closed.code}"] += 1
        self._recording.closed(closed.code, closed.reason)
        if not self._ending:
            asyncio.get_running_loop().call_later(self._rng.uniform(*_BACKOFF_S), self.connect)

    def on_text(self, text: str, received_ns: int, doubt_ns: int) -> None:  # noqa: ARG002  # see `loadgen.client.Listener`
        """Take one message."""
        if text.startswith(_PREFIX):
            found = _UPDATE.search(text, len(_PREFIX))
            if found is not None:
                self.counts["received"] += 1
                self._recording.update(found.group(1), int(found.group(2)), text[len(_PREFIX) : -1])
                return
        message = ujson.loads(text)
        take: Callable[[dict[str, Any]], None] | None = {
            events.HELLO: self._hello,
            events.SUBSCRIBED: self._subscribed,
            events.GAP: self._gap,
            events.FEED: self._feed,
            events.HEARTBEAT: self._recording.heartbeat,
            events.DRAIN: self._drain,
            events.ERROR: self._error,
        }.get(message["event"])
        if take is not None:
            take(message["data"])

    def _hello(self, data: dict[str, Any]) -> None:
        asked, recording = dict(self._subscription), self._recording
        if recording.position is None and data["epoch"]:
            asked["since"] = {"epoch": data["epoch"], "seq": 0}
        elif recording.position is not None and not self._ignores_position:
            asked["since"] = {"epoch": recording.epoch, "seq": recording.position}
            self.counts["resumes"] += 1
        recording.asked(data["session"], asked.get("since"))
        if self._connection is not None:
            self._connection.send_text(events.encode_event(events.SUBSCRIBE, asked))

    def _subscribed(self, data: dict[str, Any]) -> None:
        if self._lost_s is not None:
            self.resumed_s.append(time.monotonic() - self._lost_s)
            self._lost_s = None
        self.counts["recovered"] += data["recovered"]
        self._recording.subscribed(data)

    def _gap(self, data: dict[str, Any]) -> None:
        self.counts["gaps"] += 1
        self.counts[f"gap-{data['why']}"] += 1
        self._recording.gap(data)

    def _feed(self, data: dict[str, Any]) -> None:
        self.counts[data["state"]] += 1
        self._recording.feed(data)

    def _drain(self, _data: dict[str, Any]) -> None:
        self.counts["drains"] += 1
        self.drop()

    def _error(self, data: dict[str, Any]) -> None:
        self.counts["errors"] += 1
        self._recording.write("error", **data)
