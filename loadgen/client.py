"""The interface that a WebSocket client library sits behind, so that another can be measured in its place.

The crowd calls a `Connector`; the library calls a `Listener`. `raw_client.py` is the implementation.

The contract: `connect` returns at once, and leads to exactly one of `on_open` and `on_failed`. After `on_open`
come any number of `on_text` and exactly one `on_close`, whoever closed, and nothing after it. All in the event
loop that `connect` was called in.
"""

from dataclasses import dataclass
from typing import Protocol

from execgate.measure.histogram import Histogram
from loadgen.core.target import Target


@dataclass(frozen=True, slots=True)
class Closed:
    """How a connection ended: the server's close code, or 1006 where it just went away (RFC 6455 7.1.5)."""

    code: int
    reason: str = ""


class Connection(Protocol):
    """An open connection."""

    def send_text(self, payload: bytes) -> None:
        """Send one text message of UTF-8 bytes; ignored once the connection is closing."""

    def close(self) -> None:
        """Close with 1000; `on_close` follows, at the latest after a second."""

    def abort(self) -> None:
        """Drop the connection without a word; `on_close` follows."""

    def pause(self, paused: bool) -> None:
        """Stop reading, or read on: the peer then meets a client that takes nothing."""


class Listener(Protocol):
    """Who is told what happens to a connection."""

    def on_open(self, connection: Connection) -> None:
        """The handshake is done."""

    def on_text(self, text: str, received_ns: int, doubt_ns: int) -> None:
        """A message (one of bytes is read as UTF-8) has come.

        Args:
            text: the message.
            received_ns: the monotonic time at which the kernel had its last bytes.
            doubt_ns: it may have been so much earlier; 0 where the time is exact.
        """

    def on_close(self, closed: Closed) -> None:
        """The connection is gone."""

    def on_failed(self, kind: str, reason: str) -> None:
        """There is no connection. `kind` is one word or two for counting: refused, timeout, handshake, ..."""


class Connector(Protocol):
    """A client library.

    Attributes:
        unread_us: how long each read came after the kernel had the bytes, in us; whoever takes it clears it.
    """

    unread_us: Histogram

    def connect(self, target: Target, listener: Listener, subprotocol: str | None) -> None:
        """Begin to connect."""

    async def close(self) -> None:
        """Give up what is still connecting (nobody is told), and free what the connector holds."""
