"""The world: plays one plan on virtual time, and holds what must be true when all is quiet."""

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import zmq

from publisher.core.rows import Row
from tests.simulation.bookkeeping import audit
from tests.simulation.client import Client
from tests.simulation.clock import Clock, Scheduler
from tests.simulation.disk import Disk
from tests.simulation.nodes import Gateway, Publisher
from tests.simulation.oracle import Truth, Violation
from tests.simulation.plan import HORIZON_S, Plan, Step
from tests.simulation.tcp import LATENCY_S
from tests.simulation.zeromq import Context, Link, Socket

QUIET_S = 30.0
"""After the last fault everybody must be at the head within so long; it is looked at every second."""
_TOLD = (
    "epoch",
    "seq",
    "topic",
    "since",
    "topics",
    "recovered",
    "gap",
    "from",
    "to",
    "count",
    "why",
    "state",
    "reason",
)
ROLES = ("feed", "history", "archive")

SMALL = {
    "PAGE_UPDATES": 8,
    "PAGE_BYTES": 1_500,
    "MAX_ASKED": 2,
    "PIECE_UPDATES": 4,
    "PIECE_BYTES": 700,
    "TURN_PIECES": 2,
    "TURN_ITEMS": 3,
    "FIRST_ITEMS": 4,
    "MAX_CREDIT": 6,
    "BLOCK": 12,
    "DRAIN_MESSAGES": 6,
    "_SLOTS": 2,
}
"""Bounds that a history of a hundred updates would not meet, wherever a module has one of that name."""


class _Unreal:
    """What stands in for modules that reach out, while histories are played."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.world: World | None = None

    def uniform(self, low: float, high: float) -> float:
        assert self.world is not None
        return self.world.random.uniform(low, high)

    def __getattr__(self, name: str) -> Any:
        """As `os`, for the ceiling file: the disk of the world that is played."""
        return getattr(self.__dict__["world"].disk, name)


_UNREAL = _Unreal()


@contextmanager
def installed() -> Iterator[None]:
    """Put virtual time, the stand-ins and the small bounds in place, and take them away again."""
    changes: list[tuple[Any, str, Any]] = [(zmq, "Context", lambda: Context(asyncio.get_running_loop()))]  # type: ignore[arg-type]
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] not in ("gateway", "publisher", "execgate"):
            continue
        found = vars(module)
        if found.get("time") is time:
            changes.append((module, "time", _UNREAL.clock))
        changes += [(module, bound, value) for bound, value in SMALL.items() if type(found.get(bound)) is int]
    changes.append((sys.modules["gateway.history"], "random", _UNREAL))
    changes.append((sys.modules["publisher.journal.ceiling"], "os", _UNREAL))
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        logging.disable(disabled)
        asyncio._set_running_loop(None)


class World:
    """One history.

    Attributes:
        lines: what happened last, in short.
    """

    def __init__(self, plan: Plan, *, traces: bool = False) -> None:
        self.plan = plan
        self.random = Random(f"world {plan.seed}")
        self.scheduler = _UNREAL.clock.scheduler = Scheduler()
        _UNREAL.world = self
        self.truth = Truth()
        self.disk = Disk()
        self.lines: deque[str] = deque(maxlen=None if traces else 40)
        self.servers: dict[int, Socket] = {}
        self._is_calm = True
        self._numbers = 0
        self._epochs = 0
        self._rows = 0
        self.links = {f"{role}/{g}": Link() for role in ROLES for g in range(plan.config.gateways)}
        self.publisher = Publisher(self)
        self.gateways = [Gateway(self, number) for number in range(plan.config.gateways)]
        self.clients = [Client(self, number, each) for number, each in enumerate(plan.clients)]
        for step in plan.steps:
            self.scheduler.at(step.at_s, lambda step=step: self._do(step))  # type: ignore[misc]

    def play(self) -> None:
        """Play the plan to its end.

        Raises:
            Violation: what must be true is not.
        """
        self.scheduler.run_until(HORIZON_S)
        self._heal()
        deadline = HORIZON_S
        while True:
            self.scheduler.run_until(self.scheduler.now + 1.0)
            late = [client for client in self.clients if not client.oracle.is_at_head]
            if not late and all(gateway.fanout.seq == self.head for gateway in self.gateways):
                break
            if self.scheduler.now > deadline + QUIET_S:
                raise Violation(self._say_late(late))
        self.scheduler.run_until(self.scheduler.now + 2.0)
        for client in self.clients:
            client.oracle.check_end()
        for gateway in self.gateways:
            gateway.check_books(Violation)
        if flaws := audit(self.truth, self.clients):
            raise Violation(f"the books: {'; '.join(map(str, flaws[:3]))}")

    # -- what the others ask

    @property
    def head(self) -> int:
        """The last seq."""
        return self.publisher.journal.ceiling

    @property
    def floor(self) -> int:
        """The oldest seq that the publisher holds; while it is down, that it held."""
        return self.publisher.journal.floor

    @property
    def is_calm(self) -> bool:
        """Whether nothing has happened that may excuse a snapshot which lacks something."""
        return self._is_calm and not any(gateway.counters.upstream["gaps"] for gateway in self.gateways)

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def new_epoch(self) -> int:
        self._epochs += 1
        return self._epochs

    def any_gateway(self) -> Gateway | None:
        """A gateway that runs."""
        running = [gateway for gateway in self.gateways if gateway.loop.is_alive and not gateway.is_draining]
        return self.random.choice(running) if running else None

    def log(self, line: str) -> None:
        self.lines.append(f"{self.scheduler.now:8.3f} {line}")

    def log_event(self, client: str, message: dict[str, Any]) -> None:
        """Note what a client got or asked for, where everything is noted."""
        if self.lines.maxlen is None:
            data = {name: value for name, value in message["data"].items() if name in _TOLD}
            self.log(f"{client} {message['event']} {data or ''}")

    # -- the adversary

    def _do(self, step: Step) -> None:
        kind = step.kind
        if kind != "publish":
            self.log(f"{kind} {step.who} {step.amount:.3g}")
        getattr(self, "_" + kind.replace("-", "_"))(step)

    def _publish(self, step: Step) -> None:
        rows = [self._row() for _ in range(int(step.amount))]
        if self.publisher.loop.is_alive:
            while rows:
                size = self.random.choice((1, 1, 3))
                self.publisher.publish(rows[:size])
                rows = rows[size:]

    def _row(self) -> Row:
        self._rows += 1
        fields: dict[str, Any] = {"symbol": self.random.choice("ABC"), "n": self._rows}
        key = self.random.choice((None, "k", "l"))
        if key:
            fields["key"] = key
        pad = b"x" * self.random.choice((0, 0, 100))
        raw = b'{"symbol":"%b","n":%d,"pad":"%b"}' % (fields["symbol"].encode(), self._rows, pad)
        return Row(raw, fields)

    def _kill_gateway(self, step: Step) -> None:
        gateway = self.gateways[step.who]

        def die() -> None:
            gateway.die()
            self._ended(gateway, step.amount)

        if gateway.loop.is_alive:
            gateway.loop.dies_after = self.random.randint(0, 20)
            gateway.loop.on_death = die

    def _ended(self, gateway: Gateway, away_s: float) -> None:
        self.log(f"{gateway.name} is dead")
        self.scheduler.after(away_s, lambda: self._start_gateway(gateway.number))

    def _roll_gateway(self, step: Step) -> None:
        gateway = self.gateways[step.who]
        if gateway.loop.is_alive:
            gateway.loop.call_soon(gateway.drain, lambda: self._ended(gateway, step.amount))

    def _start_gateway(self, number: int) -> None:
        if not self.gateways[number].loop.is_alive:
            self.log(f"gateway-{number} starts")
            self.gateways[number] = Gateway(self, number)

    def _stop_gateway(self, step: Step) -> None:
        self.gateways[step.who].loop.stop(step.amount)

    def _kill_publisher(self, step: Step, *, loses_power: bool = False) -> None:
        publisher = self.publisher
        publisher.loop.dies_after = self.random.randint(0, 12)
        self._is_calm = False

        def die() -> None:
            publisher.die()
            lost = self.disk.lose_power(self.random) if loses_power else 0
            self.log(f"publisher is dead at {self.head}" + (f", {lost} lost" if lost else ""))
            self.scheduler.after(step.amount, self._start_publisher)

        if publisher.loop.is_alive:
            publisher.loop.on_death = die

    def _end_publisher(self, step: Step) -> None:
        if self.publisher.loop.is_alive:
            self.publisher.loop.call_soon(self.publisher.say_goodbye)
            self._kill_publisher(step)

    def _lose_power(self, step: Step) -> None:
        self._kill_publisher(step, loses_power=True)

    def _start_publisher(self) -> None:
        if not self.publisher.loop.is_alive:
            self.publisher = Publisher(self)
            self.log(f"publisher starts epoch={self.truth.epochs[-1]} head={self.head} floor={self.floor}")

    def _stop_publisher(self, step: Step) -> None:
        self._is_calm = False
        self.publisher.loop.stop(step.amount)

    def _settle(self, step: Step) -> None:
        if self.publisher.loop.is_alive and self.plan.config.durability != "none":
            self.publisher.journal.settle()  # type: ignore[attr-defined]

    def _drop_feed(self, step: Step) -> None:
        self.links[f"feed/{step.who}"].drops += int(step.amount)

    def _double_feed(self, step: Step) -> None:
        self.links[f"feed/{step.who}"].doubles += int(step.amount)

    def _cut_feed(self, step: Step) -> None:
        self._cut(("feed",), step)

    def _cut_history(self, step: Step) -> None:
        self._is_calm = False
        self._cut(("history", "archive"), step)

    def _cut(self, roles: tuple[str, ...], step: Step) -> None:
        links = [self.links[f"{role}/{step.who}"] for role in roles]
        for link in links:
            link.cut_until = self.scheduler.now + step.amount
        for pipe in list(self.gateways[step.who].pipes):
            if pipe.link in links:
                pipe.end()

    def _hold_feed(self, step: Step) -> None:
        self.links[f"feed/{step.who}"].held_until = self.scheduler.now + step.amount

    def _hold_history(self, step: Step) -> None:
        self._is_calm = False
        for role in ("history", "archive"):
            self.links[f"{role}/{step.who}"].held_until = self.scheduler.now + step.amount

    def _storm(self, step: Step) -> None:
        for client in self.clients:
            client.drop()

    def _reconnect(self, step: Step) -> None:
        self.clients[step.who].drop()

    def _leave(self, step: Step) -> None:
        self.clients[step.who].leave()

    def _stuck(self, step: Step) -> None:
        self.clients[step.who].be_stuck(step.amount)

    def _slow(self, step: Step) -> None:
        self.clients[step.who].be_slow(self.random.choice((30, 200)))

    def _ask_again(self, step: Step) -> None:
        self.clients[step.who].ask_again()

    def _other_topics(self, step: Step) -> None:
        self.clients[step.who].change_topics(self.random.choice((("*",), ("ex.A.",), ("ex.B*", "ex.C."))))

    def _heal(self) -> None:
        """Nothing is wrong any more."""
        self.log("all is well from here on")
        for node in (self.publisher, *self.gateways):
            node.loop.dies_after = None
            node.loop.go_on()
        self._start_publisher()
        for number, gateway in enumerate(self.gateways):
            if gateway.is_draining and gateway.loop.is_alive:
                gateway.die()
            self._start_gateway(number)
        for link in self.links.values():
            link.cut_until = link.held_until = 0.0
            link.drops = link.doubles = 0
        for client in self.clients:
            client.be_well()

    def _say_late(self, late: list[Client]) -> str:
        words = [f"{c.name} ({c.plan.mode}) stands at {c.oracle.epoch} {c.oracle.settled}" for c in late]
        words += [f"{g.name} at {g.fanout.epoch} {g.fanout.seq} ({g.fanout.state})" for g in self.gateways]
        where = f"{self.truth.epochs[-1]} {self.head}"
        return f"{QUIET_S:g} s after the last fault the head is {where}, but " + ", ".join(words)


assert LATENCY_S < QUIET_S
