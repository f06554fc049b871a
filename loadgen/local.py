"""`--local publisher+N`: a publisher and N gateways on this machine, for the length of a run. Called by `run.py`.

They are programs like any other's: started by the command line, met over sockets, ended by pid, and ended by the
kernel where we are killed. Ports are free ones of the loopback; there is no journal, so no folder is left.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from execgate.service.children import Children
from execgate.service.lifecycle import Stop
from loadgen.core.local import HOST
from loadgen.core.target import Target


@dataclass(slots=True)
class LocalServers:
    """Servers that are ready.

    Attributes:
        targets: the gateways.
        pids: of publisher and gateways.
        died: what is to be said of each that ended by itself.
    """

    targets: tuple[Target, ...]
    pids: tuple[int, ...]
    died: list[str] = field(default_factory=list)


@asynccontextmanager
async def local_servers(gateways: int, clients: int, rate: float, stop: Stop) -> AsyncIterator[LocalServers]:
    """Run servers for the length of a block.

    Args:
        gateways: how many.
        clients: how many each takes in: all of them, where the others turn some away.
        rate: updates a second that the publisher makes.
        stop: asks for an early end; it is requested where a server ends by itself.

    Raises:
        ChildError: one did not get ready; its words.
        StoppedError: the end was asked for before all were.
    """
    async with Children() as children:
        servers = await _start(children, gateways, clients, rate, stop)

        async def watch() -> None:
            ends = children.ends
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            servers.died = [str(child.death()) for end, child in ends.items() if end.done()]
            stop.request()

        watching = asyncio.create_task(watch())
        try:
            yield servers
        finally:
            watching.cancel()


async def _start(children: Children, count: int, clients: int, rate: float, stop: Stop) -> LocalServers:
    # The publisher first: a gateway is ready once it knows where the sequence stands.
    publishing = ("publisher", "--rate", f"{rate:g}", "--pub", f"tcp://{HOST}:0")
    publisher = await children.start("the local publisher", *publishing)
    facts = await children.ready(publisher, stop)
    serving = (
        *("gateway", "--listen", f"{HOST}:0", "--max-connections", f"{clients}"),
        *("--feed", facts["pub"], "--replay", facts["replay"]),
    )
    gateways = [await children.start(f"local gateway {number}", *serving) for number in range(count)]
    addresses = [(await children.ready(gateway, stop))["listen"].rpartition(":") for gateway in gateways]
    targets = tuple(Target(host, int(port), "/ws") for host, _, port in addresses)
    return LocalServers(targets, tuple(child.process.pid for child in (publisher, *gateways)))
