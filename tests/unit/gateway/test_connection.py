"""A connection on a real uvloop transport and a real socket: its life, its bounds, and what is left after it."""

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import uvloop
from tornado.httputil import HTTPHeaders

from execgate.wire.frame_builder import Opcode, build_close, build_masked, close_payload
from execgate.wire.frame_parser import Closing, Event, FrameParser, Pong, Text
from execgate.wire.update import Kind, Update
from gateway import connection as connection_module
from gateway.admission import Admission
from gateway.connection import Connection, Site
from gateway.core.interest import Interest
from gateway.core.orders import OrderStatus
from gateway.core.policy import OpenPolicy, Rights
from gateway.core.session import Mode
from gateway.counters import Counters
from gateway.fanout import Fanout
from gateway.front import Front
from gateway.keepalive import Keepalive
from gateway.limits import Limits
from gateway.orders import MAX_PENDING, OrderDesk
from gateway.outbound import Outbound, OutboundBudget
from gateway.pages import Pages
from gateway.resume import Resumer
from tests.harness import until
from tests.unit.gateway.core.test_orders import GOOD
from tests.unit.gateway.test_orders import LateHandler

MASK = b"\x01\x02\x03\x04"
MIB = 1 << 20


def text(event: str, **data: Any) -> bytes:
    return build_masked(Opcode.TEXT, json.dumps({"event": event, "data": data}).encode(), MASK)


PING = build_masked(Opcode.PING, b"p", MASK)
CLOSE = build_masked(Opcode.CLOSE, close_payload(1000), MASK)


class Client:
    """The peer's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.events: list[Event] = []
        self.messages: list[dict[str, Any]] = []
        self.ended = False
        self._parser = FrameParser(server=False, max_message_bytes=64 * MIB)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read(self) -> None:
        """Read what there is, or the end."""
        try:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, MIB), 5)
        except ConnectionResetError:
            data = b""
        self.ended = not data
        events = self._parser.feed(data)
        self.events += events
        self.messages += [json.loads(event.text) for event in events if isinstance(event, Text)]

    async def read_until(self, is_enough: Callable[[], object]) -> None:
        while not is_enough() and not self.ended:
            await self.read()
        assert is_enough(), self.names()

    def names(self) -> list[str]:
        return [message["event"] for message in self.messages]

    def seqs(self) -> list[int]:
        return [m["data"]["seq"] for m in self.messages if m["event"] == "receive-execs"]

    def gaps(self) -> list[dict[str, Any]]:
        return [m["data"] for m in self.messages if m["event"] == "gap"]

    def close_code(self) -> int | None:
        return next((event.code for event in self.events if isinstance(event, Closing)), None)


class Scene:
    """A gateway without a feed, an acceptor or a clock that others move."""

    def __init__(self, session_limit: int = 64 * MIB, messages_per_s: float | None = None, **limits: Any) -> None:
        self.limits = Limits(
            **{
                "message_bytes": 64 * 1024,
                "depth": 16,
                "fragments": 64,
                "message_timeout_s": 10.0,
                "heartbeat_s": 10.0,
                "ping_s": 20.0,
                "idle_s": 45.0,
                "default_mode": Mode.ALL,
                "explicit_subscribe": False,
                **limits,
            }
        )
        self.counters = Counters()
        self.handler = LateHandler()
        self.fanout = Fanout(self.counters, lambda: None, self._exhausted)
        self.site = Site(
            name="gateway-1",
            limits=self.limits,
            counters=self.counters,
            fanout=self.fanout,
            desk=OrderDesk(self.handler, 60, self.counters),
            resumer=Resumer(self.fanout, None, 1, lambda: True),
            keepalive=Keepalive(self.limits, self.fanout),
            budget=OutboundBudget(session_limit, 1 << 30),
        )
        self.rights = Rights(True, messages_per_s, 100)
        self.say(Kind.HEARTBEAT, 0)
        self.seq = 0

    @staticmethod
    def _exhausted(member: Outbound) -> None:
        assert member.owner is not None
        member.owner.exhausted()

    def say(self, kind: Kind, seq: int, topic: bytes = b"", payload: bytes = b"") -> None:
        self.fanout.take(Update(kind, topic, 0xAB, seq, seq, 0, b"", payload))

    def publish(self, count: int = 1, size: int = 0, topic: bytes = b"ex.A.") -> None:
        for _ in range(count):
            self.seq += 1
            payload = json.dumps({"seq": self.seq, "fill": "x" * size}).encode()
            self.say(Kind.DATA, self.seq, topic, payload)
        self.fanout.flush()

    async def connect(
        self,
        *,
        subscribe: bool = True,
        buffer_bytes: int = 0,
        early: bytes = b"",
        pair: Callable[[], tuple[socket.socket, socket.socket]] = socket.socketpair,
    ) -> tuple[Connection, Client]:
        ours, theirs = pair()
        for sock in (ours, theirs):
            sock.setblocking(False)
            if buffer_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        made = Connection(self.site, ours, "127.0.0.1:9:1", self.rights, b"", early, subscribe)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: made, ours)
        return made, Client(theirs)

    async def gone(self) -> None:
        """Wait until every connection has ended, and nothing of it is left in any table."""
        await until(lambda: not len(self.site.keepalive))
        assert list(self.fanout.hub.members()) == []
        assert sum(self.fanout.subscribers.values()) == 0
        assert self.site.budget.used == 0
        assert not self.site.desk._pending
        self.site.desk.close()


def play(scene: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scene, 30))


def test_the_feed_may_pass_before_a_handshake_is_judged_and_before_it_becomes_a_connection() -> None:
    async def scene() -> None:
        site = Scene()
        asked: list[int] = []
        site.fanout.give_way = lambda: asked.append(len(site.site.keepalive))
        front = Front(
            site.site, Pages(dict, lambda: (True, {}), with_page=False), OpenPolicy(0, 1), [], 1, Admission()
        )
        front.judge("GET", HTTPHeaders(), "127.0.0.1", "127.0.0.1")
        assert asked == [0]
        _, client = await site.connect()
        assert asked == [0, 0]
        client.sock.close()
        await site.gone()

    play(scene())


def test_it_greets_subscribes_as_in_2012_and_answers_pings_and_a_close() -> None:
    async def scene() -> None:
        site = Scene()
        _, client = await site.connect(early=PING)
        await client.read_until(lambda: Pong(b"p") in client.events)
        site.publish()
        await client.read_until(client.seqs)
        assert client.names() == ["hello", "subscribed", "receive-execs"]
        await client.send(CLOSE)
        await client.read_until(lambda: client.close_code() == 1000)
        await site.gone()
        assert site.counters.closes == {"peer": 1}

    play(scene())


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        return listener.accept()[0], theirs


def test_the_kernel_takes_little_ahead_of_who_conflates_and_as_ever_of_all_others() -> None:
    async def scene() -> None:
        site = Scene()
        connection, client = await site.connect(subscribe=False, pair=tcp_pair)

        async def bound_in(mode: str) -> int:
            await client.send(text("subscribe-execs", mode=mode))
            await until(lambda: site.fanout.subscribers[mode])
            assert isinstance(connection._sock, socket.socket)
            bound = connection._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            await client.send(text("unsubscribe-execs"))
            return bound

        bounds = [await bound_in(mode) for mode in ("all", "conflate", "volatile", "conflate", "all")]
        assert bounds == [0, 16384, 0, 16384, 0]
        client.sock.close()
        await site.gone()

    play(scene())


@pytest.mark.parametrize("size", [300, 30_000])
def test_a_reader_that_stops_and_goes_on_gets_all_of_mode_all_in_order(size: int) -> None:
    """A real kernel's short writes, and uvloop's own buffer behind them."""

    async def scene() -> None:
        site = Scene()
        connection, client = await site.connect(buffer_bytes=4096)
        for _ in range(5):
            for _ in range(10):
                site.publish(5, size)
            await client.read()
        assert connection.outbound.backlog_bytes > 0, "it was blocked"
        await client.read_until(lambda: len(client.seqs()) == site.seq)
        assert client.seqs() == list(range(1, site.seq + 1))
        assert site.counters.delivered == connection.outbound.sent == site.seq
        assert site.site.budget.used == 0
        client.sock.close()
        await site.gone()
        assert site.counters.closes == {"lost": 1}

    play(scene())


def test_a_reader_that_stops_and_goes_on_is_told_what_volatile_dropped() -> None:
    async def scene() -> None:
        site = Scene(default_mode=Mode.VOLATILE)
        _, client = await site.connect(buffer_bytes=4096)
        for _ in range(10):
            for _ in range(50):
                site.publish(1, 300)
            await client.read()
        await client.read_until(
            lambda: len(client.seqs()) + sum(gap["count"] for gap in client.gaps()) == site.seq
        )
        told = set(client.seqs())
        for gap in client.gaps():
            told |= set(range(gap["from"], gap["to"] + 1))
        assert told == set(range(1, site.seq + 1))
        assert site.counters.dropped == site.seq - len(client.seqs()) > 0
        client.sock.close()
        await site.gone()

    play(scene())


def test_a_slow_consumer_is_ended_in_time_and_the_one_beside_it_gets_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_TIMEOUT_S", 0.05)

    async def scene() -> None:
        site = Scene(session_limit=50_000)
        _, slow = await site.connect(buffer_bytes=4096)
        _, fast = await site.connect()
        for _ in range(300):
            site.publish(1, 500)
            await fast.read()
        await until(lambda: len(site.site.keepalive) == 1)
        await fast.read_until(lambda: len(fast.seqs()) == 300)
        assert fast.seqs() == list(range(1, 301))
        assert site.counters.closes == {"4108": 1}
        slow.sock.close()
        fast.sock.close()
        await site.gone()

    play(scene())


def test_a_peer_that_says_close_and_reads_nothing_is_ended_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the transport still holds for it must not keep the connection for ever."""
    monkeypatch.setattr(connection_module, "CLOSE_TIMEOUT_S", 0.05)

    async def scene() -> None:
        site = Scene()
        connection, client = await site.connect(buffer_bytes=4096)
        site.publish(10, 100_000)
        assert connection.outbound._blocked
        await client.send(CLOSE)
        await site.gone()
        assert site.counters.closes == {"peer": 1}
        client.sock.close()

    play(scene())


def test_a_peer_reset_in_the_middle_is_counted_once_as_lost() -> None:
    async def scene() -> None:
        site = Scene()
        _, client = await site.connect()
        client.sock.close()
        for _ in range(3):
            site.publish(1, 1000)
        await site.gone()
        assert site.counters.closes == {"lost": 1}
        assert site.counters.delivered + site.counters.discarded == 3

    play(scene())


def test_a_busy_peer_whose_reads_always_end_inside_a_message_is_not_slow() -> None:
    """Each message is whole in time, though no read ever ends between two."""

    async def scene() -> None:
        site = Scene(message_timeout_s=1)
        connection, client = await site.connect(subscribe=False)
        stream = text("unknown") * 5
        whole = len(text("unknown"))
        connection.data_received(stream[: whole // 2])
        began_s = connection.partial_since_s
        assert began_s
        site.site.keepalive.now_s += 0.6
        connection.data_received(stream[whole // 2 : whole + 5])
        assert connection.partial_since_s == site.site.keepalive.now_s > began_s
        connection.data_received(stream[whole + 5 : 2 * whole])
        assert not connection.partial_since_s
        client.sock.close()
        await site.gone()

    play(scene())


def test_pings_do_not_stretch_the_time_of_a_message_that_is_not_whole() -> None:
    async def scene() -> None:
        site = Scene()
        connection, client = await site.connect(subscribe=False)
        connection.data_received(build_masked(Opcode.TEXT, b"{", MASK, fin=False))
        began_s = connection.partial_since_s
        site.site.keepalive.now_s += 5
        connection.data_received(PING)
        assert connection.partial_since_s == began_s > 0
        client.sock.close()
        await site.gone()

    play(scene())


def test_topics_taken_off_leave_max_messages_as_it_was() -> None:
    async def scene() -> None:
        site = Scene()
        _, client = await site.connect(subscribe=False)
        await client.send(text("subscribe-execs", topics=["ex.A.", "ex.B."], max_messages=3))
        await client.read_until(lambda: "subscribed" in client.names())
        site.publish()
        await client.send(text("unsubscribe-execs", topics=["ex.B."]))
        await client.read_until(lambda: "unsubscribed" in client.names())
        site.publish(5)
        site.publish(5)
        await client.send(text("subscribe-execs"))
        await client.read_until(lambda: client.names().count("subscribed") == 2)
        assert client.seqs() == [1, 2, 3]
        ended = [m["data"] for m in client.messages if m["event"] == "unsubscribed"]
        assert ended == [
            {"topics": ["ex.B."], "reason": "client"},
            {"topics": ["ex.A."], "reason": "max_messages"},
        ]
        client.sock.close()
        await site.gone()

    play(scene())


@pytest.mark.parametrize("who", ["client", "gateway"])
def test_orders_under_way_end_as_disconnected_once_no_answer_can_be_sent(who: str) -> None:
    async def scene() -> None:
        site = Scene()
        connection, client = await site.connect(subscribe=False)
        await client.send(text("order-request", **GOOD) * 2)
        await until(lambda: len(site.handler.taken) == 2)
        site.handler.taken[0].settle(OrderStatus.ACCEPTED)
        if who == "client":
            await client.send(CLOSE)
            await until(lambda: connection.outbound.closing)
        else:
            connection.close(1012)
        assert site.counters.orders == {"accepted": 1, "disconnected": 1}
        site.handler.taken[1].settle(OrderStatus.ACCEPTED)
        await client.read_until(lambda: client.ended or client.close_code())
        assert client.names().count("order-response") == 1
        client.sock.close()
        await site.gone()
        assert site.counters.orders == {"accepted": 1, "disconnected": 1, "late": 1}

    play(scene())


def test_an_order_over_the_bound_of_those_that_wait_may_come_again() -> None:
    async def scene() -> None:
        site = Scene()
        _, client = await site.connect(subscribe=False)
        await client.send(text("order-request", **GOOD) * MAX_PENDING)
        await client.send(text("order-request", **GOOD | {"cl_ord_id": "c1"}))
        await client.read_until(lambda: "order-response" in client.names())
        assert client.messages[-1]["data"]["status"] == "rejected"
        site.handler.taken[0].settle(OrderStatus.ACCEPTED)
        await client.send(text("order-request", **GOOD | {"cl_ord_id": "c1"}))
        await until(lambda: len(site.handler.taken) == MAX_PENDING + 1)
        client.sock.close()
        await site.gone()

    play(scene())


@pytest.mark.parametrize("how", ["at connect", "by asking"])
def test_who_subscribes_while_the_feed_is_stale_is_told_so_right_behind_subscribed(how: str) -> None:
    async def scene() -> None:
        site = Scene()
        site.publish(2)
        site.say(Kind.BYE, 2)
        _, client = await site.connect(subscribe=how == "at connect")
        if how == "by asking":
            await client.send(text("subscribe-execs"))
        await client.read_until(lambda: len(client.messages) == 3)
        assert client.names() == ["hello", "subscribed", "feed"]
        assert client.messages[-1]["data"] == {
            "state": "stale",
            "epoch": "00000000000000ab",
            "seq": 2,
            "previous": None,
        }
        site.publish()
        await client.read_until(lambda: client.seqs() == [3])
        assert client.names()[3:] == ["feed", "receive-execs"]
        assert client.messages[3]["data"]["state"] == "live"
        client.sock.close()
        await site.gone()

    play(scene())


def paused(connection: Connection, times: int) -> bool:
    return connection._pauses == times


def test_a_session_over_its_rate_is_held_back_then_closed_with_1008(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pings count too: each costs an answer. Nothing of the read that went too far is performed."""
    monkeypatch.setattr(connection_module, "_PAUSE_S", 600.0)  # until we say so
    monkeypatch.setattr(connection_module, "_PAUSES_TOLERATED", 2)

    async def scene() -> None:
        site = Scene(messages_per_s=5)
        connection, client = await site.connect(subscribe=False)
        for number in (1, 2, 3):
            await client.send(PING * 12 + text("order-request", **GOOD))
            await until(partial(paused, connection, number))
            if number < 3:
                assert not connection._transport.is_reading()
                connection._read_on()
        assert connection.outbound.closing
        await client.read_until(lambda: client.close_code() == 1008)
        assert len(site.handler.taken) == 2
        client.sock.close()
        await site.gone()
        assert site.counters.closes == {"1008": 1}

    play(scene())


def test_pauses_far_apart_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_PAUSE_S", 0.01)
    monkeypatch.setattr(connection_module, "_PAUSES_TOLERATED", 1)
    monkeypatch.setattr(connection_module, "_GOOD_CONDUCT_S", 0.05)
    ends: list[Connection] = []
    read_on = Connection._read_on

    def counted(connection: Connection) -> None:
        read_on(connection)
        ends.append(connection)

    monkeypatch.setattr(Connection, "_read_on", counted)

    async def scene() -> None:
        site = Scene(messages_per_s=5)
        connection, client = await site.connect(subscribe=False)
        while len(ends) < 4:
            before = len(ends)
            await client.send(PING * 12)
            await until(lambda: len(ends) > before)  # noqa: B023 (called at once)
            assert connection._transport.is_reading()
            await asyncio.sleep(0.1)
        assert not connection.outbound.closing
        client.sock.close()
        await site.gone()

    play(scene())


def test_after_our_close_frame_nothing_of_the_peer_is_performed_but_its_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        site = Scene()
        connection, client = await site.connect()
        connection.close(1012, "restart")
        await client.send(text("order-request", **GOOD) + PING + CLOSE)
        await client.read_until(lambda: client.ended)
        assert client.names() == ["hello", "subscribed"]
        assert client.close_code() == 1012
        assert not any(isinstance(event, Pong) for event in client.events)
        await site.gone()
        assert not site.handler.taken
        assert site.counters.closes == {"1012": 1}

    play(scene())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (build_masked(Opcode.BINARY, b"x", MASK), 1003),
        (build_close(), 1002),
        (build_masked(Opcode.TEXT, b"\xff", MASK), 1007),
        (b"\x81\xff" + (1 << 40).to_bytes(8) + MASK, 1009),
    ],
    ids=["binary", "unmasked", "not UTF-8", "too big"],
)
def test_what_breaks_the_protocol_is_closed_with_its_code(data: bytes, code: int) -> None:
    async def scene() -> None:
        site = Scene()
        _, client = await site.connect()
        await client.send(data)
        await client.read_until(lambda: client.close_code() == code)
        client.sock.close()
        await site.gone()
        assert site.counters.closes == {str(code): 1}

    play(scene())


def test_a_plain_subscription_while_resuming_loses_nothing_and_an_unsubscription_ends_it() -> None:
    async def scene() -> None:
        site = Scene()
        site.publish(400, 10_000)
        connection, client = await site.connect(subscribe=False, buffer_bytes=4096)
        since = {"epoch": f"{0xAB:016x}", "seq": 0}
        await client.send(text("subscribe-execs", since=since))
        await until(lambda: connection.outbound._blocked)
        await client.send(text("subscribe-execs", topics=["ex.A.", "ex.B."]))
        await until(lambda: connection.session.interest == Interest(["ex.A.", "ex.B."]))
        assert len(site.site.resumer) == 1
        site.publish(3)
        await client.read_until(lambda: len(client.seqs()) == 403)
        assert client.seqs() == list(range(1, 404))
        told = [m["data"] for m in client.messages if m["event"] == "subscribed"]
        assert [(each["seq"] == 0, each["recovered"]) for each in told] == [(True, True), (False, False)]
        again = {"epoch": f"{0xAB:016x}", "seq": 403 + 5}
        await client.send(text("subscribe-execs", since=again) + text("unsubscribe-execs"))
        await client.read_until(lambda: "unsubscribed" in client.names())
        assert client.names()[-2:] == ["subscribed", "unsubscribed"]
        site.publish()
        client.sock.close()
        await site.gone()
        assert len(site.site.resumer) == 0

    play(scene())
