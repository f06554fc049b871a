"""A client: it connects, subscribes behind its position, reads as it may, and comes back whatever ends it."""

from typing import TYPE_CHECKING, Any

import ujson

from execgate.wire.frame_builder import Opcode, build_masked
from execgate.wire.frame_parser import Closing, FrameParser, Text
from gateway.core.interest import Interest
from tests.simulation.bookkeeping import notebook
from tests.simulation.oracle import Oracle
from tests.simulation.plan import ClientPlan
from tests.simulation.tcp import Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

BACK_S = 0.4
"""The longest pause before it connects again."""


class Client:
    """One client over its whole life."""

    def __init__(self, world: "World", number: int, plan: ClientPlan) -> None:
        self.name = f"client-{number}"
        self.plan = plan
        self.topics = plan.topics
        self._world = world
        self.oracle = Oracle(world, self.name, plan)
        self.notebook = notebook(world.plan, number, self.name)
        self.wire: Wire | None = None
        self._parser = FrameParser(server=False, max_message_bytes=1 << 24)
        self._requests = 0
        self._read_bytes = 1 << 30
        self._is_leaving = False
        self._come_back()

    def drop(self) -> None:
        """Give up the connection, whatever is under way, and come again."""
        if self.wire is not None:
            wire, self.wire = self.wire, None
            self._world.log_event(self.name, {"event": "drops", "data": {}})
            wire.drop()
            self._come_back()

    def be_stuck(self, for_s: float) -> None:
        """Read nothing for so long."""
        if self.wire is not None:
            self.wire.stuck_until = self._world.scheduler.now + for_s

    def be_slow(self, read_bytes: int) -> None:
        """Read so little at once from now on."""
        self._read_bytes = read_bytes
        if self.wire is not None:
            self.wire.read_bytes = read_bytes

    def be_well(self) -> None:
        """Read everything at once again."""
        self.be_slow(1 << 30)
        if self.wire is not None:
            self.wire.stuck_until = 0.0

    def ask_again(self) -> None:
        """Say `since` in the middle of a session."""
        if self.wire is not None and self.oracle.is_subscribed:
            self._subscribe()

    def change_topics(self, topics: tuple[str, ...]) -> None:
        """Take other topics from where it stands."""
        if self.wire is not None and self.oracle.is_subscribed:
            self.topics = topics
            self._subscribe(is_change=True)

    def leave(self) -> None:
        """Unsubscribe, and subscribe again behind its position once that is answered."""
        if self.wire is not None and self.oracle.is_subscribed and not self.oracle.is_asking:
            self._is_leaving = True
            self._say("unsubscribe-execs", {})

    def _come_back(self) -> None:
        self._world.scheduler.after(self._world.random.random() * BACK_S, self._connect)

    def _connect(self) -> None:
        gateway = self._world.any_gateway()
        if self.wire is not None:
            return
        if gateway is None:
            self._come_back()
            return
        self._parser = FrameParser(server=False, max_message_bytes=1 << 24)
        self.oracle.begin_session()
        if self.notebook is not None:
            self.notebook.recording.asked(None, None)
        self._is_leaving = False
        room_bytes = self._world.plan.config.room_bytes
        wire = Wire(
            self._world, gateway.loop, room_bytes, lambda data: self._hear(wire, data), lambda: self._end(wire)
        )
        wire.read_bytes = self._read_bytes
        self.wire = wire
        self._world.log_event(self.name, {"event": f"connects to {gateway.name}", "data": {}})
        gateway.accept(wire)
        self._subscribe()

    def _subscribe(self, *, is_change: bool = False) -> None:
        self._requests += 1
        position = self.oracle.position if self.notebook is None else self.notebook.position
        since = None if is_change else position
        snapshot = self.plan.snapshot and not is_change
        data: dict[str, Any] = {"topics": self.topics, "mode": self.plan.mode, "snapshot": snapshot}
        if since is not None:
            data["since"] = {"epoch": since[0], "seq": since[1]}
        if self.plan.max_messages is not None:
            data["max_messages"] = self.plan.max_messages
        self._world.log_event(self.name, {"event": "asks", "data": data})
        self.oracle.asks(self._requests, Interest(self.topics), since, snapshot=snapshot)
        self._say("subscribe-execs", data)

    def _say(self, event: str, data: dict[str, Any]) -> None:
        text = ujson.dumps({"event": event, "data": data, "id": self._requests})
        assert self.wire is not None
        self.wire.say(build_masked(Opcode.TEXT, text.encode(), b"\0\0\0\0"))

    def _hear(self, wire: Wire, data: bytes) -> None:
        for event in self._parser.feed(data):
            if wire is not self.wire:
                return  # it has dropped it
            if isinstance(event, Text):
                message = ujson.loads(event.text)
                self._world.log_event(self.name, message)
                if message["event"] == "error" and self._is_leaving:
                    self._is_leaving = False  # its max_messages had ended it meanwhile
                    continue
                self.oracle.take(event.text, message)
                if self.notebook is not None:
                    self.notebook.take(event.text, message)
                if message["event"] == "unsubscribed" and not self.oracle.is_asking:
                    self._subscribe()  # it has had its max_messages, or has left
                elif message["event"] == "drain" and self._world.random.random() < 0.5:
                    self.drop()
            elif isinstance(event, Closing):
                self._world.log(f"{self.name} closed with {event.code}")
                self.drop()

    def _end(self, wire: Wire) -> None:
        if wire is self.wire:
            self.wire = None
            self._come_back()
