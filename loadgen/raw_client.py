"""Our own WebSocket client: an asyncio protocol on a plain or TLS transport, with the shared frame parser.

The first implementation of `client.py`. It exists because a client's own cost changes the answer: per message
there is one read, one parse and one call. It never decides when to connect again; its listener does.
"""

import asyncio
import errno
import os
import socket
import ssl
import time
from asyncio import Transport
from contextlib import suppress
from functools import cached_property
from typing import cast

from execgate.wire import frame_builder
from execgate.wire.close_codes import CloseCode
from execgate.wire.frame_builder import Opcode
from execgate.wire.frame_parser import Binary, Closing, Failure, FrameParser, Ping, Text
from loadgen.client import Closed, Listener
from loadgen.core.handshake import KEY_BYTES, Handshake, HandshakeError
from loadgen.core.target import Target

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
CLOSE_TIMEOUT_S = 1.0
_ABNORMAL = 1006
_IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); Python names it from 3.12 on
_IP_LOCAL_PORT_RANGE = 51  # ip(7), from Linux 6.3 on; Python does not name it
_FROM_PORT_1 = 1
_ERROR_KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EMFILE: "out of file descriptors",
    errno.ENFILE: "out of file descriptors",
    errno.EADDRNOTAVAIL: "out of ports",
}


def kind_of(error: OSError) -> str:
    """Return the word under which an error of the operating system, or of TLS, is counted."""
    if isinstance(error, ssl.SSLError):  # whose numbers are OpenSSL's
        return "tls"
    number = error.errno or 0
    return _ERROR_KINDS.get(number, errno.errorcode.get(number, "network").lower())


class RawConnector:
    """Connects over TCP, or TLS, and shakes hands, all within one timeout.

    Args:
        timeout_s: for one attempt.
        insecure_tls: accept any certificate; else one that the system's authorities vouch for.
        receive_buffer_bytes: of the kernel, for a client that is to be slow; None leaves it to the kernel.
    """

    def __init__(
        self, timeout_s: float, *, insecure_tls: bool = False, receive_buffer_bytes: int | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._receive_buffer_bytes = receive_buffer_bytes
        self._insecure_tls = insecure_tls
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self, target: Target, listener: Listener, subprotocol: str | None) -> None:
        """See `client.Connector`."""
        connection = RawConnection(listener, Handshake(target, os.urandom(KEY_BYTES), subprotocol))
        # The task lives only as long as the handshake: an established client costs none.
        task = asyncio.get_running_loop().create_task(self._connect(target, connection, listener))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """See `client.Connector`."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._insecure_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    async def _connect(self, target: Target, connection: "RawConnection", listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        name = target.certificate_name
        tls = None if name is None else self._tls
        # Cut off in create_connection, uvloop closes the socket and tells nobody, even if it was in use by then.
        is_ours = False
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._receive_buffer_bytes is None and target.source is None:
                    await loop.create_connection(
                        lambda: connection, target.host, target.port, ssl=tls, server_hostname=name
                    )
                else:
                    sock = await _connected(target, self._receive_buffer_bytes)
                    await loop.create_connection(lambda: connection, ssl=tls, server_hostname=name, sock=sock)
                is_ours = True
                await connection.wait_open()
            return
        except TimeoutError:
            if connection.is_open:  # it opened in the very turn in which its time was up
                if not is_ours:
                    connection.connection_lost(None)
                return
            kind, reason = "timeout", f"no connection and handshake within {self._timeout_s * 1000:.0f} ms"
        except HandshakeError as error:
            kind, reason = "handshake", str(error)
        except OSError as error:
            kind, reason = kind_of(error), error.strerror or str(error)
        except asyncio.CancelledError:
            if not connection.is_open:
                connection.abort()
            elif not is_ours:
                connection.connection_lost(None)
            raise
        connection.abort()
        listener.on_failed(kind, reason)


async def _connected(target: Target, receive_buffer_bytes: int | None) -> socket.socket:
    """Return a socket that is connected from the target's source, with a receive buffer of that size.

    Either may be None; both have to be set before it connects.

    Raises:
        OSError: there is no connection.
    """
    family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        if target.source is not None:
            # The port is chosen when it connects: it has to be free for that one server, not for all.
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((target.source, 0))
        # A range of its own, even all ports, has the kernel try one port after the other. Else it tries all even
        # ones before an odd one: a connect takes 1 ms instead of 0.04 once half of the ports are in use.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, _FROM_PORT_1)
        await asyncio.get_running_loop().sock_connect(sock, (target.host, target.port))
    except BaseException:
        sock.close()
        raise
    return sock


class RawConnection(asyncio.Protocol):
    """One connection, from its TCP handshake to its end."""

    __slots__ = ("_close_timer", "_closed", "_handshake", "_listener", "_opened", "_parser", "_transport")

    def __init__(self, listener: Listener, handshake: Handshake) -> None:
        self._listener = listener
        self._handshake: Handshake | None = handshake
        self._opened: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._parser: FrameParser | None = None
        self._transport: Transport | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._closed: Closed | None = None  # why it ends, once that is known

    @property
    def is_open(self) -> bool:
        """Whether the handshake was done (the connection may have ended since)."""
        return self._parser is not None

    async def wait_open(self) -> None:
        """Wait for the end of the handshake.

        Raises:
            HandshakeError, OSError: there is no connection.
        """
        opened = self._opened
        if opened is not None:
            await opened

    def abort(self) -> None:
        """Drop the connection without a word; also while it is being made."""
        self._opened = None
        if self._transport is not None:
            self._transport.abort()

    def pause(self, paused: bool) -> None:
        """Stop reading, or read on: the peer then meets a client that takes nothing."""
        transport = self._transport
        if transport is None or transport.is_closing() or paused is not transport.is_reading():
            return
        if paused:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is there, and TLS if any: ask for the upgrade."""
        self._transport = transport = cast("Transport", transport)  # uvloop's class is none of asyncio's
        if self._handshake is not None:
            transport.write(self._handshake.request)

    def data_received(self, data: bytes) -> None:
        """The hot road: one read, its frames, a call for each message."""
        received_ns = time.monotonic_ns()
        parser = self._parser
        if parser is None:
            rest = self._shake_hands(data)
            parser = self._parser
            if not rest or parser is None:
                return
            data = rest
        listener = self._listener
        for event in parser.feed(data):
            if type(event) is Text:
                listener.on_text(event.text, received_ns)
            elif type(event) is Ping:
                self._send(Opcode.PONG, event.payload)
            elif type(event) is Binary:
                listener.on_text(event.data.decode(errors="replace"), received_ns)
            elif type(event) is Closing:
                self._end(Closed(event.code or 1005, event.reason), event.code or CloseCode.NORMAL)
            elif type(event) is Failure:
                self._end(Closed(int(event.code), f"the server broke the protocol: {event.reason}"), event.code)

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        if self._transport is None:  # said before, see `RawConnector._connect`
            return
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        self._transport = None
        if self._parser is None:
            lost = error if isinstance(error, OSError) else ConnectionResetError(errno.ECONNRESET, "closed")
            self._fail(lost)
            return
        listener, closed = self._listener, self._closed
        listener.on_close(closed or Closed(_ABNORMAL, str(error) if error else "closed without a close frame"))

    def send_text(self, payload: bytes) -> None:
        """See `client.Connection`."""
        if self._closed is None:
            self._send(Opcode.TEXT, payload)

    def close(self) -> None:
        """See `client.Connection`."""
        if self._closed is None and self._transport is not None:
            self._closed = Closed(CloseCode.NORMAL, "closed by us")
            self._send(Opcode.CLOSE, frame_builder.close_payload(CloseCode.NORMAL))
            # RFC 6455 7.1.1: the server closes TCP; one that does not is not waited for.
            loop = asyncio.get_running_loop()
            self._close_timer = loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def fileno(self) -> int:
        """See `client.Connection`."""
        used = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if used is None else int(used.fileno())

    def _shake_hands(self, data: bytes) -> bytes | None:
        if self._handshake is None:
            return None
        try:
            rest = self._handshake.feed(data)
        except HandshakeError as error:
            self._fail(error)
            return None
        if rest is not None and self._opened is not None:
            self._handshake = None
            self._parser = FrameParser(server=False, max_message_bytes=MAX_MESSAGE_BYTES)
            if not self._opened.done():
                self._opened.set_result(None)
            self._opened = None
            self._listener.on_open(self)
        return rest

    def _fail(self, error: Exception) -> None:
        self._handshake = None
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    def _end(self, closed: Closed, code: int) -> None:
        """The server closes, or must be closed on: answer with a close frame and let the socket go."""
        transport = self._transport
        if transport is None:
            return
        if self._closed is None:
            self._closed = closed
            self._send(Opcode.CLOSE, frame_builder.close_payload(code))
        transport.close()

    def _send(self, opcode: Opcode, payload: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame_builder.build_masked(opcode, payload, os.urandom(4)))
