"""One WebSocket connection of the crowd: the shared handshake and parser on a socket that can be made slow.

`loadgen.raw_client` is built for speed and never holds a socket back; here a small receive buffer and `pause` are
the point.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import cast

from execgate.wire import frame_builder
from execgate.wire.close_codes import CloseCode
from execgate.wire.events import SUBPROTOCOL
from execgate.wire.frame_builder import Opcode
from execgate.wire.frame_parser import Closing, Failure, FrameParser, Ping, Text
from loadgen.core.handshake import KEY_BYTES, Handshake, HandshakeError
from loadgen.core.target import Target

RECEIVE_BUFFER_BYTES = 16 * 1024
CONNECT_TIMEOUT_S = 5.0
_ABNORMAL = 1006


class Connection(asyncio.Protocol):
    """From connected to closed.

    Args:
        target: the gateway.
        on_text: gets each message.
        on_end: gets the close code and its reason, once, whatever happens.
    """

    def __init__(self, target: Target, on_text: Callable[[str], None], on_end: Callable[[int, str], None]) -> None:
        self._handshake: Handshake | None = Handshake(target, os.urandom(KEY_BYTES), SUBPROTOCOL)
        self._parser = FrameParser(server=False, max_message_bytes=1 << 22)
        self._on_text = on_text
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._why = (_ABNORMAL, "the connection was lost")
        self._timer: asyncio.TimerHandle | None = None

    async def connect(self, target: Target) -> None:
        """Connect; `on_end` is called if that fails."""
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(sock, (target.host, target.port))
            await loop.create_connection(lambda: self, sock=sock)
        except (OSError, TimeoutError) as error:
            sock.close()
            self._on_end(_ABNORMAL, f"not connected: {error}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        if self._handshake is not None:
            self._transport.write(self._handshake.request)
        self._timer = asyncio.get_running_loop().call_later(CONNECT_TIMEOUT_S, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Hand over each message, answer pings and the close frame."""
        if self._handshake is not None:
            try:
                rest = self._handshake.feed(data)
            except HandshakeError as error:
                self._abort(_ABNORMAL, str(error))
                return
            if rest is None:
                return
            self._handshake, data = None, rest
            if self._timer is not None:
                self._timer.cancel()
        for event in self._parser.feed(data):
            if type(event) is Text:
                self._on_text(event.text)
            elif type(event) is Ping:
                self._send(Opcode.PONG, event.payload)
            elif type(event) is Closing:
                code = event.code or CloseCode.NORMAL
                self._send(Opcode.CLOSE, frame_builder.close_payload(code))
                self._why = int(code), event.reason
                if self._transport is not None:
                    self._transport.close()
            elif type(event) is Failure:
                self._abort(int(event.code), f"the gateway broke the protocol: {event.reason}")

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if exc is not None and self._why[0] == _ABNORMAL:
            self._why = _ABNORMAL, str(exc)
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._on_end(*self._why)

    def send(self, payload: bytes) -> None:
        """Send one text message."""
        self._send(Opcode.TEXT, payload)

    def pause(self, paused: bool) -> None:
        """Stop reading, or read on."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if paused and transport.is_reading():
            transport.pause_reading()
        elif not paused and not transport.is_reading():
            transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._abort(_ABNORMAL, "dropped by us")

    def _give_up(self) -> None:
        self._abort(_ABNORMAL, "no handshake in time")

    def _abort(self, code: int, why: str) -> None:
        self._why = code, why
        if self._transport is not None:
            self._transport.abort()

    def _send(self, opcode: Opcode, payload: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame_builder.build_masked(opcode, payload, os.urandom(4)))
