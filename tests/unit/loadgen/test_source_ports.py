"""The ports that clients connect from: any that is free, so that the last client connects as fast as the first."""

import asyncio
import platform
import re
import socket

import pytest

from loadgen.core.target import Target
from loadgen.raw_client import _connected

MANY = 40
"""That they all had even ports by accident: once in 2 to the power of 40 runs."""


def kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])


@pytest.mark.skipif(kernel() < (6, 8), reason="Linux before 6.8 tries even ports first whatever it is asked")
def test_the_kernel_does_not_try_all_even_ports_first() -> None:
    async def ports(target: Target) -> set[int]:
        socks = [await _connected(target, None) for _ in range(MANY)]
        found = {sock.getsockname()[1] for sock in socks}
        for sock in socks:
            sock.close()
        return found

    with socket.create_server(("127.0.0.1", 0), backlog=MANY) as listener:
        target = Target("127.0.0.1", listener.getsockname()[1], "/ws", source="127.0.0.1")
        assert {port % 2 for port in asyncio.run(ports(target))} == {0, 1}
