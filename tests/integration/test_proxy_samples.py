"""The samples in `etc/proxy/`, each run by the real proxy with real traffic; only ports and paths are replaced."""

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from execgate.wire.events import SUBPROTOCOL
from execgate.wire.update import Kind
from tests.certificates import Pair, client_context, make_pair
from tests.harness import wait_until
from tests.rig import PATIENT, Gateway, gateway
from tests.scripted_publisher import ScriptedPublisher

pytestmark = pytest.mark.slow

SAMPLES = Path(__file__).parents[2] / "etc" / "proxy"
CLIENT = "127.0.0.9"
"""Where the client connects from: not the proxy's own address."""
TRUSTING = ("--trusted-proxies", "127.0.0.1")
TIMEOUT_S = 10.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def proxy(command: Sequence[str | Path], port: int, folder: Path) -> Iterator[None]:
    """Run a proxy until its port answers; end it by pid."""
    with (folder / "words").open("w+") as words, subprocess.Popen(command, stdout=words, stderr=words) as process:

        def answers() -> bool:
            assert process.poll() is None, (folder / "words").read_text()
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                return False
            return True

        try:
            wait_until(answers, f"{command[0]} listens")
            yield
        finally:
            process.terminate()
            process.wait(10)


def replaced(sample: str, changes: dict[str, str]) -> str:
    """Return a sample with `changes`; each must be there, so that no test runs something else than the sample."""
    text = (SAMPLES / sample).read_text()
    for old, new in changes.items():
        assert old in text, f"{sample} has no {old!r}"
        text = text.replace(old, new)
    return text


def to_gateways(addresses: Sequence[str]) -> dict[str, str]:
    return dict(zip(("127.0.0.1:8124", "127.0.0.1:8125"), addresses, strict=True))


def haproxy(folder: Path, pair: Pair, port: int, gateways: Sequence[str]) -> list[str | Path]:
    pem = folder / "execgate.pem"
    pem.write_text(pair.certificate.read_text() + pair.key.read_text())
    changes = {"bind :443": f"bind 127.0.0.1:{port}", "/etc/haproxy/execgate.pem": str(pem)}
    text = replaced(
        "haproxy.cfg", changes | dict(zip(("127.0.0.1:8124", "127.0.0.1:8125"), gateways, strict=True))
    )
    (folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-db", "-f", folder / "haproxy.cfg"]


def nginx(folder: Path, pair: Pair, port: int, gateways: Sequence[str]) -> list[str | Path]:
    changes = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/nginx/execgate.crt": str(pair.certificate),
        "/etc/nginx/execgate.key": str(pair.key),
        "worker_rlimit_nofile 65536": "worker_rlimit_nofile 1024",
        "worker_connections 30000": "worker_connections 1000",
    }
    text = replaced("nginx.conf", changes | to_gateways(gateways))
    (folder / "nginx.conf").write_text(text)
    own = f"daemon off; pid {folder}/pid; error_log {folder}/error.log;"
    return ["nginx", "-e", folder / "error.log", "-p", folder, "-c", folder / "nginx.conf", "-g", own]


def caddy(folder: Path, pair: Pair, port: int, gateways: Sequence[str]) -> list[str | Path]:
    """Here it may ask nobody for a certificate, and opens no port but ours."""
    changes = {
        "executions.example.com {": f"https://localhost:{port}, https://127.0.0.1:{port} {{\n"
        f"\ttls {pair.certificate} {pair.key}\n",
    }
    text = replaced("Caddyfile", changes | to_gateways(gateways))
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"]


PROXIES: dict[str, tuple[Callable[[Path, Pair, int, Sequence[str]], list[str | Path]], tuple[str, ...]]] = {
    "haproxy": (haproxy, ("--proxy-protocol",)),
    "nginx": (nginx, ()),
    "caddy": (caddy, ()),
}


@dataclass
class Scene:
    """A proxy, and two gateways on one feed behind it."""

    address: str
    tls: ssl.SSLContext
    feed: ScriptedPublisher
    gateways: list[Gateway]

    @contextmanager
    def client(self) -> Iterator[tuple[ClientConnection, dict[str, Any]]]:
        """A browser's connection, which forges an address, and the data of its `hello`."""
        with connect(
            f"wss://{self.address}/ws",
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            ssl=self.tls,
            origin=Origin(f"https://{self.address}"),
            additional_headers={"X-Forwarded-For": "203.0.113.1"},
            source_address=(CLIENT, 0),
            compression=None,
            proxy=None,
        ) as connection:
            yield connection, receive(connection, "hello")


def receive(connection: ClientConnection, event: str) -> dict[str, Any]:
    """Return the data of the next `event`; heartbeats may come before it."""
    while True:
        message = json.loads(connection.recv(TIMEOUT_S))
        if message["event"] != "heartbeat":
            assert message["event"] == event, message
            return dict(message["data"])


@pytest.fixture(params=PROXIES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(
            f"NO {name.upper()}: its sample is untested here (apt-get install {name}; ./run test does in CI)"
        )
    make_command, flags = PROXIES[name]
    pair = make_pair(tmp_path, "proxy")
    port = free_port()
    with ScriptedPublisher() as feed, ExitStack() as stack:
        gateways = [
            stack.enter_context(gateway(feed.endpoint, *PATIENT, *TRUSTING, *flags, await_ready=False))
            for _ in range(2)
        ]
        feed.wait_for_gateways(2)
        feed.say(Kind.HEARTBEAT)
        for one in gateways:
            one.process.ready()
        stack.enter_context(
            proxy(make_command(tmp_path, pair, port, [g.address for g in gateways]), port, tmp_path)
        )
        tls = client_context(pair.certificate)
        yield Scene(f"localhost:{port}", tls, feed, gateways)


def test_a_client_behind_the_proxy_is_known_by_its_own_address_and_outlives_a_gateway(scene: Scene) -> None:
    with scene.client() as (connection, hello):
        assert hello["address"].startswith(f"{CLIENT}:")
        connection.send(json.dumps({"event": "subscribe-execs"}))
        receive(connection, "subscribed")
        scene.feed.updates(3)
        assert [receive(connection, "receive-execs")["seq"] for _ in range(3)] == [1, 2, 3]
        mine = next(g for g in scene.gateways if hello["session"].startswith(f"gateway-{g.process.pid}-"))
        mine.process.popen.kill()
        with pytest.raises(ConnectionClosed):
            connection.recv(TIMEOUT_S)

    def resumes_elsewhere() -> bool:
        try:
            with scene.client() as (connection, hello):
                since = {"epoch": hello["epoch"], "seq": 3}
                connection.send(json.dumps({"event": "subscribe-execs", "data": {"since": since}}))
                assert receive(connection, "subscribed")["recovered"] is True
                assert hello["address"].startswith(f"{CLIENT}:")
        except (OSError, InvalidHandshake):  # until the proxy has seen that one is gone
            return False
        return True

    wait_until(resumes_elsewhere, "a connection by the other gateway")
