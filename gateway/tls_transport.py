"""The transport of a TLS connection: an `ssl.SSLSocket` on the event loop, with what a `Connection` asks of one.

The TLS handshake and the HTTP request are Tornado's (`SSLIOStream`); then `gateway.front` takes the socket out of
the stream, as it does with a plain one, and this class reads and writes it. A delivery stays one call that ends in
one system call: `send` encrypts and writes at once, no queue and no loop turn in between (docs/adr/0010-tls.md).

A read takes one record; the next one is announced by the kernel, because OpenSSL reads no further than it has to.
"""

import asyncio
import socket
import ssl

_RECORD_BYTES = 16 * 1024  # RFC 8446 section 5.1: no record holds more, so a read never leaves a part of one
_LATER = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
_NOTHING = memoryview(b"")


class TlsTransport(asyncio.Transport):
    """One established TLS connection; closes the socket in the end.

    Args:
        sock: its handshake is done; non-blocking; owned from now on.
    """

    __slots__ = ("_closing", "_ended", "_loop", "_protocol", "_reading", "_rest", "_sock")

    _protocol: asyncio.Protocol

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__()
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._rest = _NOTHING  # what was written here and not taken yet
        self._reading = False
        self._closing = False
        self._ended = False

    def start(self, protocol: asyncio.Protocol) -> None:
        """Begin to read; `protocol` gets what asyncio promises one, `connection_made` in this very call."""
        self._protocol = protocol
        protocol.connection_made(self)
        self.resume_reading()

    # -- writing

    def send(self, data: bytes | memoryview) -> int:
        """Encrypt and write; return how many bytes were taken, 0 where a socket would say EAGAIN.

        What was refused must be the next thing that is sent, by `write`: OpenSSL holds the record already.

        Raises:
            OSError: the connection is broken.
        """
        try:
            return self._sock.send(data)
        except _LATER:
            return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send as soon as the kernel takes it, after what waits already."""
        if self._ended:
            return
        if self._rest:  # the same bytes first, as OpenSSL demands of a record that it holds
            self._rest = memoryview(bytes(self._rest) + bytes(data))
            return
        self._rest = memoryview(data)
        self._pass_on()
        if self._rest:
            self._loop.add_writer(self._sock, self._on_writable)
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait here."""
        return len(self._rest)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Both limits are 0, whatever is asked for: paused while anything waits, resumed when nothing does."""

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Set an option of the socket below."""
        self._sock.setsockopt(level, option, value)

    def write_eof(self) -> None:
        """Half-close, while nothing waits here.

        By TCP alone: OpenSSL's close_notify comes with a read that fails on any data the peer still sends, and the
        reset that follows could cost the peer our last frame.
        """
        try:
            socket.socket.shutdown(self._sock, socket.SHUT_WR)  # SSLSocket's own would go on in plain text
        except OSError:
            pass  # the peer has gone

    def _pass_on(self) -> None:
        try:
            while self._rest:
                taken = self.send(self._rest)  # a record, 16 KiB, at the most
                if not taken:
                    return
                self._rest = self._rest[taken:]
        except OSError as error:
            self._end(error)

    def _on_writable(self) -> None:
        self._pass_on()
        if self._rest or self._ended:
            return
        self._rest = _NOTHING  # a view that is empty still holds what it was made of
        self._loop.remove_writer(self._sock)
        self._protocol.resume_writing()
        if self._closing and not self._rest:
            self._say_goodbye()

    # -- reading

    def is_reading(self) -> bool:
        """Whether what comes is read."""
        return self._reading

    def pause_reading(self) -> None:
        """Leave what comes in the kernel."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock)

    def resume_reading(self) -> None:
        """Read again."""
        if self._reading or self._closing:
            return
        self._reading = True
        self._loop.add_reader(self._sock, self._on_readable)
        if self._sock.pending():
            self._loop.call_soon(self._on_readable)  # Tornado read it: the kernel has nothing to announce

    def _on_readable(self) -> None:
        if not self._reading:
            return
        try:
            data = self._sock.recv(_RECORD_BYTES)
        except _LATER:
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            self._protocol.data_received(data)
        elif not self._protocol.eof_received():
            self.close()
        else:
            self.pause_reading()

    # -- the end

    def is_closing(self) -> bool:
        """Whether it was closed, by whomever."""
        return self._closing

    def close(self) -> None:
        """Read no more; end when what waits was sent."""
        if self._closing:
            return
        self.pause_reading()
        self._closing = True
        if not self._rest:
            self._say_goodbye()

    def abort(self) -> None:
        """End now."""
        self._end(None)

    def _say_goodbye(self) -> None:
        try:
            self._sock.unwrap()  # sends close_notify (RFC 8446 section 6.1); the peer's is not waited for
        except (OSError, ValueError):
            pass
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = self._closing = True
        self.pause_reading()
        self._loop.remove_writer(self._sock)
        self._rest = _NOTHING
        self._sock.close()
        # Not at once: the caller may be in the middle of a walk over connections.
        self._loop.call_soon(self._protocol.connection_lost, error)
