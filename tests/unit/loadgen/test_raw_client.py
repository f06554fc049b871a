"""Our own client over a socket whose other end is scripted byte by byte: the contract of `client.py` holds."""

import asyncio
import base64
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from execgate.wire import frame_builder
from execgate.wire.frame_builder import Opcode
from execgate.wire.frame_parser import Closing, Event, FrameParser, Pong, Text
from loadgen import raw_client
from loadgen.client import Closed, Connection
from loadgen.core.handshake import KEY_BYTES, Handshake, accept_of
from loadgen.core.target import Target
from loadgen.raw_client import RawConnection, RawConnector


class Notes:
    """A listener that writes everything down."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.connection: Connection | None = None
        self.ended = asyncio.Event()

    def on_open(self, connection: Connection) -> None:
        self.connection = connection
        self.told.append("open")

    def on_text(self, text: str, received_ns: int) -> None:
        assert received_ns > 0
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


class CutOff(asyncio.Transport):
    """What uvloop leaves of a connection whose `create_connection` was cancelled: nobody is told anything."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise RuntimeError("the handler is closed")

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


@pytest.mark.parametrize("how", ["time is up", "the connector is closed"])
def test_a_connection_that_opened_just_before_it_was_cut_off_is_closed_once(how: str) -> None:
    """It used to count as connected for ever, and to fail when it was closed."""

    async def main() -> None:
        notes = Notes()
        target = Target("127.0.0.1", 1, "/ws")
        connection = RawConnection(notes, Handshake(target, bytes(KEY_BYTES), None))
        opened = asyncio.Event()

        async def create_connection(*arguments: object, **options: object) -> None:
            # The handshake is answered before create_connection has returned.
            connection._transport = CutOff()
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            key = base64.b64encode(bytes(KEY_BYTES))
            connection.data_received(head + b"Sec-WebSocket-Accept: " + accept_of(key) + b"\r\n\r\n")
            opened.set()
            await asyncio.sleep(60)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "create_connection", create_connection, raising=False)
            connector = RawConnector(0.02 if how == "time is up" else 60)
            task = asyncio.create_task(connector._connect(target, connection, notes))
            await opened.wait()
            if how == "the connector is closed":
                task.cancel()
            await asyncio.wait([task])
        told = ["open", Closed(1006, "closed without a close frame")]
        assert notes.told == told
        assert notes.connection is not None
        notes.connection.close()
        connection.connection_lost(None)  # asyncio's own loop does say so
        assert notes.told == told

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
            assert connection._transport is not None
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 16 * 1024, "Linux doubles it"
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
