"""The `websockets` library, with its own `broadcast`, as its docs recommend for this job."""

import asyncio
import sys

from lines import each_line
from orders import answer_order
from websockets.asyncio.server import ServerConnection, broadcast, serve

CLIENTS: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    """Serve one client."""
    CLIENTS.add(connection)
    try:
        async for text in connection:
            answer = answer_order(text)
            if answer is not None:
                await connection.send(answer)
    finally:
        CLIENTS.discard(connection)


async def main() -> None:
    """Listen and broadcast each line."""
    async with serve(handle, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None, backlog=4096):
        print("ready", flush=True)
        await each_line(lambda text: broadcast(CLIENTS, text.decode()))


asyncio.run(main())
