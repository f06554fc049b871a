"""Shared by the Python peers: updates come as lines on standard input; each is framed as the gateway's JSON."""

import asyncio
import sys
from collections.abc import Callable

PREFIX, SUFFIX = b'{"event":"receive-execs","data":', b"}"


async def each_line(take: Callable[[bytes], object]) -> None:
    """Call `take` with the JSON of each update until the input ends."""
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        take(PREFIX + line.rstrip(b"\n") + SUFFIX)
