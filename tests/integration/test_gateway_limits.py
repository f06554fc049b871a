"""A gateway at its edges: many clients at once, no descriptors, rates of strangers, other kinds of address."""

import asyncio
import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from execgate.wire.frame_parser import FrameParser, Text
from execgate.wire.update import Kind
from tests.clients import RawClient, exchange, handshake_request, open_socket
from tests.harness import Process, wait_until
from tests.rig import PATIENT, gateway, scripted
from tests.scripted_publisher import ScriptedPublisher

CROWD = 1000
UPDATES = 5


class _Member(asyncio.Protocol):
    """One of a crowd: shakes hands, and keeps the events that it gets."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._head = b""
        self._parser: FrameParser | None = None
        self.texts: list[str] = []
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(handshake_request(self._address, Sec_WebSocket_Protocol=None))

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._parser = FrameParser(server=False)
        self.texts += [event.text for event in self._parser.feed(data) if isinstance(event, Text)]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


@pytest.fixture
def many_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CROWD + 200
    if soft < wanted:
        if hard < wanted:
            pytest.skip(f"a process may open {hard} files here, {wanted} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_1000_clients_that_connect_at_once_all_get_hello_and_every_update() -> None:
    async def crowd(address: str, feed: ScriptedPublisher) -> list[_Member]:
        loop = asyncio.get_running_loop()
        host, _, port = address.rpartition(":")
        made = await asyncio.gather(
            *(loop.create_connection(lambda: _Member(address), host, int(port)) for _ in range(CROWD))
        )
        members = [member for _, member in made]

        async def have(count: int) -> None:
            async with asyncio.timeout(30):
                while any(len(member.texts) < count for member in members):
                    assert not any(member.lost for member in members)
                    await asyncio.sleep(0.01)

        await have(2)
        feed.updates(UPDATES)
        await have(2 + UPDATES)
        for transport, _ in made:
            transport.abort()
        return members

    # As many as may come, exactly: one that was counted twice on its way in would turn another away.
    with scripted("--max-connections", str(CROWD)) as (served, feed):
        members = asyncio.run(crowd(served.address, feed))
        for member in members:
            assert member.texts[0].startswith('{"event":"hello"')
            assert member.texts[1].startswith('{"event":"subscribed"')
            assert member.texts[2:] == members[0].texts[2:]
        assert [f'"seq": {seq},' in text for seq, text in enumerate(members[0].texts[2:], 1)] == [True] * UPDATES
        stats = served.wait_for_stats("all have left", connections=0, subscribers__all=0)
        assert stats["delivered"] == CROWD * UPDATES
        assert stats["refused"] == {}


def test_without_descriptors_it_serves_on_stays_calm_and_heals() -> None:
    """prlimit(2) leaves it a few descriptors, and a flood takes them all."""
    with (
        scripted("--csv", "--csv-interval-s", "0.2", "--header-timeout-s", "30") as (served, feed),
        served.raw() as old,
    ):
        old.send("subscribe-execs")
        old.receive_event("subscribed")
        inside = psutil.Process(served.process.pid)
        spent = inside.num_fds() + 5
        _, hard = resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (spent, hard))
        lines, before = len(served.process.stderr), inside.cpu_times()
        with ExitStack() as flood:
            for _ in range(100):
                flood.enter_context(open_socket(served.address))
            served.process.wait_for("cannot accept: Too many open files")
            deadline = time.monotonic() + 2.0
            while time.monotonic() < deadline:
                feed.update()
                old.seqs(1)
                time.sleep(0.02)  # a feed's pace: this is load, not a wait
            after = inside.cpu_times()
            assert after.user + after.system - before.user - before.system < 0.5
            assert len(served.process.stderr) - lines < 10
            assert inside.num_fds() <= spent
        wait_until(lambda: served.get("/healthz")[0] == 200, "healed")
        with served.client() as new:
            new.subscribe()
            feed.update()
            assert new.seqs(1) == old.seqs(1) == [feed.seq]
        printed = len(served.process.stdout)
        wait_until(lambda: len(served.process.stdout) > printed, "the CSV line goes on")
        assert served.stats()["refused"]["descriptors"] > 0


def test_figures_are_told_on_with_the_very_last_descriptor_spent() -> None:
    with (
        scripted("--csv", "--csv-interval-s", "0.1", "--header-timeout-s", "30") as (served, _),
        ExitStack() as held,
    ):
        scraper = held.enter_context(open_socket(served.address))
        request = b"GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"
        scraper.sendall(request)
        assert b" 200 " in scraper.recv(65536)
        inside = psutil.Process(served.process.pid)
        spent = inside.num_fds() + 5
        _, hard = resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (spent, hard))
        for _ in range(5):
            held.enter_context(open_socket(served.address))
        wait_until(lambda: inside.num_fds() == spent, "all are spent")
        printed = len(served.process.stdout)
        wait_until(lambda: len(served.process.stdout) > printed + 2, "the CSV line goes on")
        scraper.sendall(request)
        assert b" 200 " in scraper.recv(65536)


def test_handshakes_over_their_bound_wait_and_an_established_connection_is_none() -> None:
    flags = ("--max-exchanges", "2", "--header-timeout-s", "0.5")
    with scripted(*flags) as (served, _), ExitStack() as stack:
        for _ in range(5):  # more than the bound: each frees its place when it is established
            assert stack.enter_context(served.raw()).receive()["event"] == "hello"
        began = time.monotonic()
        for _ in range(2):
            stack.enter_context(open_socket(served.address)).sendall(b"GET / HTTP/1.1\r\n")
        assert served.get("/healthz")[0] == 200  # once the half ones have had their time
        assert time.monotonic() - began > 0.4


def test_new_clients_are_refused_while_what_waits_for_all_is_near_its_bound() -> None:
    flags = ("--outbound-total-mib", "1", "--outbound-kib", "2048", "--send-buffer-kib", "16")
    with scripted(*flags) as (served, feed), served.raw(receive_buffer=4096) as stuck:
        stuck.send("subscribe-execs")
        stuck.receive_event("subscribed")
        bound = 2**20

        def nearly_full() -> bool:
            feed.updates(5, padding=4000)
            served.wait_for_stats("they came", feed__seq=feed.seq)
            return bool(served.stats()["queued_bytes"] > 0.95 * bound)

        wait_until(nearly_full, "95 % of the bound are in use")
        status, answer = exchange(served.address, handshake_request(served.address))
        assert status == 503
        assert "outbound-memory" in answer
        assert stuck.seqs(feed.seq) == list(range(1, feed.seq + 1))
        with served.client() as client:
            client.subscribe()


def own_address() -> str:
    """An address of this machine that is not the loopback's: its peers count as strangers."""
    for name, addresses in psutil.net_if_addrs().items():
        if psutil.net_if_stats()[name].isup:
            for address in addresses:
                if address.family == socket.AF_INET and not address.address.startswith("127."):
                    return address.address
    pytest.skip("this machine has no address besides the loopback")


def test_a_stranger_who_connects_too_often_is_refused() -> None:
    address = f"{own_address()}:0"
    flags = ("--insecure-listen", "--connections-per-s", "1", "--connection-burst", "3")
    with scripted(*flags, listen=address) as (served, _), ExitStack() as stack:
        for _ in range(3):
            assert stack.enter_context(served.raw()).receive()["event"] == "hello"
        with open_socket(served.address) as sock:
            assert sock.recv(1) == b""


def test_a_stranger_who_sends_too_often_is_read_later_but_answered() -> None:
    address = f"{own_address()}:0"
    with (
        scripted("--insecure-listen", "--messages-per-s", "10", listen=address) as (served, _),
        served.raw() as client,
    ):
        hello = client.receive()
        assert hello["data"]["limits"]["messages_per_s"] == 10
        began = time.monotonic()
        for _ in range(25):  # two seconds' worth are a burst
            client.send("no-such-event")
            assert client.receive()["event"] == "error"
        assert time.monotonic() - began > 0.4


def test_a_feed_over_ipc_works(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/feed"
    with ScriptedPublisher(endpoint) as feed, gateway(endpoint, *PATIENT, await_ready=False) as served:
        feed.wait_for_gateways()
        feed.say(Kind.HEARTBEAT)
        assert served.process.ready()["feed"] == endpoint
        with served.client() as client:
            client.subscribe()
            feed.updates(3)
            assert client.seqs(3) == [1, 2, 3]


def test_ipv6_works() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with scripted(listen="[::1]:0") as (served, feed):
        assert served.address.startswith("[::1]:")
        assert served.get("/healthz")[0] == 200
        with RawClient(served.address, headers={"Origin": f"http://{served.address}"}) as client:
            client.send("subscribe-execs")
            client.receive_event("subscribed")
            feed.update()
            assert client.seqs(1) == [1]


def words(told: socket.socket) -> set[str]:
    """The names in the next datagram to systemd."""
    return {line.partition("=")[0] for line in told.recv(1000).decode().splitlines()}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_is_told_ready_once_the_feed_is_joined_and_stopping_at_the_end(
    tmp_path: Path, workers: str
) -> None:
    path = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, ScriptedPublisher() as feed:
        told.bind(path)
        told.settimeout(10.0)
        process = Process(
            *("gateway", "--listen", "127.0.0.1:0", "--feed", feed.endpoint, "--workers", workers),
            environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"},
        )
        try:
            feed.wait_for_gateways(int(workers))
            for _ in range(2):  # it waits for the feed, and asks systemd for the time to
                assert words(told) == {"WATCHDOG", "STATUS", "EXTEND_TIMEOUT_USEC"}
            feed.say(Kind.HEARTBEAT)
            while "WATCHDOG" in (said := words(told)):
                pass
            assert said == {"READY"}
            while words(told) != {"WATCHDOG", "STATUS"}:  # one that asks for time may have been on its way
                pass
            assert process.stop() == 0
            while "WATCHDOG" in (said := words(told)):
                pass
            assert said == {"STOPPING", "STATUS"}
        finally:
            process.close()
