"""The interval records of a load generator that the demo starts, through a pipe. Called by `show.py`."""

import asyncio
import os
from typing import Any

import ujson

from execgate.service.children import MAX_LINE_BYTES, Child, Children


async def start_recording(children: Children, name: str, *arguments: str) -> tuple[Child, "Records"]:
    """Start a load generator whose interval log is a pipe to us."""
    reading, writing = os.pipe()
    try:
        child = await children.start(name, *arguments, "--intervals", f"/dev/fd/{writing}", pass_fds=(writing,))
    finally:
        os.close(writing)
    stream = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb")
    )
    return child, Records(stream)


class Records:
    """The interval records of one load generator, as they come."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self.all: list[dict[str, Any]] = []
        self._arrived = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self._stream:
            self.all.append(ujson.loads(line))
            self._arrived.set()

    async def next(self, index: int) -> dict[str, Any]:
        """Wait for record number `index` and return it."""
        while len(self.all) <= index:
            self._arrived.clear()
            await self._arrived.wait()
        return self.all[index]

    async def rest(self) -> None:
        """Wait for the end of the log."""
        await self._reading
