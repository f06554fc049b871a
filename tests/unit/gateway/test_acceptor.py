"""The accept loop: a port is had or refused in words, accepting is bounded, and spent descriptors are survived."""

import asyncio
import re
import resource
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from execgate.service import logs
from execgate.service.endpoints import TcpAddress
from execgate.wire.errors import UsageError
from gateway.acceptor import ACCEPTS_PER_TURN, Acceptor, bound_address, listen
from gateway.admission import Admission
from gateway.core import drain
from gateway.core.rate import AddressLimiter
from gateway.counters import Counters
from gateway.draining import stop_accepting
from gateway.http_server import PageServer, serve
from gateway.pages import Pages

LOOPBACK = TcpAddress("127.0.0.1", 0)


def test_port_0_is_a_free_one_and_the_listener_says_which() -> None:
    with listen("--listen", LOOPBACK, share_port=False) as listener:
        address = bound_address(listener)
        assert address.host == "127.0.0.1"
        assert address.port > 0
        assert not listener.getblocking()


@pytest.mark.parametrize("first_shares", [False, True])
def test_a_taken_port_is_one_line_that_names_it_even_where_the_other_shares(first_shares: bool) -> None:
    with listen("--listen", LOOPBACK, share_port=first_shares) as first:
        address = bound_address(first)
        with pytest.raises(UsageError, match=rf"^--listen {re.escape(str(address))}: already in use"):
            listen("--listen", address, share_port=False)


def test_ports_are_shared_only_where_both_say_so() -> None:
    with listen("--listen", LOOPBACK, share_port=True) as first:
        listen("--listen", bound_address(first), share_port=True).close()
    with (
        listen("--listen", LOOPBACK, share_port=False) as alone,
        pytest.raises(UsageError, match="already in use"),
    ):
        listen("--listen", bound_address(alone), share_port=True)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (TcpAddress("no-such-host.invalid", 0), "--listen no-such-host.invalid:0: "),
        (TcpAddress("a..b", 0), "--listen a..b:0: expected the name or the address of a host"),
        (TcpAddress("192.0.2.1", 0), "--listen 192.0.2.1:0: "),
    ],
)
def test_an_address_that_cannot_be_had_is_named(address: TcpAddress, reason: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(reason)}"):
        listen("--listen", address, share_port=False)


def test_what_is_set_on_the_listener_its_connections_inherit() -> None:
    with (
        listen("--listen", LOOPBACK, share_port=False, user_timeout_s=45, send_buffer_bytes=100_000) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        listener.setblocking(True)
        with listener.accept()[0] as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 45_000
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 200_000  # the kernel doubles it


def test_options_beyond_what_a_socket_takes_are_cut_not_a_crash() -> None:
    listen("--listen", LOOPBACK, share_port=False, user_timeout_s=1e9, send_buffer_bytes=1 << 40).close()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Scene:
    """An acceptor that hands over to a list."""

    def __init__(self, max_exchanges: int = 10, limiter: AddressLimiter | None = None) -> None:
        self.counters = Counters()
        self.taken: list[socket.socket] = []
        self.listener = listen("--listen", LOOPBACK, share_port=False)
        self.acceptor = Acceptor(self.listener, self._hand_over, max_exchanges, Admission(limiter), self.counters)
        self.clients: list[socket.socket] = []
        self.acceptor.start()

    def _hand_over(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self.taken.append(sock)

    def connect(self, count: int) -> None:
        for _ in range(count):
            client = socket.create_connection(self.listener.getsockname())
            client.settimeout(5)
            self.clients.append(client)

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0.001)

    def close(self) -> None:
        self.acceptor.close()
        for sock in self.taken + self.clients:
            sock.close()


def test_connections_are_handed_over_non_blocking_many_a_turn() -> None:
    async def play() -> None:
        scene = Scene(max_exchanges=1000)
        scene.connect(100)
        await scene.settle()
        assert len(scene.taken) == 100
        assert not any(sock.getblocking() for sock in scene.taken)
        scene.close()

    asyncio.run(play())


def test_who_is_served_already_goes_before_each_new_connection_of_which_few_come_in_a_turn() -> None:
    async def play() -> None:
        scene = Scene(max_exchanges=1000)
        before = []
        scene.acceptor.give_way = lambda: before.append(len(scene.taken))
        scene.connect(3 * ACCEPTS_PER_TURN)
        while len(scene.taken) < 3 * ACCEPTS_PER_TURN:
            taken = len(scene.taken)
            await asyncio.sleep(0)
            assert len(scene.taken) <= taken + ACCEPTS_PER_TURN
        assert before[: 3 * ACCEPTS_PER_TURN] == list(range(3 * ACCEPTS_PER_TURN))
        scene.close()

    asyncio.run(play())


def test_no_more_exchanges_than_the_bound_and_the_next_once_one_is_over() -> None:
    async def play() -> None:
        scene = Scene(max_exchanges=3)
        scene.connect(8)
        await scene.settle()
        assert len(scene.taken) == 3
        scene.acceptor.exchange_over()
        await scene.settle()
        assert len(scene.taken) == 4
        for _ in range(3):
            scene.acceptor.exchange_over()
        await scene.settle()
        assert len(scene.taken) == 7
        scene.close()
        scene.acceptor.exchange_over()
        await scene.settle()
        assert len(scene.taken) == 7

    asyncio.run(play())


def test_an_address_over_its_rate_is_closed_and_counted_and_the_loopback_never_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play(refused: int) -> None:
        scene = Scene(limiter=AddressLimiter(0.001, 2))
        scene.connect(5)
        await scene.settle()
        assert len(scene.taken) == 5 - refused
        assert scene.counters.refused == ({"rate": refused} if refused else {})
        assert [client.recv(1) for client in scene.clients[5 - refused :]] == [b""] * refused
        scene.close()

    asyncio.run(play(refused=0))
    monkeypatch.setattr("gateway.admission.is_loopback_host", lambda host: False)
    asyncio.run(play(refused=3))


def test_who_waits_in_the_kernel_when_the_listener_closes_is_counted_once_and_is_reset() -> None:
    async def play() -> None:
        scene = Scene(max_exchanges=3)
        scene.connect(8)
        await scene.settle()
        assert (scene.acceptor.exchanges, scene.acceptor.waiting) == (3, 5)
        scene.acceptor.close()
        scene.acceptor.close()
        assert scene.acceptor.waiting == 0
        assert scene.counters.refused == {"unaccepted": 5}
        for client in scene.clients[3:]:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        scene.close()

    asyncio.run(play())


def test_who_waits_in_a_listener_that_systemd_keeps_is_left_to_the_next_gateway() -> None:
    async def play() -> None:
        scene = Scene(max_exchanges=3)
        scene.acceptor.is_kept = True
        with scene.listener.dup() as kept:
            scene.connect(8)
            await scene.settle()
            assert scene.acceptor.waiting == 0
            scene.acceptor.close()
            assert scene.counters.refused["unaccepted"] == 0
            kept.settimeout(5)
            for _ in range(5):
                kept.accept()[0].close()
        scene.close()

    asyncio.run(play())


def test_before_a_drain_all_who_wait_are_taken_as_fast_as_the_bound_of_exchanges_lets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain, "QUEUE_S", 60.0)

    async def play() -> None:
        scene = Scene(max_exchanges=3)
        scene.connect(8)
        await scene.settle()
        stopped = asyncio.create_task(stop_accepting(scene.acceptor))
        for taken in range(3, 8):
            while len(scene.taken) < taken:
                await asyncio.sleep(0.001)
            assert not stopped.done()
            scene.acceptor.exchange_over()
        while scene.acceptor.waiting or len(scene.taken) < 8:
            await asyncio.sleep(0.001)
        for _ in range(3):
            scene.acceptor.exchange_over()
        await stopped
        assert scene.counters.refused == {"unaccepted": 0}
        scene.close()

    asyncio.run(play())


def test_closing_lets_go_of_the_port_and_the_reserve() -> None:
    async def play() -> None:
        before = open_descriptors()
        scene = Scene()
        scene.close()
        scene.acceptor.close()
        assert open_descriptors() == before

    asyncio.run(play())


async def serve_with_few_descriptors() -> None:
    """In a process of its own: serve pages on few descriptors; say the port, then at the end what it cost."""
    logs.set_up()
    counters = Counters()
    listener = listen("--listen", LOOPBACK, share_port=False)
    pages = Pages(dict, lambda: (True, {}), with_page=False)
    serve(listener, PageServer(pages), counters, header_timeout_s=30, max_exchanges=1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    print(bound_address(listener).port, flush=True)
    loop = asyncio.get_running_loop()
    for _ in range(2):  # a line of input begins a stretch, and another ends it
        await loop.run_in_executor(None, sys.stdin.readline)
        cpu_s, wall_s = time.process_time(), time.monotonic()
        await loop.run_in_executor(None, sys.stdin.readline)
        share = (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
        print(f"{share:.4f} {counters.refused['descriptors']}", flush=True)


_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def wait_for_refusals(held: list[socket.socket], count: int) -> bool:
    """Wait until `count` of the connections that are `held` have been closed."""
    for sock in held:
        sock.setblocking(False)
    closed: set[socket.socket] = set()
    deadline_s = time.monotonic() + 10
    while len(closed) < count and time.monotonic() < deadline_s:
        readable, _, _ = select.select(held, [], [], 0.05)
        closed.update(readable)
        time.sleep(0.01)
    return len(closed) >= count


def serves_again(port: int) -> bool:
    """Wait until a new connection is answered."""
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                sock.sendall(_REQUEST)
                if sock.recv(4096).startswith(b"HTTP/1.1 200"):
                    return True
        except OSError:
            time.sleep(0.02)
    return False


def test_out_of_descriptors_it_serves_on_refuses_stays_calm_and_heals() -> None:
    """The limit is real: 40 descriptors, and peers that hold them all."""
    code = (
        "import asyncio; from tests.unit.gateway import test_acceptor as tests; "
        "asyncio.run(tests.serve_with_few_descriptors())"
    )
    started_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        process.stdin.write("begin\n")
        process.stdin.flush()
        assert wait_for_refusals(held, 8), "those beyond the limit are turned away, one a pause"
        process.stdin.write("end\n")
        process.stdin.flush()
        share, counted = process.stdout.readline().split()
        assert float(share) < 0.1, "it does not spin"
        assert int(counted) >= 8, "each refusal is counted"
        held[0].settimeout(5)
        held[0].sendall(_REQUEST)
        assert held[0].recv(4096).startswith(b"HTTP/1.1 200"), "who is in is served on"
        for sock in held:
            sock.close()
        assert serves_again(port), "it heals"
        process.stdin.close()
        stderr = process.stderr.read() if process.stderr else ""
        lines = stderr.splitlines()
        assert "cannot accept: Too many open files" in lines[0]
        assert len(lines) <= 2 + (time.monotonic() - started_s), stderr
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
