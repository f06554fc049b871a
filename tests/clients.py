"""Two WebSocket clients that speak our events: an independent one (the `websockets` library), and a raw socket."""

import base64
import json
import os
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from execgate.wire.events import SUBPROTOCOL
from execgate.wire.frame_builder import Opcode, build_masked, header
from execgate.wire.frame_parser import Closing, Event, FrameParser, Text
from tests.certificates import client_context

TIMEOUT_S = 10.0


def tls_context() -> ssl.SSLContext | None:
    """What gateways under test are met with: TLS where the environment has them serve it, None for plain text.

    `EXECGATE_TLS_CERT=... EXECGATE_TLS_KEY=... pytest tests/integration` so runs over TLS.
    """
    certificate = os.environ.get("EXECGATE_TLS_CERT")
    return client_context(Path(certificate)) if certificate else None


class Client:
    """One connection; without `subscribe_at_connect` it offers the subprotocol, and gets nothing until it asks."""

    def __init__(self, address: str, *, subscribe_at_connect: bool = True, **options: Any) -> None:
        subprotocols = None if subscribe_at_connect else [Subprotocol(SUBPROTOCOL)]
        options.setdefault("compression", None)
        options.setdefault("proxy", None)
        options.setdefault("max_queue", None)  # it reads on whatever the test does: only RawClient is slow
        tls = tls_context()
        url = f"{'wss' if tls else 'ws'}://{address}/ws"
        self._connecting = connect(url, subprotocols=subprotocols, ssl=tls, **options)
        self.connection = self._connecting.__enter__()

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
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            message = self.receive(timeout_s)
            if message["event"] == event:
                return message
        raise AssertionError(f"no {event} within {timeout_s} s")

    def ask(self, event: str, data: Any = None, message_id: Any = None) -> dict[str, Any]:
        """Send, and return the next event that is no update, heartbeat or hello."""
        self.send(event, data, message_id)
        while True:
            message = self.receive()
            if message["event"] not in ("receive-execs", "heartbeat", "hello"):
                return message

    def subscribe(self, **data: Any) -> dict[str, Any]:
        """Subscribe and return the data of `subscribed`."""
        answer = self.ask("subscribe-execs", data)
        assert answer["event"] == "subscribed", answer
        return dict(answer["data"])

    def seqs(self, count: int) -> list[int]:
        """Return the seqs of the next `count` updates; only heartbeats may stand between them."""
        return _seqs(self, count)

    def close_code(self, timeout_s: float = TIMEOUT_S) -> int:
        """Read until the server closes; return its close code."""
        try:
            while True:
                self.connection.recv(timeout_s)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


def handshake_request(address: str, path: str = "/ws", /, **headers: str | None) -> bytes:
    """Return a request for a WebSocket; `headers` replace its own, None leaves one out (`_` stands for `-`)."""
    fields: dict[str, str | None] = {
        "Host": address,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": SUBPROTOCOL,
    }
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def open_socket(address: str, receive_buffer: int | None = None) -> socket.socket:
    """Return a connected socket, its TLS handshake done if any; with a small receive buffer if asked for."""
    sock = open_tcp(address, receive_buffer)
    tls = tls_context()
    return sock if tls is None else tls.wrap_socket(sock, server_hostname=address.rpartition(":")[0].strip("[]"))


def open_tcp(address: str, receive_buffer: int | None = None) -> socket.socket:
    """Return a connected TCP socket, whatever the gateway speaks on it."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT_S)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect((host.strip("[]"), int(port)))
    return sock


def exchange(address: str, request: bytes) -> tuple[int, str]:
    """Send `request` as it is; return the status (0: closed without an answer) and all that came."""
    with open_socket(address) as sock:
        sock.sendall(request)
        answer = b""
        try:
            while b"\r\n\r\n" not in answer:
                piece = sock.recv(65536)
                if not piece:
                    break
                answer += piece
        except ConnectionResetError:
            pass
    words = answer.split(maxsplit=2)
    return int(words[1]) if len(words) > 1 else 0, answer.decode(errors="replace")


class RawClient:
    """A WebSocket by hand: it sends what no library would, and reads only when it is told to.

    It answers no ping and no close frame.
    """

    def __init__(
        self,
        address: str,
        *,
        receive_buffer: int | None = None,
        early: bytes = b"",
        path: str = "/ws",
        headers: Mapping[str, str | None] | None = None,
    ) -> None:
        self.socket = open_socket(address, receive_buffer)
        self._parser = FrameParser(server=False, max_message_bytes=1 << 24)
        self._events: list[Event] = []
        self.socket.sendall(handshake_request(address, path, **(headers or {})) + early)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.socket.recv(1)  # not a byte of the frames behind it
            assert piece, head
            head += piece
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.head = head.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, event: str, data: Any = None) -> None:
        self.send_frame(Opcode.TEXT, json.dumps({"event": event, "data": data or {}}).encode())

    def send_frame(self, opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> None:
        mask = os.urandom(4)
        frame = build_masked(opcode, payload, mask, fin=fin)
        self.socket.sendall(frame if masked else header(opcode, len(payload), fin=fin) + payload)

    def next(self, timeout_s: float = TIMEOUT_S) -> Event | None:
        """Return the next message or control frame; None at the end of the stream."""
        self.socket.settimeout(timeout_s)
        while not self._events:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._events += self._parser.feed(data)
        return self._events.pop(0)

    def receive(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Return the next event, past control frames."""
        while True:
            event = self.next(timeout_s)
            assert event is not None, "the connection ended"
            assert not isinstance(event, Closing), event
            if isinstance(event, Text):
                return dict(json.loads(event.text))

    def receive_event(self, name: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Skip to the next event of that name."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            message = self.receive(timeout_s)
            if message["event"] == name:
                return message
        raise AssertionError(f"no {name} within {timeout_s} s")

    def seqs(self, count: int) -> list[int]:
        """Return the seqs of the next `count` updates; only heartbeats may stand between them."""
        return _seqs(self, count)

    def until_closed(self, timeout_s: float = TIMEOUT_S) -> tuple[list[dict[str, Any]], int | None]:
        """Read to the end; return the events before it and the close code, None without a close frame."""
        messages: list[dict[str, Any]] = []
        while True:
            event = self.next(timeout_s)
            if event is None:
                return messages, None
            if isinstance(event, Closing):
                return messages, event.code
            if isinstance(event, Text):
                messages.append(json.loads(event.text))

    def close_code(self, timeout_s: float = TIMEOUT_S) -> int | None:
        return self.until_closed(timeout_s)[1]


def _seqs(client: Client | RawClient, count: int) -> list[int]:
    found: list[int] = []
    deadline = time.monotonic() + TIMEOUT_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"{count} updates awaited, got {found}"
        message = client.receive()
        assert message["event"] in ("receive-execs", "heartbeat", "hello", "subscribed"), message
        if message["event"] == "receive-execs":
            found.append(message["data"]["seq"])
    return found
