"""Our own client over a socket whose other end is scripted byte by byte: the contract of `client.py` holds."""

import asyncio
import base64
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest
import uvloop

from benchmarks.busy_server import shake_hands
from execgate.wire import frame_builder
from execgate.wire.frame_builder import Opcode
from execgate.wire.frame_parser import Closing, Event, FrameParser, Pong, Text
from loadgen import raw_client
from loadgen.client import Closed, Connection
from loadgen.core.handshake import accept_of
from loadgen.core.target import Target
from loadgen.raw_client import RawConnection, RawConnector
from loadgen.receiver import STAMP_SPACE, ask_for_stamps
from tests.harness import until


class Notes:
    """A listener that writes everything down."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.connection: Connection | None = None
        self.ended = asyncio.Event()

    def on_open(self, connection: Connection) -> None:
        self.connection = connection
        self.told.append("open")

    def on_text(self, text: str, received_ns: int, doubt_ns: int) -> None:
        assert received_ns >= doubt_ns >= 0
        self.told.append(text)

    def on_close(self, closed: Closed) -> None:
        self.told.append(closed)
        self.ended.set()

    def on_failed(self, kind: str, reason: str) -> None:
        self.told.append((kind, reason))
        self.ended.set()


Script: TypeAlias = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.request = b""
        self.parser = FrameParser(server=True)

    async def shake_hands(self, *more: bytes, field: bytes = b"") -> None:
        """Answer the upgrade, with `more` in the same write."""
        self.request = await self.reader.readuntil(b"\r\n\r\n")
        key = next(line for line in self.request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))[19:]
        assert len(base64.b64decode(key)) == 16
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + field
        self.writer.write(head + b"Sec-WebSocket-Accept: " + accept_of(key) + b"\r\n\r\n" + b"".join(more))

    async def receive(self) -> list[Event]:
        """Everything until the client goes silent for good."""
        events: list[Event] = []
        while data := await self.reader.read(65536):
            events += self.parser.feed(data)
        return events


def text(words: str) -> bytes:
    return frame_builder.build(Opcode.TEXT, words.encode())


def run(script: Script, *, timeout_s: float = 2.0, act: Callable[[Notes], Any] | None = None) -> list[Any]:
    """Connect to a server that plays `script`; return what the listener was told, to the end."""

    async def main() -> list[Any]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await script(Peer(reader, writer))
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        notes, connector = Notes(), RawConnector(timeout_s)
        connector.connect(Target("127.0.0.1", port, "/ws"), notes, "execgate.1")
        async with asyncio.timeout(5):
            while act is not None and notes.connection is None:
                await asyncio.sleep(0.001)
            if act is not None:
                act(notes)
            await notes.ended.wait()
        await asyncio.sleep(0)
        await connector.close()
        server.close()
        return notes.told

    return asyncio.run(main())


def test_messages_in_the_same_read_as_the_handshake_come_after_the_opening() -> None:
    async def script(peer: Peer) -> None:
        await peer.shake_hands(text("one"), text("two"), frame_builder.build_close(1012, "bye"))

    assert run(script) == ["open", "one", "two", Closed(1012, "bye")]


def test_a_connection_that_just_goes_is_closed_1006() -> None:
    async def script(peer: Peer) -> None:
        await peer.shake_hands(text("one"))

    opened, one, closed = run(script)
    assert (opened, one, closed.code) == ("open", "one", 1006)


def test_pings_are_answered_and_closes_echoed() -> None:
    received: list[Event] = []

    async def script(peer: Peer) -> None:
        await peer.shake_hands(frame_builder.build(Opcode.PING, b"abc"), frame_builder.build_close(4108, "slow"))
        received.extend(await peer.receive())

    assert run(script)[-1] == Closed(4108, "slow")
    assert received == [Pong(b"abc"), Closing(4108, "")]


def test_what_is_sent_is_masked_text_and_nothing_after_the_close() -> None:
    received: list[Event] = []

    async def script(peer: Peer) -> None:
        await peer.shake_hands()
        received.extend(await peer.receive())

    def act(notes: Notes) -> None:
        assert notes.connection is not None
        notes.connection.send_text(b"hello")
        notes.connection.close()
        notes.connection.send_text(b"too late")
        notes.connection.close()

    async def answers_the_close(peer: Peer) -> None:
        await peer.shake_hands()
        while not any(isinstance(event, Closing) for event in received):
            received.extend(peer.parser.feed(await peer.reader.read(65536)))
        peer.writer.write(frame_builder.build_close(1000))

    assert run(answers_the_close, act=act) == ["open", Closed(1000, "closed by us")]
    assert received == [Text("hello"), Closing(1000, "")]


def test_a_server_that_ignores_our_close_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_client, "CLOSE_TIMEOUT_S", 0.05)

    async def script(peer: Peer) -> None:
        await peer.shake_hands()
        await peer.receive()

    def act(notes: Notes) -> None:
        assert notes.connection is not None
        notes.connection.close()

    assert run(script, act=act) == ["open", Closed(1000, "closed by us")]


def test_a_masked_frame_from_a_server_is_closed_1002() -> None:
    received: list[Event] = []

    async def script(peer: Peer) -> None:
        await peer.shake_hands(frame_builder.build_masked(Opcode.TEXT, b"x", b"abcd"), text("ignored"))
        received.extend(await peer.receive())

    opened, closed = run(script)
    assert (opened, closed.code) == ("open", 1002)
    assert "server's frame is masked" in closed.reason
    assert received == [Closing(1002, "")]


def test_a_handshake_that_is_wrong_fails_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.shake_hands(text("never told"), field=b"Sec-WebSocket-Extensions: x\r\n")

    assert run(script) == [("handshake", "an extension that was not offered")]


def test_a_handshake_that_never_ends_times_out() -> None:
    async def script(peer: Peer) -> None:
        peer.writer.write(b"HTTP/1.1 101 Switching Protocols\r\n")
        await peer.reader.read(-1)

    ((kind, reason),) = run(script, timeout_s=0.05)
    assert (kind, reason) == ("timeout", "no connection and handshake within 50 ms")


@pytest.mark.parametrize("how", ["time is up", "the connector is closed"])
def test_a_connection_that_opened_just_before_it_was_cut_off_stays_and_is_closed_once(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def opens_too_late(connection: RawConnection) -> None:
        while not connection.is_open:
            await asyncio.sleep(0.001)
        await asyncio.sleep(60)

    monkeypatch.setattr(RawConnection, "wait_open", opens_too_late)

    async def script(peer: Peer) -> None:
        await peer.shake_hands(text("one"))
        await peer.receive()

    async def main() -> None:
        server = await asyncio.start_server(lambda *both: script(Peer(*both)), "127.0.0.1", 0)
        notes, connector = Notes(), RawConnector(0.2 if how == "time is up" else 60)
        connector.connect(Target("127.0.0.1", server.sockets[0].getsockname()[1], "/ws"), notes, None)
        async with asyncio.timeout(10):
            while "one" not in notes.told:
                await asyncio.sleep(0.001)
            if how == "time is up":
                await asyncio.sleep(0.3)
            await connector.close()
            assert notes.told == ["open", "one"]
            assert notes.connection is not None
            notes.connection.abort()
            notes.connection.abort()
            notes.connection.close()
            await notes.ended.wait()
            await asyncio.sleep(0.01)
        assert notes.told == ["open", "one", Closed(1006, "closed without a close frame")]
        server.close()

    asyncio.run(main())


def test_a_server_that_hangs_up_in_the_handshake_is_a_reset() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")

    ((kind, _reason),) = run(script)
    assert kind == "reset"


def test_a_client_can_be_slow() -> None:
    """With a small receive buffer, and a pause in which it takes nothing; what waited comes afterwards."""

    async def main() -> None:
        wrote, resumed = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(reader, writer)
            await peer.shake_hands()
            await reader.read(1)  # it is paused
            writer.write(text("late"))
            await writer.drain()
            wrote.set()
            await resumed.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        notes, connector = Notes(), RawConnector(5.0, receive_buffer_bytes=16 * 1024)
        connector.connect(Target("127.0.0.1", server.sockets[0].getsockname()[1], "/ws"), notes, None)
        async with asyncio.timeout(5):
            while notes.connection is None:
                await asyncio.sleep(0.001)
            connection = notes.connection
            assert isinstance(connection, RawConnection)
            assert connection._sock is not None
            assert connection._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 16 * 1024, (
                "Linux doubles it"
            )
            connection.pause(True)
            connection.pause(True)
            connection.send_text(b"paused")
            await wrote.wait()
            for _ in range(20):
                await asyncio.sleep(0)
            assert notes.told == ["open"]
            connection.pause(False)
            while len(notes.told) == 1:
                await asyncio.sleep(0.001)
            assert notes.told == ["open", "late"]
            resumed.set()
            await notes.ended.wait()
        connection.pause(True)  # it is over: nothing happens
        server.close()

    asyncio.run(main())


def test_a_slow_client_that_can_not_connect_says_so() -> None:
    async def main() -> None:
        notes = Notes()
        RawConnector(5.0, receive_buffer_bytes=4096).connect(Target("127.0.0.1", 1, "/ws"), notes, None)
        await asyncio.wait_for(notes.ended.wait(), 5)
        [(kind, _reason)] = notes.told
        assert kind == "refused"

    asyncio.run(main())


@pytest.fixture(scope="module")
def stamps() -> Iterator[None]:
    """The kernel begins to stamp a while after the first socket of all has asked for it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as ours,
    ):
        accepted = listener.accept()[0]
        ask_for_stamps(ours)
        for _ in range(1_000):
            accepted.sendall(b"x")
            if ours.recvmsg(1, STAMP_SPACE)[1]:
                break
            time.sleep(0.01)
        yield
        ours.close()
        accepted.close()


class Times(Notes):
    """When each message came, at the earliest and at the latest."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, tuple[int, int]] = {}

    def on_text(self, text: str, received_ns: int, doubt_ns: int) -> None:
        super().on_text(text, received_ns, doubt_ns)
        self.times[text] = (received_ns - doubt_ns, received_ns)


@contextmanager
def connected(notes: Notes, **of_connector: Any) -> Iterator[tuple[asyncio.Runner, socket.socket]]:
    """A client in an event loop that only runs when the test lets it, and the server's end, which blocks."""
    with uvloop_runner() as runner, socket.create_server(("127.0.0.1", 0)) as listener:
        connector = RawConnector(10.0, **of_connector)

        async def begin() -> None:
            connector.connect(Target("127.0.0.1", listener.getsockname()[1], "/ws"), notes, None)
            server = (await asyncio.to_thread(listener.accept))[0]
            await asyncio.to_thread(shake_hands, server)
            servers.append(server)
            await until(lambda: notes.connection is not None)

        async def end() -> None:
            assert notes.connection is not None
            notes.connection.abort()
            await connector.close()
            await notes.ended.wait()

        servers: list[socket.socket] = []
        runner.run(begin())
        try:
            yield runner, servers[0]
            runner.run(end())
        finally:
            servers[0].close()


def be_busy(seconds: float) -> None:
    """Keep the client's thread from reading, without sleeping."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        pass


def uvloop_runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


@pytest.mark.usefixtures("stamps")
def test_a_message_has_the_time_at_which_the_kernel_had_it_whenever_it_is_read() -> None:
    notes = Times()
    with connected(notes) as (runner, server):
        before_ns = time.monotonic_ns()
        server.sendall(text("one"))
        sent_ns = time.monotonic_ns()
        time.sleep(0.3)  # nobody reads
        runner.run(until(lambda: notes.times))
        earliest_ns, latest_ns = notes.times["one"]
        assert before_ns <= earliest_ns == latest_ns <= sent_ns + 1_000_000


@pytest.mark.usefixtures("stamps")
def test_of_messages_that_waited_in_one_socket_the_earlier_ones_are_in_doubt() -> None:
    notes = Times()
    with connected(notes) as (runner, server):
        sent: list[tuple[int, int]] = []
        for one in ("one", "two", "three"):
            before_ns = time.monotonic_ns()
            server.sendall(text(one))
            sent.append((before_ns, time.monotonic_ns()))
            be_busy(0.1)
        runner.run(until(lambda: len(notes.times) == 3))
    for (before_ns, sent_ns), (earliest_ns, latest_ns) in zip(sent, notes.times.values(), strict=True):
        assert earliest_ns <= sent_ns, "it may have been there as early as it was"
        assert latest_ns >= before_ns
    assert notes.times["three"][0] == notes.times["three"][1] == notes.times["one"][1]


@pytest.mark.usefixtures("stamps")
def test_while_the_client_sleeps_nothing_can_have_come() -> None:
    """A server that writes two messages at once after a pause: the pause is no doubt."""
    notes = Times()
    with connected(notes) as (runner, server):

        async def both() -> None:
            await asyncio.sleep(0.5)
            server.sendall(text("one") + text("two"))
            await until(lambda: len(notes.times) == 2)

        runner.run(both())
    earliest_ns, latest_ns = notes.times["one"]
    assert latest_ns - earliest_ns < 400_000_000


@pytest.mark.usefixtures("stamps")
def test_what_a_read_leaves_behind_may_be_as_old_as_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_client, "READ_BYTES", 1_000)
    notes = Times()
    with connected(notes) as (runner, server):
        words = [str(number) * 400 for number in range(9)]
        server.sendall(b"".join(map(text, words[:6])))
        sent_ns = time.monotonic_ns()
        be_busy(0.1)
        server.sendall(b"".join(map(text, words[6:])))
        be_busy(0.1)
        runner.run(until(lambda: len(notes.times) == 9))
    assert all(notes.times[word][0] <= sent_ns for word in words[:6])


@pytest.mark.usefixtures("stamps")
def test_of_what_the_server_could_not_send_because_nobody_read_nothing_is_known() -> None:
    notes = Times()
    with connected(notes) as (runner, server):
        many = [f"{number:04d}" + "x" * 1_000 for number in range(3_000)]
        sending = threading.Thread(target=lambda: server.sendall(b"".join(map(text, many))))
        sending.start()
        be_busy(0.1)  # and the socket is full
        runner.run(until(lambda: len(notes.times) == len(many)))
        sending.join()
    assert notes.times[many[0]][0] <= 0


def test_what_a_server_does_not_read_is_kept_and_sent_in_order_when_it_does() -> None:
    notes = Notes()
    with connected(notes) as (runner, server):
        wanted = [f"{number}:" + "x" * 100_000 for number in range(8)]

        async def say() -> None:
            connection = notes.connection
            assert isinstance(connection, RawConnection)
            assert connection._sock is not None
            connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            for words in wanted:
                connection.send_text(words.encode())
            assert connection._unsent, "the socket has no room for all of it"

        runner.run(say())
        parser, found = FrameParser(server=True, max_message_bytes=1 << 20), list[str]()

        def read_all() -> None:
            while len(found) < len(wanted):
                found.extend(event.text for event in parser.feed(server.recv(65536)) if isinstance(event, Text))

        async def read() -> None:
            await asyncio.to_thread(read_all)

        runner.run(read())
        assert found == wanted


def test_a_server_that_never_reads_loses_the_client() -> None:
    notes = Notes()
    with connected(notes) as (runner, _server):

        async def say() -> None:
            assert notes.connection is not None
            for _ in range(400):
                notes.connection.send_text(b"x" * 65536)
            await notes.ended.wait()

        runner.run(say())
        (closed,) = (told for told in notes.told if isinstance(told, Closed))
        assert (closed.code, "left 1048576 bytes unread" in closed.reason) == (1006, True)
