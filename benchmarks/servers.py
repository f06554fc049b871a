"""The servers that can be measured: how each is started, and what stands for it in a table."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.setup_peers import BENCH, HERE, build_c, node_environment, peer_python

OURS = "execgate"


@dataclass(frozen=True)
class Server:
    """One peer.

    Attributes:
        name: as `--against` takes it.
        what: for the table's legend.
        command: returns its command line for a port; installs what it needs.
        environment: returns what must be added to its environment.
        path, say: where clients connect, and what they say first.
        takes_orders: whether it answers orders in our JSON.
        version: returns its version.
    """

    name: str
    what: str
    command: Callable[[int], list[str]]
    environment: Callable[[], Mapping[str, str]] = dict
    path: str = "/ws"
    say: tuple[str, ...] = ()
    takes_orders: bool = True
    version: Callable[[], str] = field(default=lambda: "")


def _node(script: str) -> Callable[[int], list[str]]:
    return lambda port: ["node", str(HERE / "peers" / script), str(port)]


def _python(script: str) -> Callable[[int], list[str]]:
    return lambda port: [str(peer_python()), str(HERE / "peers" / script), str(port)]


def _npm_version(package: str) -> Callable[[], str]:
    def version() -> str:
        script = f"console.log(require({package!r} + '/package.json').version)"
        return _said(["node", "-e", script], {**os.environ, "NODE_PATH": str(BENCH / "node_modules")})

    return version


def _pip_version(package: str) -> Callable[[], str]:
    def version() -> str:
        script = f"import importlib.metadata as m; print(m.version({package!r}))"
        return _said([str(peer_python()), "-c", script], os.environ)

    return version


def _said(command: list[str], environment: Mapping[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


def gateway_command(port: int, *flags: str, python: Path | str = sys.executable) -> list[str]:
    """Return the command line of our gateway; its feed is added by the run."""
    return [str(python), "-m", "execgate", "gateway", "--listen", f"127.0.0.1:{port}", *flags]


SERVERS = {
    server.name: server
    for server in (
        Server(OURS, "this gateway", gateway_command),
        Server(
            "limit",
            "a bare loop of one send() a delivery, in C: the kernel's limit",
            lambda port: [str(build_c("peers/limit")), str(port)],
            takes_orders=False,
        ),
        Server(
            "ws",
            "ws on Node, a prepared frame written to each socket",
            _node("ws.js"),
            node_environment,
            version=_npm_version("ws"),
        ),
        Server(
            "uws",
            "uWebSockets.js, native publish",
            _node("uws.js"),
            node_environment,
            version=_npm_version("uwebsockets"),
        ),
        Server(
            "socketio",
            "socket.io 4 on Node, WebSocket only: 2012's design today",
            _node("socketio.js"),
            node_environment,
            path="/socket.io/?EIO=4&transport=websocket",
            say=("40",),
            takes_orders=False,
            version=_npm_version("socket.io"),
        ),
        Server(
            "websockets",
            "the websockets library's broadcast",
            _python("websockets_server.py"),
            version=_pip_version("websockets"),
        ),
        Server(
            "tornado",
            "Tornado's write_message in a loop",
            _python("tornado_server.py"),
            version=_pip_version("tornado"),
        ),
        Server(
            "picows",
            "picows on uvloop, one send a client",
            _python("picows_server.py"),
            version=_pip_version("picows"),
        ),
    )
}
