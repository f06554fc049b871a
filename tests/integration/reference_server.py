"""A server of our protocol that owes nothing to our code: the `websockets` library, in a thread of the test.

It sends exactly what a test scripts, faults included, and keeps what it saw, so that the load generator's counts
can be compared with the truth.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

EPOCH = "00000000000000aa"


def update(seq: int, epoch: str = EPOCH, **more: Any) -> dict[str, Any]:
    """One `receive-execs`, stamped when it is sent."""
    data = {"request": seq, "rows": 0, "topic": "ex.QQQ.", "epoch": epoch, "seq": seq, "tseq": seq, "execs": []}
    return {"event": "receive-execs", "data": data | more}


def event(name: str, **data: Any) -> dict[str, Any]:
    """Any other event."""
    return {"event": name, "data": data}


def updates(seqs: Iterable[int]) -> list[dict[str, Any]]:
    return [update(seq) for seq in seqs]


@dataclass
class Behaviour:
    """What the server does.

    Attributes:
        script: what each subscriber is sent, at once, after `hello` and `subscribed`; text goes out as it is.
        pace_s: between two items of the script.
        position: the seq that `subscribed` names; None sends no `subscribed`.
        accept_delay_s: the handshake's answer comes that late.
        refuse: handshakes that are answered 503 before the first that is not.
        order: what becomes of a `request` number: accepted, rejected, silent, close, twice.
        close_after_script: with this code; None keeps the connection.
        answer_delays_s: the same for some `request` numbers.
        stall_s: before it takes these `request` numbers, the whole server stands still for so long.
        clock_ahead_us: tell stamps, by a clock that is so much ahead; an update takes 1 ms to the gateway, 2 ms
            until writing begins, and 4 ms until that is done. None tells none.
        publisher: what they say of the publisher's clock: `offset_us`, `uncertainty_us`.
        resumed: what each subscriber is sent that asks with `since`, after a `subscribed` that says recovered.
    """

    script: list[dict[str, Any] | str] = field(default_factory=list)
    pace_s: float = 0.0
    position: int | None = 0
    accept_delay_s: float = 0.0
    refuse: int = 0
    order: dict[int, str] = field(default_factory=dict)
    close_after_script: int | None = None
    answer_delay_s: float = 0.0
    answer_delays_s: dict[int, float] = field(default_factory=dict)
    stall_s: dict[int, float] = field(default_factory=dict)
    resumed: list[dict[str, Any] | str] = field(default_factory=list)
    clock_ahead_us: int | None = None
    publisher: dict[str, int] | None = None


class ReferenceServer:
    """The running server. What it saw: `handshakes` (times), `requests` (order data), `asked` (each `since`).

    `held_us` is how long it had each order that it answered.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.handshakes: list[float] = []
        self.subprotocols: list[str | None] = []
        self.requests: list[dict[str, Any]] = []
        self.held_us: list[float] = []
        self.asked: list[dict[str, Any]] = []
        self.pongs = 0
        self.sent = 0
        self.newest: dict[str, Any] = {}
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._main(),), daemon=True)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _main(self) -> None:
        server: Server
        async with serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._shake_hands,
            subprotocols=["execgate.1"],  # type: ignore[list-item]
            select_subprotocol=lambda _connection, offered: offered[0] if offered else None,
            compression=None,
            close_timeout=0.2,
        ) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._started.set()
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _shake_hands(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append(time.monotonic())
        self.subprotocols.append(request.headers.get("Sec-WebSocket-Protocol"))
        if self.behaviour.accept_delay_s:
            await asyncio.sleep(self.behaviour.accept_delay_s)
        if len(self.handshakes) <= self.behaviour.refuse:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "not now\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        behaviour = self.behaviour
        with contextlib.suppress(ConnectionClosed):
            host, port = connection.remote_address[:2]
            hello = event("hello", protocol=1, session="s", address=f"{host}:{port}", epoch=EPOCH, seq=0)
            if behaviour.clock_ahead_us is not None:
                hello["data"]["stamps"] = True
            await connection.send(json.dumps(hello))
            if connection.subprotocol is None:
                await self._play(connection)
                if behaviour.close_after_script is not None:
                    await connection.close(behaviour.close_after_script)
            await (await connection.ping())
            self.pongs += 1
            async for message in connection:
                # Answers are independent of each other: a delay is no queue.
                task = asyncio.create_task(self._take(connection, json.loads(message)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _take(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        if message["event"] == "stamps-request":
            await self._tell_stamps(connection)
            return
        if message["event"] != "subscribe-execs":
            await self._answer(connection, message["data"])
            return
        since = message["data"]["since"]
        self.asked.append(since)
        await self._send(connection, [event("subscribed", **since, recovered=True, gap=None)])
        await self._send(connection, self.behaviour.resumed)

    async def _tell_stamps(self, connection: ServerConnection) -> None:
        stamps = None
        if self.newest:
            ts_us = self.newest["ts_us"]
            stamps = {"epoch": EPOCH, "seq": self.newest["seq"], "ts_us": ts_us}
            stamps |= {"fed_us": ts_us + 1_000, "began_us": ts_us + 3_000, "written_us": ts_us + 7_000}
        now_us = time.time_ns() // 1000 + (self.behaviour.clock_ahead_us or 0)
        publisher = self.behaviour.publisher
        await connection.send(json.dumps(event("stamps", now_us=now_us, publisher=publisher, update=stamps)))

    async def _play(self, connection: ServerConnection) -> None:
        if self.behaviour.position is not None:
            subscribed = event("subscribed", epoch=EPOCH, seq=self.behaviour.position, recovered=False, gap=None)
            await connection.send(json.dumps(subscribed))
        await self._send(connection, self.behaviour.script)

    async def _send(self, connection: ServerConnection, items: list[dict[str, Any] | str]) -> None:
        for item in items:
            if isinstance(item, dict) and item["event"] == "receive-execs":
                now_us = time.time_ns() // 1000
                # An update of some age was stamped that long ago: a delay that is exact whatever the machine does.
                now_us -= item["data"].get("age_us", 0)
                item = {**item, "data": {"timestamp": now_us // 1000, "ts_us": now_us, **item["data"]}}
                self.newest = item["data"]
            await connection.send(item if isinstance(item, str) else json.dumps(item))
            self.sent += 1
            if self.behaviour.pace_s:
                await asyncio.sleep(self.behaviour.pace_s)

    async def _answer(self, connection: ServerConnection, data: dict[str, Any]) -> None:
        taken_s = time.monotonic()
        time.sleep(self.behaviour.stall_s.get(data["request"], 0.0))
        self.requests.append(data)
        what = self.behaviour.order.get(data["request"], self.behaviour.order.get(0, "accepted"))
        if what == "silent":
            return
        if what == "close":
            await connection.close(1012)
            return
        await asyncio.sleep(self.behaviour.answer_delays_s.get(data["request"], self.behaviour.answer_delay_s))
        self.held_us.append((time.monotonic() - taken_s) * 1e6)
        status = "rejected" if what == "rejected" else "accepted"
        echo = {name: data[name] for name in ("request", "timestamp", "address")}
        answer = json.dumps(event("order-response", **echo, status=status, reason=None))
        with contextlib.suppress(ConnectionClosed):
            for _ in range(2 if what == "twice" else 1):
                await connection.send(answer)


@contextlib.contextmanager
def reference_server(**behaviour: Any) -> Iterator[ReferenceServer]:
    """Run a server for the length of a block."""
    server = ReferenceServer(Behaviour(**behaviour))
    server.start()
    try:
        yield server
    finally:
        server.close()
