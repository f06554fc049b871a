"""An independent WebSocket client (the `websockets` library) that speaks our events."""

import json
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from execgate.wire.events import SUBPROTOCOL

TIMEOUT_S = 10.0


class Client:
    """One connection; without `subscribe_at_connect` it offers the subprotocol, and gets nothing until it asks."""

    def __init__(self, address: str, *, subscribe_at_connect: bool = True, **options: Any) -> None:
        subprotocols = None if subscribe_at_connect else [Subprotocol(SUBPROTOCOL)]
        self.connection = connect(
            f"ws://{address}/ws", subprotocols=subprotocols, compression=None, **options
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def send(self, event: str, data: Any = None, message_id: Any = None) -> None:
        message: dict[str, Any] = {"event": event, "data": {} if data is None else data}
        if message_id is not None:
            message["id"] = message_id
        self.connection.send(json.dumps(message))

    def receive(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Return the next event, whatever it is."""
        return dict(json.loads(self.connection.recv(timeout_s)))

    def receive_event(self, event: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Skip to the next `event` and return its message."""
        while True:
            message = self.receive(timeout_s)
            if message["event"] == event:
                return message

    def close_code(self, timeout_s: float = TIMEOUT_S) -> int:
        """Read until the server closes; return its close code."""
        try:
            while True:
                self.connection.recv(timeout_s)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
