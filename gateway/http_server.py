"""HTTP by Tornado: a server with our bounds behind our accept loop, and the exchange of one request for a page.

A gateway's front builds on it for the WebSocket handshake; a supervisor serves its sums with it as it is.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, SSLIOStream

from execgate.service.logs import Throttle
from execgate.wire.errors import ProxyHeaderError
from gateway.acceptor import Acceptor
from gateway.admission import Admission, read_proxy_header
from gateway.certificate import Certificate
from gateway.counters import Counters
from gateway.pages import Pages, Response

log = logging.getLogger("gateway.http")

MAX_HEADER_BYTES = 8 * 1024
_MAX_BUFFER_BYTES = 64 * 1024
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
}


class _Server(HTTPServer):
    """Tornado's server, which also says when an exchange is over: its socket closed, or moved on."""

    on_exchange_over: Callable[[], None]

    def on_close(self, server_conn: object) -> None:
        """Tornado's: a connection is none of its business any more."""
        super().on_close(server_conn)
        self.on_exchange_over()


class _Arrivals:
    """What becomes of an accepted socket: a proxy's header and TLS, if any, then Tornado's hands.

    Args:
        server: takes who has arrived.
        counters: of this process.
        admission: of each client.
        certificate: what TLS is served with; None for plain text.
        header_timeout_s: for a proxy's header.

    Attributes:
        on_refused: called when a socket was closed instead.
    """

    on_refused: Callable[[], None]

    def __init__(
        self,
        server: HTTPServer,
        counters: Counters,
        admission: Admission,
        certificate: Certificate | None,
        header_timeout_s: float,
    ) -> None:
        self._server = server
        self._counters = counters
        self._admission = admission
        self._certificate = certificate
        self._header_timeout_s = header_timeout_s
        self._headers_read: set[asyncio.Task[None]] = set()
        self._lines = Throttle(log)

    def take(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Take a non-blocking socket whose peer is at `address`."""
        if self._admission.awaits_header(address[0]):
            task = asyncio.create_task(self._read_header(sock, address))
            self._headers_read.add(task)
            task.add_done_callback(self._headers_read.discard)
        else:
            self._begin(sock, address)

    async def _read_header(self, sock: socket.socket, proxy: tuple[str, int]) -> None:
        try:
            client = await read_proxy_header(sock, self._header_timeout_s) or proxy
        except (OSError, ProxyHeaderError) as error:
            self._lines.warning("proxy header not had proxy=%s why=%s", proxy[0], error or "it took too long")
            self._refuse(sock, "proxy")
            return
        if self._admission.admits(client[0]):
            self._begin(sock, client)
        else:
            self._refuse(sock, "rate")

    def _begin(self, sock: socket.socket, address: tuple[str, int]) -> None:
        if self._certificate is None:
            self._server.handle_stream(IOStream(sock, max_buffer_size=_MAX_BUFFER_BYTES), address)
            return
        try:
            tls = self._certificate.wrap(sock)
        except OSError:  # it was reset before we came
            self._refuse(sock, "gone")
            return
        # Without `ssl_options` it would read the system's certificates, which a server has no use for.
        stream = SSLIOStream(tls, ssl_options=tls.context, max_buffer_size=_MAX_BUFFER_BYTES)
        stream.wait_for_handshake().add_done_callback(self._count_failed)
        self._server.handle_stream(stream, address)

    def _count_failed(self, handshake: "asyncio.Future[SSLIOStream]") -> None:
        if not handshake.cancelled() and handshake.exception() is not None:
            self._counters.refused["tls"] += 1

    def _refuse(self, sock: socket.socket, kind: str) -> None:
        sock.close()
        self._counters.refused[kind] += 1
        self.on_refused()


def serve(
    listener: socket.socket,
    delegate: HTTPServerConnectionDelegate,
    counters: Counters,
    *,
    header_timeout_s: float,
    max_exchanges: int,
    admission: Admission | None = None,
    certificate: Certificate | None = None,
) -> Acceptor:
    """Serve HTTP on `listener` from now on; the acceptor that is returned ends it.

    Args:
        listener: as `gateway.acceptor.listen` returns it.
        delegate: makes an exchange of each request.
        counters: of this process.
        header_timeout_s: for the TLS handshake and a request's headers together, for the next request of a
            connection, and for a proxy's header before them.
        max_exchanges: connections in Tornado's hands at most.
        admission: of each client; None admits all.
        certificate: what TLS is served with; None for plain text.
    """
    server = _Server(
        delegate,
        idle_connection_timeout=header_timeout_s,
        max_header_size=MAX_HEADER_BYTES,
        max_body_size=0,
        max_buffer_size=_MAX_BUFFER_BYTES,
    )
    admission = admission or Admission()
    arrivals = _Arrivals(server, counters, admission, certificate, header_timeout_s)
    acceptor = Acceptor(listener, arrivals.take, max_exchanges, admission, counters)
    server.on_exchange_over = arrivals.on_refused = acceptor.exchange_over
    acceptor.start()
    return acceptor


class PageServer(HTTPServerConnectionDelegate):
    """Serves pages and nothing else."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:  # noqa: ARG002
        """Tornado's: a new request begins on a connection."""
        return PageExchange(self._pages, request_conn)


class PageExchange(HTTPMessageDelegate):
    """One request; it is answered only when it is whole."""

    def __init__(self, pages: Pages, connection: HTTPConnection) -> None:
        self._pages = pages
        self._connection = connection
        self._method = ""
        self._response: Response | None = None

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Tornado's: the head of a request is here."""
        if not isinstance(start_line, RequestStartLine):
            raise TypeError("a server reads requests")
        self._method = start_line.method
        self._response = self.respond(start_line, headers)

    def respond(self, start_line: RequestStartLine, headers: HTTPHeaders) -> Response | None:  # noqa: ARG002
        """Return the answer; None where the connection was detached."""
        return self._pages.answer(start_line.method, start_line.path)

    @property
    def peer(self) -> tuple[str, int]:
        """Host and port of who is connected, or of whom a PROXY header named."""
        host, port = self._connection.context.address[:2]  # type: ignore[attr-defined]  # Tornado's HTTP1Connection
        return host, port

    def detach(self) -> IOStream:
        """Take the connection from Tornado; only while `respond` runs."""
        if not isinstance(self._connection, HTTP1Connection):
            raise TypeError("only an HTTP/1 connection can be detached")
        return self._connection.detach()

    def finish(self) -> None:
        """Tornado's: the request is whole."""
        if self._response is not None:
            self._send(self._response)

    def _send(self, response: Response) -> None:
        headers = HTTPHeaders(_HEADERS)
        headers["Content-Type"] = response.content_type
        headers["Content-Length"] = str(len(response.body))
        for name, value in response.headers.items():
            headers[name] = value
        start_line = ResponseStartLine("HTTP/1.1", response.status, response.status.phrase)
        body = b"" if self._method == "HEAD" else response.body
        self._connection.write_headers(start_line, headers, body)
        self._connection.finish()
