"""One WebSocket connection: bytes in, the session's actions performed, its end.

An established connection is this protocol on a uvloop transport, which costs a tenth of an IOStream's memory. It
reads; what it has to say goes through its `Outbound`. Its life:

    open -> closing (a close frame was sent: the peer's is awaited, CLOSE_TIMEOUT_S at most) -> ended
"""

import asyncio
import logging
import socket
import time
from dataclasses import dataclass
from typing import cast

from execgate.wire import events
from execgate.wire.close_codes import CloseCode
from execgate.wire.deflate import DEFLATED
from execgate.wire.frame_builder import Opcode, build, xor_mask
from execgate.wire.frame_parser import Binary, Closing, Event, Failure, FrameParser, Ping, Text, Unmask
from gateway.clock import PublisherClock
from gateway.core.orders import Order, OrderStatus, answer
from gateway.core.policy import Rights
from gateway.core.rate import TokenBucket
from gateway.core.session import Answer, Mode, PlaceOrder, Session, Subscribe, TellStamps, Unsubscribe
from gateway.counters import Counters
from gateway.fanout import Fanout
from gateway.keepalive import Keepalive
from gateway.ledger import Ledger
from gateway.limits import Limits
from gateway.orders import OrderDesk
from gateway.outbound import Outbound, OutboundBudget
from gateway.resume import Resumer
from gateway.tls_transport import TlsTransport

log = logging.getLogger("gateway.connection")

unmask: Unmask
try:
    from tornado.speedups import websocket_mask as unmask
except ImportError:  # a Tornado built without its C extension
    unmask = xor_mask

CLOSE_TIMEOUT_S = 2.0
CONFLATED_UNSENT_BYTES = 16 * 1024
"""What the kernel takes ahead of a conflating peer's window. What it has is merged no more, and by itself it takes
up to `tcp_wmem`: 3.6 MB, 6,400 updates of 2012, measured on a loopback whose peer reads nothing."""
# A session over its rate is not read for this long; so many times in a row, and it is closed with 1008.
_PAUSE_S = 1.0
_PAUSES_TOLERATED = 10
_NOTABLE = frozenset(CloseCode) - {CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.RESTART}
_GOOD_CONDUCT_S = 5.0  # without a pause, and the count of them begins anew


@dataclass(slots=True)
class Site:
    """What all connections of a process share."""

    name: str
    limits: Limits
    counters: Counters
    fanout: Fanout
    desk: OrderDesk
    resumer: Resumer
    keepalive: Keepalive
    budget: OutboundBudget
    ledger: Ledger | None = None
    publisher_clock: PublisherClock | None = None


class Connection(asyncio.Protocol):
    """One client, from the answer to its handshake to the loss of its socket.

    Args:
        site: shared by all.
        sock: what its outbound sends to; connected and non-blocking; the transport owns it, or is it, under TLS.
        key: `address:port:connection-number`, as in 2012.
        rights: of this peer.
        greeting: the handshake's answer, to be sent before anything else.
        early: bytes that came behind the handshake's request.
        subscribe: whether it is subscribed to everything at connect.
        deflate_bits: the window of its compressed messages, 0 where none was agreed on.

    Attributes:
        last_seen_s, last_beat_s, last_ping_s: of the last bytes from the peer, heartbeat and ping to it.
        partial_since_s: since when a message has been incomplete, 0 when none is.
        slot: its place on the keepalive wheel.
        opened_s: when it was made.
    """

    __slots__ = (
        "_bucket",
        "_deadline",
        "_envelope",
        "_greeting",
        "_parser",
        "_pauses",
        "_read_on_s",
        "_sock",
        "_subscribe",
        "_transport",
        "key",
        "last_beat_s",
        "last_ping_s",
        "last_seen_s",
        "opened_s",
        "outbound",
        "partial_since_s",
        "session",
        "site",
        "slot",
    )

    def __init__(
        self,
        site: Site,
        sock: socket.socket | TlsTransport,
        key: str,
        rights: Rights,
        greeting: bytes,
        early: bytes,
        subscribe: bool,
        deflate_bits: int = 0,
    ) -> None:
        limits = site.limits
        self.site = site
        self.key = key
        self.session = Session(rights, limits.default_mode, limits.depth)
        self.slot = 0
        self.opened_s = self.last_seen_s = self.last_beat_s = self.last_ping_s = site.keepalive.now_s
        self.partial_since_s = 0.0
        self._sock = sock
        self._subscribe = subscribe
        self._envelope = DEFLATED[deflate_bits] if deflate_bits else events.PLAIN
        self._greeting: tuple[bytes, bytes] | None = (greeting, early)
        self._deadline: asyncio.TimerHandle | None = None
        self._parser = FrameParser(
            server=True,
            max_message_bytes=limits.message_bytes,
            max_fragments=limits.fragments,
            unmask=unmask,
            inflates=deflate_bits > 0,
        )
        self._bucket: TokenBucket | None = None
        self._pauses = 0
        self._read_on_s = 0.0  # the end of the last pause
        if rights.messages_per_s:
            burst = 2 * rights.messages_per_s
            self._bucket = TokenBucket(rights.messages_per_s, burst, time.monotonic_ns())

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet: the handshake's answer, `hello` and, as in 2012, the subscription, in one write."""
        site = self.site
        site.fanout.give_way()
        self._transport = cast("asyncio.Transport", transport)
        self.outbound = Outbound(self, self._transport, self._sock.send, site.budget, site.counters)
        self.outbound.envelope = self._envelope
        if site.ledger is not None:
            self.outbound.account = site.ledger.open_account()
        site.keepalive.add(self)
        log.debug("session opened session=%s address=%s", self.session_name, self.key)
        greeting, early = self._greeting or (b"", b"")
        self._greeting = None
        self.outbound.raw(greeting + self._greet())
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Parse what came and perform what it asks for, in order."""
        # A read is dated by the keepalive's clock: no system call for each.
        self.last_seen_s = self.site.keepalive.now_s
        parser = self._parser
        for event in parser.feed(data):
            if self._bucket is not None:
                self._count(self._bucket)
            if type(event) is not Text:
                self._obey(event)
                continue
            self.partial_since_s = 0.0  # what is incomplete at the end of this read has begun in it
            if not self.outbound.closing:
                self._perform(event.text)
        if parser.is_mid_message:
            if not self.partial_since_s:
                self.partial_since_s = self.last_seen_s
                self.site.keepalive.watch(self)
        elif self.partial_since_s:
            self.partial_since_s = 0.0

    def resume_writing(self) -> None:
        """The transport is empty again."""
        self.outbound.resume()
        self.site.resumer.wake_one(self.outbound)

    def pause_writing(self) -> None:
        """Nothing to do: `Outbound` asked the transport itself."""

    def eof_received(self) -> bool:
        """The peer has closed its side without a close frame: so do we."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """The socket is gone, whoever ended it: leave every table."""
        site, outbound = self.site, self.outbound
        if not outbound.closing:
            outbound.closing = True
            outbound.ends_with("lost")
        self._leave()
        site.keepalive.remove(self)
        outbound.discard()
        if site.ledger is not None:
            site.ledger.enter(self)
        outbound.owner = None
        log.debug(
            "session ended session=%s sent=%s dropped=%s", self.session_name, outbound.sent, outbound.dropped
        )
        if self._deadline is not None:
            self._deadline.cancel()

    # -- what others ask of a connection

    @property
    def session_name(self) -> str:
        """As `hello` tells it."""
        return f"{self.site.name}-{self.key.rpartition(':')[2]}"

    def close(self, code: int, reason: str = "", *, flush: bool = True) -> None:
        """Begin to close: a close frame, then the peer's, or the deadline."""
        if self.outbound.closing:
            return
        level = logging.INFO if code in _NOTABLE else logging.DEBUG
        log.log(level, "session closed session=%s code=%d reason=%r", self.session_name, code, reason)
        self.outbound.ends_with(str(int(code)))
        self._leave()
        self.outbound.close(code, reason, flush=flush)
        self._end_in_time()

    def exhausted(self) -> None:
        """The subscription has had its `max_messages`."""
        interest = self.session.interest
        topics = sorted(interest.patterns) if interest else []
        self.session.ended()
        self._unsubscribe()
        self.outbound.control(
            events.encode_event(events.UNSUBSCRIBED, {"topics": topics, "reason": "max_messages"})
        )

    def answer_order(self, order: Order, status: OrderStatus, reason: str | None) -> None:
        """The order desk has an end for one of this connection's orders."""
        self.outbound.control(answer(order, status, reason))

    # -- what the peer asks: the session's part. `tests.conformance.echo` puts another one in its place, so that
    # everything else here can be held against RFC 6455 by itself

    def _greet(self) -> bytes:
        """Return the frames that go out with the handshake's answer."""
        greeting = self._hello()
        if self._subscribe:
            greeting += self._join(self.session.subscribe_at_connect())
        return greeting

    def _take_binary(self, data: bytes) -> None:  # noqa: ARG002  # not looked at
        self.close(CloseCode.UNSUPPORTED_DATA, "expected text")

    def _perform(self, text: str) -> None:
        action = self.session.receive(text)
        if type(action) is PlaceOrder:
            if not self.site.desk.place(action.order, self):
                self.session.forget(action.order)
        elif type(action) is Answer:
            if action.order_status is not None:
                self.site.counters.orders[action.order_status.value] += 1
            self.outbound.control(action.payload)
        elif type(action) is Subscribe:
            how = action.mode.value, len(action.interest.patterns), action.since
            log.debug("session subscribes session=%s mode=%s topics=%d since=%r", self.session_name, *how)
            if (action.mode is Mode.CONFLATE) != (self.outbound.mode is Mode.CONFLATE):
                self._bound_unsent(action.mode)
            account = self.outbound.account
            if account is not None and account.since is None:
                account.since = action.since
            if action.since is not None or action.snapshot:
                self.site.resumer.begin(self.outbound, action)
            elif not self.site.resumer.renew(self.outbound, action):
                self.outbound.raw(self._join(action))
        elif type(action) is Unsubscribe:
            if action.left is None:
                self.site.resumer.unsubscribe(self.outbound)
                self._unsubscribe()
            elif not self.site.resumer.change(self.outbound, action.left):
                group = self.outbound.group
                remaining = group.remaining if group is not None else None  # of max_messages
                self.site.fanout.join(self.outbound, action.left, self.outbound.mode, remaining)
            data = {"topics": action.topics, "reason": "client"}
            self.outbound.control(events.encode_event(events.UNSUBSCRIBED, data, action.message_id))
        elif type(action) is TellStamps:
            clock = self.site.publisher_clock
            ahead = clock.reading if clock is not None else None
            stamps = {
                "now_us": time.time_ns() // 1000,
                "publisher": None if ahead is None else ahead._asdict(),
                "update": self.site.fanout.stamps(),
            }
            self.outbound.control(events.encode_event(events.STAMPS, stamps, action.message_id))

    def _bound_unsent(self, mode: Mode) -> None:
        most = CONFLATED_UNSENT_BYTES if mode is Mode.CONFLATE else 0  # 0 is the system's, which is no bound
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most)

    def _obey(self, event: Event) -> None:
        """A frame that concerns the connection, not the session; what comes after our close frame is ignored."""
        if type(event) is Closing:
            self._peer_closes(event)
        elif self.outbound.closing:
            return
        elif type(event) is Ping:
            self.outbound.raw(build(Opcode.PONG, event.payload))
        elif type(event) is Binary:
            self._take_binary(event.data)
        elif type(event) is Failure:
            self.close(event.code, event.reason)
            self.outbound.finish()  # RFC 6455 section 7.1.7: nothing more is read, the peer's close frame neither

    def _peer_closes(self, closing: Closing) -> None:
        if not self.outbound.closing:
            self.outbound.ends_with("peer")
            self._leave()
            log.debug("session closed by its peer session=%s code=%s", self.session_name, closing.code)
            self.outbound.close(closing.code or CloseCode.NORMAL, flush=False)
            self._end_in_time()
        self._transport.close()  # what the transport still holds is sent first, if the peer takes it in time

    def _leave(self) -> None:
        """Nothing can be sent any more: no updates, and no answers to orders under way."""
        self._unsubscribe()
        self.site.desk.forget(self)

    def _unsubscribe(self) -> None:
        self.site.resumer.leave(self.outbound)
        self.site.fanout.leave(self.outbound)

    def _end_in_time(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def _hello(self) -> bytes:
        site, limits = self.site, self.site.limits
        return events.frame_event(
            events.HELLO,
            {
                "protocol": events.PROTOCOL_VERSION,
                "session": self.session_name,
                "address": self.key,
                "gateway": site.name,
                "epoch": site.fanout.epoch,
                "seq": site.fanout.seq,
                "heartbeat_ms": round(limits.heartbeat_s * 1000),
                "stamps": True,
                "limits": {
                    "message_bytes": limits.message_bytes,
                    "depth": limits.depth,
                    "fragments": limits.fragments,
                    "messages_per_s": self.session.rights.messages_per_s,
                    "topics": self.session.rights.max_topics,
                },
            },
        )

    def _join(self, subscribe: Subscribe) -> bytes:
        """Join the hub; return the frame that says so, whose seq is the position now, and any standing news."""
        fanout = self.site.fanout
        fanout.join(self.outbound, subscribe.interest, subscribe.mode, subscribe.max_messages)
        data = events.subscribed(subscribe.interest.patterns, subscribe.mode.value, fanout.epoch, fanout.seq)
        return events.frame_event(events.SUBSCRIBED, data, subscribe.message_id) + fanout.standing_news()

    def _count(self, bucket: TokenBucket) -> None:
        """Hold an over-rate session back by not reading from it; close it when it does not take the hint."""
        now_ns = time.monotonic_ns()
        if bucket.take(now_ns) or self.outbound.closing:
            return
        if not self._transport.is_reading():
            return  # more messages of the read that went over
        now_s = now_ns / 1e9
        if now_s - self._read_on_s > _GOOD_CONDUCT_S:
            self._pauses = 0
        self._read_on_s = now_s + _PAUSE_S
        self._pauses += 1
        if self._pauses > _PAUSES_TOLERATED:
            self.close(CloseCode.POLICY, "over the rate of messages")
            return
        self._transport.pause_reading()
        asyncio.get_running_loop().call_later(_PAUSE_S, self._read_on)

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()
