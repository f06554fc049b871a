"""Our own WebSocket client, on a plain socket or one with TLS, with the shared frame parser.

The implementation of `client.py`. It exists because a client's own cost changes the answer, and its own lateness
must not: per message there is one read with the kernel's stamp, one parse and one call. It never decides when to
connect again; its listener does.
"""

import asyncio
import errno
import os
import select
import socket
import ssl
import time
from contextlib import suppress
from functools import cached_property

from execgate.measure.histogram import Histogram
from execgate.wire import frame_builder
from execgate.wire.close_codes import CloseCode
from execgate.wire.frame_builder import Opcode
from execgate.wire.frame_parser import Binary, Closing, Event, Failure, FrameParser, Ping, Text
from loadgen.client import Closed, Listener
from loadgen.core.handshake import KEY_BYTES, Handshake, HandshakeError
from loadgen.core.target import Target
from loadgen.receiver import READ_BYTES, STAMP_SPACE, Receiver, ask_for_stamps, received_ns
from loadgen.tls_bytes import TlsBytes

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
CLOSE_TIMEOUT_S = 1.0
MAX_UNSENT_BYTES = 1024 * 1024
"""That wait for a server which does not read; with more the connection is dropped."""
_LATE_NS = 200_000
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


def _reason_of(error: OSError) -> str:
    """Return the system's words, which name no address: equal reasons are counted together."""
    if isinstance(error, ssl.SSLError) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)


class RawConnector:
    """Connects over TCP, or TLS, and shakes hands, all within one timeout.

    Args:
        timeout_s: for one attempt.
        insecure_tls: accept any certificate; else one that the system's authorities vouch for.
        receive_buffer_bytes: of the kernel, for a client that is to be slow; None leaves it to the kernel.

    Attributes:
        unread_us: see `client.Connector`.
    """

    def __init__(
        self, timeout_s: float, *, insecure_tls: bool = False, receive_buffer_bytes: int | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._receive_buffer_bytes = receive_buffer_bytes
        self._insecure_tls = insecure_tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._receiver = Receiver()
        self.unread_us = Histogram()

    def connect(self, target: Target, listener: Listener, subprotocol: str | None) -> None:
        """See `client.Connector`."""
        handshake = Handshake(target, os.urandom(KEY_BYTES), subprotocol)
        connection = RawConnection(listener, handshake, self._receiver, self.unread_us)
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
        name = target.certificate_name
        try:
            async with asyncio.timeout(self._timeout_s):
                sock = await _connected(target, self._receive_buffer_bytes)
                connection.begin(sock, None if name is None else TlsBytes(self._tls, name))
                await connection.wait_open()
            return
        except TimeoutError:
            if connection.is_open:  # it opened in the very turn in which its time was up
                return
            kind, reason = "timeout", f"no connection and handshake within {self._timeout_s * 1000:.0f} ms"
        except HandshakeError as error:
            kind, reason = "handshake", str(error)
        except OSError as error:
            kind, reason = kind_of(error), _reason_of(error)
        except asyncio.CancelledError:
            if not connection.is_open:
                connection.abort()
            raise
        connection.abort()
        listener.on_failed(kind, reason)


async def _connected(target: Target, receive_buffer_bytes: int | None) -> socket.socket:
    """Return a socket that is connected, from the target's source if it has one, and has stamps.

    Raises:
        OSError: there is no connection.
    """
    family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        ask_for_stamps(sock)
        if receive_buffer_bytes is not None:  # it has to be set before it connects
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
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


class RawConnection:
    """One connection, from its TCP handshake to its end.

    Args:
        listener: who is told.
        handshake: to be done first.
        receiver: which calls when there is something to read.
        unread_us: see `client.Connector`.
    """

    __slots__ = (
        "_close_timer",
        "_closed",
        "_descriptor",
        "_full_bytes",
        "_handshake",
        "_is_ending",
        "_is_paused",
        "_listener",
        "_opened",
        "_parser",
        "_receiver",
        "_sock",
        "_tls",
        "_unread_us",
        "_unsent",
    )

    def __init__(self, listener: Listener, handshake: Handshake, receiver: Receiver, unread_us: Histogram) -> None:
        self._listener = listener
        self._handshake: Handshake | None = handshake
        self._receiver = receiver
        self._unread_us = unread_us
        self._opened: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._sock: socket.socket | None = None
        self._descriptor = -1
        self._full_bytes = 0  # with so much unread the server may not send any more
        self._tls: TlsBytes | None = None
        self._parser: FrameParser | None = None
        self._unsent: bytearray | None = None  # what the socket had no room for
        self._is_paused = False
        self._is_ending = False  # once all is sent
        self._close_timer: asyncio.TimerHandle | None = None
        self._closed: Closed | None = None  # why it ends, once that is known

    @property
    def is_open(self) -> bool:
        """Whether the handshake was done (the connection may have ended since)."""
        return self._parser is not None

    def begin(self, sock: socket.socket, tls: TlsBytes | None) -> None:
        """Ask for the upgrade on a socket that is connected and does not block."""
        self._sock, self._tls = sock, tls
        self._descriptor = sock.fileno()
        # The window is closed by what its packets take of memory, up to twice as much as they bring.
        self._full_bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 4
        self._watch()
        if tls is not None:
            self._write(tls.take_unsent())
        elif self._handshake is not None:
            self._write(self._handshake.request)

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
        self._end_with(None)

    def pause(self, paused: bool) -> None:
        """Stop reading, or read on: the peer then meets a client that takes nothing."""
        self._is_paused = paused
        self._watch()

    def read_ready(self) -> None:
        """The hot road: one read, its frames, a call for each message."""
        sock = self._sock
        if sock is None:
            return
        try:
            data, ancillary, _, _ = sock.recvmsg(READ_BYTES, STAMP_SPACE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end_with(error)
            return
        wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
        stamp_ns = received_ns(ancillary, wall_ns, now_ns)
        if stamp_ns:
            self._unread_us.record((now_ns - stamp_ns) // 1000)
        if not data:
            self._end_with(None)
            return
        if len(data) == READ_BYTES:
            self._receiver.is_unread()
        is_full = len(data) >= self._full_bytes
        if self._tls is not None:
            data = self._decrypted(self._tls, data)
        if self._parser is None:
            data = self._shake_hands(data)
        parser = self._parser
        if not data or parser is None:
            return
        events = parser.feed(data)
        if stamp_ns and len(events) == 1 and type(events[0]) is Text and not parser.is_mid_message:
            self._listener.on_text(events[0].text, stamp_ns, 0)  # the usual case
        elif events:
            self._take(events, stamp_ns, now_ns, is_full=is_full)

    def write_ready(self) -> None:
        """There is room for what waits to be sent."""
        unsent, self._unsent = self._unsent, None
        if unsent:
            self._write(bytes(unsent))
        if not self._unsent:
            self._watch()
            if self._is_ending:
                self._end_with(None)

    def send_text(self, payload: bytes) -> None:
        """See `client.Connection`."""
        if self._closed is None:
            self._send(Opcode.TEXT, payload)

    def close(self) -> None:
        """See `client.Connection`."""
        if self._closed is None and self._sock is not None:
            self._closed = Closed(CloseCode.NORMAL, "closed by us")
            self._send(Opcode.CLOSE, frame_builder.close_payload(CloseCode.NORMAL))
            # RFC 6455 7.1.1: the server closes TCP; one that does not is not waited for.
            loop = asyncio.get_running_loop()
            self._close_timer = loop.call_later(CLOSE_TIMEOUT_S, self.abort)

    def _take(self, events: list[Event], stamp_ns: int, now_ns: int, *, is_full: bool) -> None:
        """Tell of what was read.

        Args:
            events: that it made.
            stamp_ns: the monotonic time at which the kernel had the last packet of it; 0 where it does not say.
            now_ns: it was read.
            is_full: so much waited that the kernel may have kept the server from sending.
        """
        parser, listener = self._parser, self._listener
        at_ns = stamp_ns or now_ns
        # The stamp is the last packet's: of what came in an earlier one it is only known that it was not later.
        exact = len(events) - 1 if stamp_ns and parser is not None and not parser.is_mid_message else len(events)
        doubt_ns = max(0, at_ns - self._receiver.earliest_ns()) if exact else 0
        if is_full and doubt_ns > _LATE_NS:
            # And by our own fault: how long it had to wait with them nobody knows.
            exact, doubt_ns = len(events), at_ns
        for place, event in enumerate(events):
            if type(event) is Text:
                listener.on_text(event.text, at_ns, doubt_ns if place < exact else 0)
            elif type(event) is Ping:
                self._send(Opcode.PONG, event.payload)
            elif type(event) is Binary:
                listener.on_text(event.data.decode(errors="replace"), at_ns, doubt_ns if place < exact else 0)
            elif type(event) is Closing:
                self._answer_close(Closed(event.code or 1005, event.reason), event.code or CloseCode.NORMAL)
            elif type(event) is Failure:
                self._answer_close(
                    Closed(int(event.code), f"the server broke the protocol: {event.reason}"), event.code
                )

    def _decrypted(self, tls: TlsBytes, data: bytes) -> bytes:
        was_open = tls.is_open
        try:
            plain = tls.decrypt(data)
        except ssl.SSLError as error:
            self._write(tls.take_unsent())
            self._end_with(error)
            return b""
        self._write(tls.take_unsent())
        if not was_open and tls.is_open and self._handshake is not None:
            self._write(tls.encrypt(self._handshake.request))
        return plain

    def _shake_hands(self, data: bytes) -> bytes:
        """Return what was read beyond the handshake's end."""
        if self._handshake is None or not data:
            return b""
        try:
            rest = self._handshake.feed(data)
        except HandshakeError as error:
            self._end_with(error)
            return b""
        if rest is None or self._opened is None:
            return b""
        self._handshake = None
        self._parser = FrameParser(server=False, max_message_bytes=MAX_MESSAGE_BYTES)
        if not self._opened.done():
            self._opened.set_result(None)
        self._opened = None
        self._listener.on_open(self)
        return rest

    def _answer_close(self, closed: Closed, code: int) -> None:
        """The server closes, or must be closed on: answer with a close frame and let the socket go."""
        if self._sock is None:
            return
        if self._closed is None:
            self._closed = closed
            self._send(Opcode.CLOSE, frame_builder.close_payload(code))
        if self._unsent is None:
            self._end_with(None)
        elif not self._is_ending:
            self._is_ending = True
            if self._close_timer is None:
                self._close_timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.abort)

    def _send(self, opcode: Opcode, payload: bytes) -> None:
        if self._sock is not None:
            frame = frame_builder.build_masked(opcode, payload, os.urandom(4))
            self._write(frame if self._tls is None else self._tls.encrypt(frame))

    def _write(self, data: bytes) -> None:
        if self._sock is None or not data:
            return
        sent = 0
        if self._unsent is None:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._end_with(error)
                return
        if sent < len(data):
            self._unsent = (self._unsent or bytearray()) + data[sent:]
            if len(self._unsent) > MAX_UNSENT_BYTES:
                self._end_with(OSError(errno.ENOBUFS, f"the server left {MAX_UNSENT_BYTES} bytes unread"))
                return
            self._watch()

    def _watch(self) -> None:
        if self._sock is not None:
            events = 0 if self._is_paused else select.EPOLLIN
            self._receiver.watch(
                self._descriptor, self, events if self._unsent is None else events | select.EPOLLOUT
            )

    def _end_with(self, error: Exception | None) -> None:
        """Let the socket go; who listens is told when the event loop has its turn."""
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        sock, self._sock, self._unsent = self._sock, None, None
        if sock is None:
            return
        self._receiver.watch(self._descriptor, self, 0)
        sock.close()
        if self._parser is not None:
            asyncio.get_running_loop().call_soon(self._tell_closed, error)
        elif self._opened is not None and not self._opened.done():
            self._opened.set_exception(error or ConnectionResetError(errno.ECONNRESET, "closed"))

    def _tell_closed(self, error: Exception | None) -> None:
        reason = str(error) if error else "closed without a close frame"
        self._listener.on_close(self._closed or Closed(_ABNORMAL, reason))
