"""A TCP relay between the publisher and one gateway, whose line can be cut, stalled, or made slow.

It needs no rights, and does what a network does to a TCP connection: ends it, holds it silently, delays it. Lost
and doubled packets are TCP's own affair: `packets` is below it.
"""

import asyncio
from collections.abc import Sequence

_CHUNK_BYTES = 64 * 1024


class Relay:
    """The lines of one gateway: listens on a port for each of the publisher's.

    Args:
        host: the publisher's.
        ports: the publisher's.

    Attributes:
        ports: of 127.0.0.1, to be connected to instead, in the same order.
        delay_s: before each chunk is passed on, in either direction.
        cuts: connections that were cut.
    """

    def __init__(self, host: str, ports: Sequence[int]) -> None:
        self.ports: list[int] = []
        self.delay_s = 0.0
        self.cuts = 0
        self._host = host
        self._upstream = list(ports)
        self._servers: list[asyncio.Server] = []
        self._flows = asyncio.Event()  # cleared: nothing is passed on
        self._flows.set()
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Bind."""
        for upstream in self._upstream:

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = upstream
            ) -> None:
                await self._serve(port, reader, writer)

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """End all connections, and each new one at once, until `heal`."""
        self._is_cut = True
        self.cuts += len(self._writers) // 2
        for writer in list(self._writers):
            writer.transport.abort()

    def stall(self) -> None:
        """Hold everything silently until `heal`."""
        self._flows.clear()

    def heal(self) -> None:
        """Pass everything on again."""
        self._is_cut = False
        self.delay_s = 0.0
        self._flows.set()

    def close(self) -> None:
        """Stop listening and end all connections."""
        for server in self._servers:
            server.close()
        self.cut()

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = [writer]
        self._writers.add(writer)
        try:
            if self._is_cut:
                return
            above_reader, above_writer = await asyncio.open_connection(self._host, port)
            pair.append(above_writer)
            self._writers.add(above_writer)
            if self._is_cut:
                return
            directions = [self._pump(reader, above_writer), self._pump(above_reader, writer)]
            tasks = [asyncio.ensure_future(direction) for direction in directions]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        except OSError:
            pass
        finally:
            for each in pair:
                self._writers.discard(each)
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
