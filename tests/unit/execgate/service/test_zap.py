"""Who gets in over CURVE: real sockets, real keys, and peers that have none."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import uvloop
import zmq

from execgate.service import curve, zap
from execgate.service.curve import ClientCurve, KeyPair, ServerCurve
from execgate.service.zap import Allowed, Zap
from execgate.wire.errors import UsageError
from tests.harness import until

Context = zmq.Context["zmq.Socket[bytes]"]
FEED, INGEST = "feed", "ingest"


@pytest.fixture
def contexts() -> Iterator[tuple[Context, Context]]:
    """The server's and the clients': as in life, they share nothing."""
    server: Context = zmq.Context()
    clients: Context = zmq.Context()
    yield server, clients
    clients.destroy(linger=0)
    server.destroy(linger=0)


def key_of(folder: Path, name: str) -> KeyPair:
    curve.generate(folder, name)
    return curve.load_secret("", str(folder / f"{name}.key"))


class Scene:
    """A PULL for each of two domains, and keys."""

    def __init__(self, contexts: tuple[Context, Context], folder: Path) -> None:
        self._server, self._clients = contexts
        self.folder = folder
        self.keys = {
            name: key_of(folder / "keys", name) for name in ("publisher", "gateway", "producer", "stranger")
        }
        for domain, name in ((FEED, "gateway"), (INGEST, "producer")):
            (folder / domain).mkdir()
            (folder / domain / f"{name}.pub").write_bytes((folder / "keys" / f"{name}.pub").read_bytes())
        allowed = {domain: Allowed(f"--{domain}", str(folder / domain)) for domain in (FEED, INGEST)}
        self.zap = Zap(self._server, allowed)
        self.endpoints: dict[str, str] = {}
        self._peers: list[zmq.Socket[bytes]] = []
        self.sockets = {domain: self.bind(domain) for domain in (FEED, INGEST)}

    def bind(self, domain: str) -> "zmq.Socket[bytes]":
        socket = self._server.socket(zmq.PULL)
        socket.setsockopt(zmq.LINGER, 0)
        ServerCurve(self.keys["publisher"]).secure(socket, domain)
        socket.bind("tcp://127.0.0.1:0")
        self.endpoints[domain] = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        return socket

    def push(self, domain: str, own: KeyPair | None, server: KeyPair | None = None) -> None:
        """Have a new peer send its message."""
        socket = self._clients.socket(zmq.PUSH)
        socket.setsockopt(zmq.LINGER, 0)
        if own is not None:
            ClientCurve(own, (server or self.keys["publisher"]).public).secure(socket)
        socket.connect(self.endpoints[domain])
        socket.send(b"in", zmq.NOBLOCK)
        self._peers.append(socket)

    def came(self, domain: str) -> bool:
        try:
            return self.sockets[domain].recv(zmq.NOBLOCK) == b"in"
        except zmq.Again:
            return False

    def close(self) -> None:
        self.zap.close()


def play(contexts: tuple[Context, Context], folder: Path, steps: Callable[[Scene], Awaitable[None]]) -> None:
    async def scene() -> None:
        made = Scene(contexts, folder)
        try:
            await steps(made)
        finally:
            made.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


def test_who_is_in_the_directory_gets_in(contexts: tuple[Context, Context], tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        scene.push(FEED, scene.keys["gateway"])
        scene.push(INGEST, scene.keys["producer"])
        await until(lambda: scene.came(FEED))
        await until(lambda: scene.came(INGEST))
        assert (scene.zap.counts["allowed"], scene.zap.counts["refused"]) == (2, 0)

    play(contexts, tmp_path, steps)


@pytest.mark.parametrize(("domain", "name"), [(FEED, "stranger"), (FEED, "producer"), (INGEST, "gateway")])
def test_any_other_key_does_not_and_is_counted_and_logged_with_its_public_half(
    contexts: tuple[Context, Context], domain: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps(scene: Scene) -> None:
        scene.push(domain, scene.keys[name])
        await until(lambda: scene.zap.counts["refused"])
        assert not scene.came(domain)
        assert f"refused address=127.0.0.1 domain={domain} key={scene.keys[name].public.decode()}" in caplog.text
        assert not [key for key in scene.keys.values() if key.secret.decode() in caplog.text]

    play(contexts, tmp_path, steps)


def test_a_peer_without_keys_or_with_another_server_in_mind_does_not(
    contexts: tuple[Context, Context], tmp_path: Path
) -> None:
    async def steps(scene: Scene) -> None:
        failed = scene.sockets[FEED].get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        scene.push(FEED, None)
        await until(lambda: failed.poll(0))
        scene.push(FEED, scene.keys["gateway"], server=scene.keys["stranger"])
        scene.push(FEED, scene.keys["gateway"])
        await until(lambda: scene.came(FEED))
        await asyncio.sleep(0.05)
        assert not scene.came(FEED), "one of three"
        scene.sockets[FEED].disable_monitor()

    play(contexts, tmp_path, steps)


def test_a_client_does_not_talk_to_who_only_says_to_be_the_publisher(
    contexts: tuple[Context, Context], tmp_path: Path
) -> None:
    """The control: with the key of the one that answers, the same message comes."""

    async def steps(scene: Scene) -> None:
        impostor, scene.keys["publisher"] = scene.keys["publisher"], scene.keys["stranger"]
        scene.push(FEED, scene.keys["gateway"])  # means the stranger
        await asyncio.sleep(0.1)
        assert not scene.came(FEED)
        scene.keys["publisher"] = impostor
        scene.push(FEED, scene.keys["gateway"])
        await until(lambda: scene.came(FEED))

    play(contexts, tmp_path, steps)


def test_without_a_handler_nobody_gets_in(contexts: tuple[Context, Context], tmp_path: Path) -> None:
    """libzmq's own default is the contrary: anybody who knows the server's public key would."""

    async def steps(scene: Scene) -> None:
        scene.zap.close()
        scene.push(FEED, scene.keys["gateway"])
        await asyncio.sleep(0.1)
        assert not scene.came(FEED)
        scene.zap = Zap(contexts[0], {FEED: Allowed("--feed", str(tmp_path / FEED))})
        # Another client: the first one's question may have met the handler as it closed, and wait for an answer.
        scene.push(FEED, scene.keys["gateway"])
        await until(lambda: scene.came(FEED))

    play(contexts, tmp_path, steps)


def test_who_is_refused_holds_no_connection(contexts: tuple[Context, Context], tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        closed = scene.sockets[FEED].get_monitor_socket(zmq.EVENT_DISCONNECTED)
        scene.push(FEED, scene.keys["stranger"])
        await until(lambda: closed.poll(0))
        scene.sockets[FEED].disable_monitor()

    play(contexts, tmp_path, steps)


def test_a_domain_that_nobody_knows_lets_nobody_in(contexts: tuple[Context, Context], tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        scene.sockets["other"] = scene.bind("other")
        scene.push("other", scene.keys["gateway"])
        await until(lambda: scene.zap.counts["refused"])
        assert not scene.came("other")

    play(contexts, tmp_path, steps)


def test_a_key_that_is_added_gets_in_and_one_that_is_removed_does_not(
    contexts: tuple[Context, Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zap, "_REREAD_S", 0.0)

    async def steps(scene: Scene) -> None:
        scene.push(FEED, scene.keys["stranger"])
        await until(lambda: scene.zap.counts["refused"])
        added = tmp_path / FEED / "stranger.pub"
        added.write_bytes((tmp_path / "keys" / "stranger.pub").read_bytes())
        scene.push(FEED, scene.keys["stranger"])
        await until(lambda: scene.came(FEED))
        added.unlink()
        refused = scene.zap.counts["refused"]
        scene.push(FEED, scene.keys["stranger"])
        await until(lambda: scene.zap.counts["refused"] > refused)
        assert not scene.came(FEED)

    play(contexts, tmp_path, steps)


def test_while_a_key_is_still_being_written_those_before_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zap, "_REREAD_S", 0.0)
    first, second = key_of(tmp_path / "keys", "a"), key_of(tmp_path / "keys", "b")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.pub").write_bytes(first.public)
    allowed = Allowed("--curve-clients", str(folder))
    later = folder / "b.pub"
    later.touch()
    os.utime(folder, ns=(1, 1))  # seen as changed, whatever the clock's grain
    assert (allowed.name_of(first.public), allowed.name_of(second.public)) == ("a", None)
    later.write_bytes(second.public)  # which is no change of the directory
    assert allowed.name_of(second.public) == "b"


def test_a_directory_is_not_read_for_each_that_knocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def load(flag: str, path: str) -> dict[bytes, str]:
        reads.append(path)
        return {}

    monkeypatch.setattr(curve, "load_directory", load)
    allowed = Allowed("--curve-clients", str(tmp_path))
    monkeypatch.setattr(zap, "_REREAD_S", 1e9)
    for number in range(50):
        (tmp_path / f"{number}.pub").touch()
        allowed.name_of(b"x")
    assert len(reads) == 1


def test_a_flood_of_strangers_is_one_line(
    contexts: tuple[Context, Context], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps(scene: Scene) -> None:
        for _ in range(30):
            scene.push(FEED, scene.keys["stranger"])
        await until(lambda: scene.zap.counts["refused"] >= 30)
        scene.push(FEED, scene.keys["gateway"])
        await until(lambda: scene.came(FEED))

    with caplog.at_level(logging.INFO):
        play(contexts, tmp_path, steps)
    assert 1 <= sum("refused" in record.message for record in caplog.records) <= 10


def test_a_directory_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--curve-clients"):
        Allowed("--curve-clients", str(tmp_path / "none"))
