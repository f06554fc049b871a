"""A thousand clients join at once during the feed, lose their gateway, and come back to another, all exact.

Beside them some that do not say where they were: the control, of whom the same must not hold.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
import ujson

from execgate.wire.events import SUBPROTOCOL
from execgate.wire.frame_builder import Opcode, build_masked
from loadgen.client import Closed, Connection
from loadgen.core.target import Target
from loadgen.raw_client import RawConnection, RawConnector
from tests.clients import handshake_request, open_socket
from tests.harness import wait_until
from tests.integration.test_resume import Place
from tests.rig import Gateway

pytestmark = pytest.mark.slow
JOINERS, FORGETFUL = 1_000, 10
BEHIND, LIVE = 20, 5
"""Updates before the head, from where they begin; and after it, at least."""
JOINS_A_TURN, TURN_S = 10, 0.01
PAGE_UPDATES = 512
VISITORS, VISITS = 300, 40
GROWTH_BYTES = 1024 * 1024
"""Of 12,000 connections that have gone; an object that is left of each would be ten times as much."""
TIMEOUT_S = 60.0


class Joiner:
    """One client: where it is, and every seq that it was sent."""

    def __init__(self, epoch: str, position: int, *, forgets: bool = False) -> None:
        self.seqs: list[int] = []
        self.losses = 0
        self.is_open = False
        self._since = {"epoch": epoch, "seq": position}
        self._first = position + 1
        self._forgets = forgets
        self._connection: RawConnection | None = None

    def join(self, gateway: Gateway, connector: RawConnector) -> None:
        host, _, port = gateway.address.rpartition(":")
        connector.connect(Target(host, int(port), "/ws"), self, SUBPROTOCOL)

    def leave(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    @property
    def is_exact(self) -> bool:
        """Whether it has had each update from where it said that it was, once."""
        assert self.seqs
        return not self.losses and self.seqs == list(range(self._first, self._first + len(self.seqs)))

    def on_open(self, connection: Connection) -> None:
        self._connection = cast("RawConnection", connection)

    def on_text(self, text: str, received_ns: int, doubt_ns: int) -> None:
        message = ujson.loads(text)
        event, data = message["event"], message["data"]
        if event == "hello":
            self.is_open = True
            asked = {} if self._forgets else {"since": self._since}
            assert self._connection is not None
            self._connection.send_text(ujson.dumps({"event": "subscribe-execs", "data": asked}).encode())
        elif event == "receive-execs":
            self.seqs.append(data["seq"])
            self._since = {"epoch": data["epoch"], "seq": data["seq"]}
        elif event == "gap" or (event == "subscribed" and data["gap"]):
            self.losses += 1

    def on_close(self, closed: Closed) -> None:  # a storm is no place for polite ends
        self.is_open = False

    def on_failed(self, kind: str, reason: str) -> None:
        raise AssertionError(f"{kind}: {reason}")


async def all_join(joiners: Iterable[Joiner], gateway: Gateway, connector: RawConnector) -> None:
    """1,000 a second."""
    for number, joiner in enumerate(joiners, 1):
        joiner.join(gateway, connector)
        if number % JOINS_A_TURN == 0:
            await asyncio.sleep(TURN_S)


async def until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {TIMEOUT_S} s: {what}") from None


def place_of(gateway: Gateway) -> tuple[str, int]:
    feed: dict[str, Any] = gateway.stats()["feed"]
    return feed["epoch"], feed["seq"]


def test_a_thousand_join_at_once_lose_their_gateway_and_come_back_each_with_every_update_once(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    with place.publisher("--rate", "10"), place.gateway() as first:

        async def storm() -> None:
            await until(lambda: place_of(first)[1] > BEHIND, "there is something to resume from")
            epoch, head = place_of(first)
            exact = [Joiner(epoch, head - BEHIND) for _ in range(JOINERS)]
            control = [Joiner(epoch, head - BEHIND, forgets=True) for _ in range(FORGETFUL)]
            everybody = exact + control
            connector = RawConnector(TIMEOUT_S)
            await all_join(everybody, first, connector)
            await until(lambda: all(each.seqs for each in everybody), "all have joined")
            _, joined = place_of(first)
            await until(lambda: all(each.seqs[-1] > joined + LIVE for each in everybody), "all are live")
            assert all(each.is_exact for each in exact)
            assert not any(each.is_exact for each in control)
            first.process.popen.kill()
            await until(lambda: not any(each.is_open for each in everybody), "all have lost their gateway")
            least = min(each.seqs[-1] for each in exact)
            await asyncio.sleep(1.0)  # some updates pass that the second gateway has not seen
            with place.gateway() as second:
                _, joined = place_of(second)
                await all_join(everybody, second, connector)
                await until(lambda: all(each.seqs[-1] > joined + LIVE for each in everybody), "all are back")
                assert all(each.is_exact for each in exact)
                pages = joined // PAGE_UPDATES - least // PAGE_UPDATES + 1
                assert 0 < second.stats()["pages_fetched"] <= 2 * pages, "one replay, however many wait for it"
                for each in everybody:
                    each.leave()
                await until(lambda: second.stats()["connections"] == 0, "all have left")

        asyncio.run(storm())


def test_after_thousands_of_connections_descriptors_and_memory_are_where_they_were(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.publisher("--rate", "10"), place.gateway() as served:
        process = psutil.Process(served.process.pid)
        subscribe = build_masked(Opcode.TEXT, b'{"event":"subscribe-execs","data":{}}', bytes(4))

        def visit() -> tuple[int, int]:
            """All come, subscribe, and go; return the descriptors meanwhile, and the memory after."""
            with ExitStack() as stack:
                for _ in range(VISITORS):
                    visitor = stack.enter_context(open_socket(served.address))
                    visitor.sendall(handshake_request(served.address) + subscribe)
                    said = b""
                    while b'"subscribed"' not in said:
                        said += visitor.recv(65_536)
                meanwhile = process.num_fds()
            served.wait_for_stats("all have left", connections=0, subscribers__all=0)
            return meanwhile, process.memory_info().rss

        _, memory = visit()  # what the first crowd grows stays: buffers, the allocator's arenas
        before = process.num_fds()
        for _ in range(VISITS - 1):
            meanwhile, grown = visit()
        assert meanwhile > VISITORS, "there were that many"
        wait_until(
            lambda: process.num_fds() <= before, f"no more than {before} descriptors, {process.num_fds()} are left"
        )
        print(f"memory: {memory >> 10} KiB -> {grown >> 10} KiB")
        assert grown - memory < GROWTH_BYTES
