"""The front: Tornado's HTTP server answers HTTP and does the handshake; then the plain socket leaves it.

A connection comes from `gateway.acceptor` as an IOStream. Once its handshake is accepted the socket is taken out
of the stream and becomes a `Connection` on a uvloop transport: a tenth of the memory and half the cost of an order
(docs/adr/0003-tornado-for-http-sockets-on-uvloop.md has the figures and what else was tried). A TLS socket moves
in the same way, to a transport of ours (docs/adr/0010-tls.md).
"""

import asyncio
import itertools
import logging
import socket
import ssl
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
)
from tornado.iostream import IOStream

from execgate.service.endpoints import is_loopback_host
from gateway.admission import Admission
from gateway.connection import Connection, Site
from gateway.core import upgrade
from gateway.core.policy import Policy
from gateway.http_server import PageExchange
from gateway.pages import Pages, Response, text
from gateway.tls_transport import TlsTransport

log = logging.getLogger("gateway.front")

WEBSOCKET_PATH = "/ws"
_MAX_EARLY_BYTES = 64 * 1024


class Front(HTTPServerConnectionDelegate):
    """Answers requests and makes connections of accepted handshakes.

    Args:
        site: shared by the connections it makes.
        pages: what is served over HTTP.
        policy: decides the rights of a peer.
        allowed_origins: besides the same host's.
        max_sessions: WebSocket connections at most; one more is answered 503.
        admission: of clients whose address comes with the request.

    Attributes:
        connection_class: what an accepted handshake becomes.
    """

    connection_class: type[Connection] = Connection

    def __init__(
        self,
        site: Site,
        pages: Pages,
        policy: Policy,
        allowed_origins: Collection[str],
        max_sessions: int,
        admission: Admission,
    ) -> None:
        self._site = site
        self._pages = pages
        self._policy = policy
        self._allowed_origins = frozenset(allowed_origins)
        self._max_sessions = max_sessions
        self._admission = admission
        self._numbers = itertools.count(1)
        self._moving: dict[asyncio.Task[Any], Connection] = {}
        self.is_draining = False

    def change(self, policy: Policy, allowed_origins: Collection[str], max_sessions: int) -> None:
        """Judge by others from now on; sessions that are there keep their rights."""
        self._policy = policy
        self._allowed_origins = frozenset(allowed_origins)
        self._max_sessions = max_sessions

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:  # noqa: ARG002
        """Tornado's: a new request begins on a connection."""
        return _Exchange(self, self._pages, request_conn)

    def takes(self, path: str) -> bool:
        """Whether a request for `path` is a handshake; any other is for a page."""
        return path.partition("?")[0] == WEBSOCKET_PATH

    def client_of(self, peer: str, headers: HTTPHeaders) -> str:
        """Return the address of the client that `peer` connects for: `peer`, or whom a trusted proxy names."""
        return self._admission.client_of(peer, headers.get_list("X-Forwarded-For"))

    def judge(self, method: str, headers: HTTPHeaders, peer: str, client: str) -> upgrade.Acceptance | Response:
        """Decide about a handshake, and count a refusal."""
        self._site.fanout.give_way()
        if client != peer and not self._admission.admits(client):
            self._site.counters.refused["rate"] += 1
            return text(HTTPStatus.TOO_MANY_REQUESTS, "rate: try again later", Retry_After="2")
        decision = upgrade.decide(method, headers, self._allowed_origins, may_deflate=self._site.limits.deflate)
        if isinstance(decision, upgrade.Refusal):
            self._site.counters.refused[decision.kind] += 1
            return Response(decision.status, f"{decision.reason}\n".encode(), headers=dict(decision.headers))
        busy = self._why_busy()
        if busy:
            self._site.counters.refused[busy] += 1
            return text(HTTPStatus.SERVICE_UNAVAILABLE, f"{busy}: try again later", Retry_After="2")
        return decision

    def _why_busy(self) -> str:
        if self.is_draining:
            return "draining"
        if self._site.fanout.epoch is None:
            return "feed-not-joined"
        if self._is_full():
            return "full"
        return "outbound-memory" if self._site.budget.is_nearly_spent else ""

    def _is_full(self) -> bool:
        keepalive, most = self._site.keepalive, self._max_sessions
        if len(keepalive) + len(self._moving) < most:
            return False
        # Near the bound it counts: one that is moving may stand on the keepalive's wheel already.
        arriving = sum(connection not in keepalive for connection in self._moving.values())
        return len(keepalive) + arriving >= most

    def move(self, stream: IOStream, acceptance: upgrade.Acceptance, host: str, port: int) -> None:
        """Take the socket out of Tornado's stream and make a connection of it, for a client at `host`."""
        released = _release(stream)
        if released is None:
            self._site.counters.refused["gone"] += 1
            return
        sock, early = released
        try:
            sock.getpeername()
        except OSError:  # it was reset behind its handshake
            sock.close()
            self._site.counters.refused["gone"] += 1
            return
        rights = self._policy.rights_of(host, is_loopback_host(host))
        subscribe = not acceptance.has_subprotocol and not self._site.limits.explicit_subscribe
        key = f"{host}:{port}:{next(self._numbers)}"
        tls = TlsTransport(sock) if isinstance(sock, ssl.SSLSocket) else None
        connection = self.connection_class(
            self._site, tls or sock, key, rights, acceptance.head, early, subscribe, acceptance.deflate_bits
        )
        if tls is not None:
            tls.start(connection)
            return
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(lambda: connection, sock))
        self._moving[task] = connection
        task.add_done_callback(self._moved)

    def _moved(self, task: "asyncio.Task[Any]") -> None:
        del self._moving[task]
        if not task.cancelled() and task.exception() is not None:
            self._site.counters.refused["gone"] += 1


class _Exchange(PageExchange):
    """One request; an accepted handshake ends it at its headers."""

    def __init__(self, front: Front, pages: Pages, connection: HTTPConnection) -> None:
        super().__init__(pages, connection)
        self._front = front

    def respond(self, start_line: RequestStartLine, headers: HTTPHeaders) -> Response | None:
        """Take a handshake at `/ws`; everything else is a page."""
        if not self._front.takes(start_line.path):
            return super().respond(start_line, headers)
        peer, port = self.peer
        client = self._front.client_of(peer, headers)
        decision = self._front.judge(start_line.method, headers, peer, client)
        if isinstance(decision, Response):
            return decision
        self._front.move(self.detach(), decision, client, port)
        return None


def _release(stream: IOStream) -> tuple[socket.socket, bytes] | None:
    """Take the socket out of `stream`, with the bytes already read behind the handshake; None if it is gone."""
    try:
        reading = asyncio.ensure_future(stream.read_bytes(_MAX_EARLY_BYTES, partial=True))
        early = reading.result() if reading.done() else b""
    except OSError:  # Tornado's StreamClosedError: the peer has gone; or an error of TLS, and the stream is closed
        return None
    sock = stream.socket
    stream.io_loop.remove_handler(sock)
    stream.socket = None  # type: ignore[assignment]  # so that the stream, when it is forgotten, closes nothing
    return sock, early
