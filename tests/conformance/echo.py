"""An echo by the gateway's own connection code, at any path: `python -m tests.conformance.echo --port N`.

The acceptor, the handshake, `Connection`, `FrameParser` and `Outbound` are the gateway's; only what a session does
with a message is replaced, and the bounds are wide enough for the messages of a conformance suite.
"""

import argparse
import sys
from typing import Any

from execgate.service import lifecycle
from execgate.service.endpoints import TcpAddress
from execgate.service.lifecycle import Stop
from execgate.wire.deflate import DEFLATED, RSV1, compress
from execgate.wire.events import PLAIN
from execgate.wire.frame_builder import Opcode, build
from execgate.wire.update import Kind, Update
from gateway.acceptor import bound_address, listen
from gateway.admission import Admission
from gateway.connection import Connection, Site
from gateway.core.policy import OpenPolicy
from gateway.core.session import Mode
from gateway.counters import Counters
from gateway.fanout import Fanout
from gateway.front import Front
from gateway.http_server import serve
from gateway.keepalive import Keepalive
from gateway.limits import Limits
from gateway.orders import ImmediateHandler, OrderDesk
from gateway.outbound import OutboundBudget
from gateway.pages import Pages
from gateway.resume import Resumer

PROGRAM = "python -m tests.conformance.echo"
MAX_MESSAGE_BYTES = 16 << 20
MAX_FRAGMENTS = 1 << 17  # Autobahn sends 4 MiB in pieces of 64 bytes
_BUDGET_BYTES = 256 << 20
_LONG_S = 600.0


class EchoConnection(Connection):
    """Sends back what comes, compressed where that was agreed on, and nothing else."""

    __slots__ = ()

    def _greet(self) -> bytes:
        return b""

    def _perform(self, text: str) -> None:
        self._echo(Opcode.TEXT, text.encode())

    def _take_binary(self, data: bytes) -> None:
        self._echo(Opcode.BINARY, data)

    def _echo(self, opcode: int, data: bytes) -> None:
        if self._envelope is PLAIN:
            self.outbound.raw(build(opcode, data))
        else:
            bits = next(bits for bits, envelope in DEFLATED.items() if envelope is self._envelope)
            self.outbound.raw(build(opcode | RSV1, compress(data, bits)))


class EchoFront(Front):
    """Takes a handshake at any path."""

    connection_class = EchoConnection

    def takes(self, path: str) -> bool:
        return True


def make_site(deflate: bool) -> Site:
    """A gateway's parts with wide bounds, its feed at seq 0: no handshake is answered 503."""
    limits = Limits(
        message_bytes=MAX_MESSAGE_BYTES,
        depth=16,
        fragments=MAX_FRAGMENTS,
        message_timeout_s=_LONG_S,
        heartbeat_s=_LONG_S,
        ping_s=_LONG_S,
        idle_s=_LONG_S,
        default_mode=Mode.ALL,
        explicit_subscribe=True,
        deflate=deflate,
    )
    counters = Counters()
    fanout = Fanout(counters, lambda: None, lambda member: None)
    fanout.take(Update(Kind.HEARTBEAT, b"", 1, 0, 0, 0, b"", b""))
    return Site(
        name="echo",
        limits=limits,
        counters=counters,
        fanout=fanout,
        desk=OrderDesk(ImmediateHandler(), _LONG_S, counters),
        resumer=Resumer(fanout, None, 1, lambda: True),
        keepalive=Keepalive(limits, fanout),
        budget=OutboundBudget(_BUDGET_BYTES, _BUDGET_BYTES),
    )


async def run(port: int, deflate: bool, stop: Stop) -> None:
    """Serve until `stop`."""
    site = make_site(deflate)
    listener = listen("--port", TcpAddress("127.0.0.1", port), share_port=False)
    pages = Pages(dict[str, Any], lambda: (True, {}), with_page=False)
    front = EchoFront(site, pages, OpenPolicy(0, 1), ["*"], 1000, Admission())
    site.keepalive.start()
    acceptor = serve(listener, front, site.counters, header_timeout_s=5.0, max_exchanges=1000)
    lifecycle.tell_ready(PROGRAM, listen=bound_address(listener))
    await stop.wait()
    acceptor.close()
    site.keepalive.stop()


def main() -> int:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--port", type=int, default=9001, help="on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--deflate", action="store_true", help="accept permessage-deflate")
    arguments = parser.parse_args()
    return lifecycle.run(PROGRAM, lambda stop: run(arguments.port, arguments.deflate, stop))


if __name__ == "__main__":
    sys.exit(main())
