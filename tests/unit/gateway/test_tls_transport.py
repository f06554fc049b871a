"""The transport of TLS connections: what asyncio promises a protocol, over a real pair of sockets."""

import asyncio
import shutil
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable

import pytest

from gateway.certificate import load_context
from gateway.tls_transport import TlsTransport
from tests.certificates import make_pair
from tests.harness import until

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates")

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
LARGE = bytes(range(256)) * 8192  # 2 MiB: more than both kernels hold


class Notes(asyncio.Protocol):
    """Writes down what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return False

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost" if exc is None else "lost by an error")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """The contexts of both sides."""
    made = make_pair(tmp_path_factory.mktemp("certificate"))
    client = ssl.create_default_context(cafile=str(made.certificate))
    return load_context(str(made.certificate), str(made.key)), client


def run(
    pair: Contexts,
    scene: Callable[[TlsTransport, Notes, ssl.SSLSocket], Awaitable[None]],
) -> None:
    """Play `scene` on an established connection: our transport, its protocol, the peer's blocking socket."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    peers: list[ssl.SSLSocket] = []
    thread = threading.Thread(
        target=lambda: peers.append(pair[1].wrap_socket(theirs, server_hostname="localhost"))
    )
    thread.start()
    established = pair[0].wrap_socket(ours, server_side=True)
    thread.join()
    established.setblocking(False)
    peer = peers[0]
    peer.settimeout(5)

    async def main() -> None:
        notes, transport = Notes(), TlsTransport(established)
        transport.start(notes)
        await asyncio.wait_for(scene(transport, notes, peer), 10)
        transport.abort()
        await asyncio.sleep(0)
        assert notes.told.count("made") == 1
        assert sum(word.startswith("lost") for word in notes.told) == 1

    asyncio.run(main())
    peer.close()


async def read(peer: ssl.SSLSocket, size: int) -> bytes:
    """Read in a thread until so many bytes are here, or the end."""

    def reading() -> bytes:
        data = b""
        while len(data) < size and (piece := peer.recv(65536)):
            data += piece
        return data

    return await asyncio.get_running_loop().run_in_executor(None, reading)


def test_an_option_is_set_on_the_socket_below(pair: Contexts) -> None:
    async def scene(transport: TlsTransport, notes: Notes, peer: ssl.SSLSocket) -> None:
        transport.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
        assert transport._sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 40_000  # socket(7): doubled

    run(pair, scene)


def test_what_the_kernel_does_not_take_is_sent_in_order_later(pair: Contexts) -> None:
    async def scene(transport: TlsTransport, notes: Notes, peer: ssl.SSLSocket) -> None:
        taken = transport.send(LARGE)
        assert taken <= 16384
        transport.write(memoryview(LARGE)[taken:])
        held = transport.get_write_buffer_size()
        assert held > 0
        assert notes.told == ["made", "pause"]
        transport.write(b"and more")
        assert transport.get_write_buffer_size() == held + 8
        assert await read(peer, len(LARGE) + 8) == LARGE + b"and more"
        await until(lambda: "resume" in notes.told)
        assert transport.get_write_buffer_size() == 0

    run(pair, scene)


def test_a_refused_send_says_0_and_its_bytes_come_first_by_write(pair: Contexts) -> None:
    async def scene(transport: TlsTransport, notes: Notes, peer: ssl.SSLSocket) -> None:
        sent = b""
        number = 0
        while transport.send(piece := b"%08d" % number * 50):
            sent += piece
            number += 1
        transport.write(piece)
        assert transport.get_write_buffer_size() == len(piece)
        assert await read(peer, len(sent) + len(piece)) == sent + piece
        await until(lambda: notes.told == ["made", "pause", "resume"])

    run(pair, scene)


def test_close_sends_what_waits_then_says_goodbye(pair: Contexts) -> None:
    async def scene(transport: TlsTransport, notes: Notes, peer: ssl.SSLSocket) -> None:
        peer.suppress_ragged_eofs = False  # type: ignore[attr-defined]  # an end without close_notify would raise
        transport.write(LARGE)
        transport.close()
        assert transport.is_closing()
        assert "lost" not in notes.told
        assert await read(peer, len(LARGE) + 1) == LARGE
        await until(lambda: notes.told[-1] == "lost")

    run(pair, scene)


def test_abort_drops_what_waits_and_tells_it_later_and_once(pair: Contexts) -> None:
    async def scene(transport: TlsTransport, notes: Notes, peer: ssl.SSLSocket) -> None:
        transport.write(LARGE)
        transport.abort()
        assert "lost" not in notes.told  # the caller may be walking over connections
        transport.abort()
        transport.close()
        transport.write(b"to nobody")
        transport.resume_reading()
        await until(lambda: "lost" in notes.told)
        with pytest.raises(OSError, match=r"."):
            transport.send(b"in plain text, if this were sent")
        assert len(await read(peer, len(LARGE))) < len(LARGE)

    run(pair, scene)


def test_nothing_is_read_while_reading_is_paused(pair: Contexts) -> None:
    async def scene(transport: TlsTransport, notes: Notes, peer: ssl.SSLSocket) -> None:
        transport.pause_reading()
        assert not transport.is_reading()
        peer.sendall(b"x" * 3000)
        await asyncio.sleep(0.05)
        assert notes.data == b""
        transport.resume_reading()
        await until(lambda: notes.data == b"x" * 3000)

    run(pair, scene)


def test_what_was_decrypted_before_it_reads_is_not_left_behind(pair: Contexts) -> None:
    """The kernel announces only what is still in it."""

    async def scene(transport: TlsTransport, notes: Notes, peer: ssl.SSLSocket) -> None:
        transport.pause_reading()
        peer.sendall(b"x" * 3000)
        assert transport._sock.recv(10) == b"x" * 10
        transport.resume_reading()
        await until(lambda: notes.data == b"x" * 2990)

    run(pair, scene)


@pytest.mark.parametrize("goodbye", [True, False])
def test_the_peers_end_is_told_and_ends_the_connection(pair: Contexts, goodbye: bool) -> None:
    async def scene(transport: TlsTransport, notes: Notes, peer: ssl.SSLSocket) -> None:
        peer.sendall(b"last words")
        if goodbye:
            await asyncio.get_running_loop().run_in_executor(None, peer.unwrap)
        peer.close()
        await until(lambda: notes.told[-1].startswith("lost"))
        assert notes.data == b"last words"
        assert transport.is_closing()

    run(pair, scene)


def test_a_half_close_ends_what_the_peer_reads_behind_what_was_sent(pair: Contexts) -> None:
    async def scene(transport: TlsTransport, notes: Notes, peer: ssl.SSLSocket) -> None:
        transport.write(b"the end")
        transport.write_eof()
        assert await read(peer, 100) == b"the end"
        peer.close()
        await until(lambda: notes.told[-1].startswith("lost"))

    run(pair, scene)


def test_a_record_that_is_no_record_ends_the_connection(pair: Contexts) -> None:
    async def scene(transport: TlsTransport, notes: Notes, peer: ssl.SSLSocket) -> None:
        del transport
        socket.socket.send(peer, b"\x17\x03\x03\x00\x20" + b"forged" * 6)
        await until(lambda: notes.told[-1] == "lost by an error")
        assert notes.data == b""

    run(pair, scene)
