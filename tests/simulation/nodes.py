"""The processes: publishers and gateways, put together as `publisher.app` and `gateway.worker` do."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

import zmq

from execgate.wire import events
from execgate.wire.close_codes import CloseCode
from execgate.wire.topics import TopicTemplate
from execgate.wire.update import Kind
from gateway.connection import Connection, Site
from gateway.core.policy import Rights
from gateway.core.session import Mode
from gateway.core.stitcher import Stitcher
from gateway.counters import Counters
from gateway.fanout import Fanout
from gateway.feed import Feed as GatewayFeed
from gateway.history import HistoryClient
from gateway.keepalive import Keepalive
from gateway.limits import Limits
from gateway.orders import ImmediateHandler, OrderDesk
from gateway.outbound import Outbound, OutboundBudget
from gateway.recovery import Recovery
from gateway.resume import Resumer
from publisher.core.rows import Row
from publisher.core.sequencer import Sequencer
from publisher.feed import Feed
from publisher.journal.memory import MemoryJournal
from publisher.log import Retention
from publisher.refusals import Refusals
from publisher.replay import ReplayServer
from publisher.road import Road
from publisher.sources.base import Batch, Source
from tests.simulation.clock import Loop
from tests.simulation.disk import DiskJournal
from tests.simulation.tcp import Wire
from tests.simulation.zeromq import Context, Link, Pipe, Socket

if TYPE_CHECKING:
    from tests.simulation.world import World

BEAT_S = 0.25
HEARTBEAT_S = 1.0
REPLAY_TIMEOUT_S = 2.0
STALE_S = 1.5
DRAIN_S = 0.3
_LIMITS = Limits(1 << 16, 16, 64, 600.0, HEARTBEAT_S, 600.0, 600.0, Mode.ALL, explicit_subscribe=True)
_RIGHTS = Rights(may_order=False, messages_per_s=None, max_topics=100)


class Node:
    """A process, until it dies."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.sockets: list[Socket] = []
        self.pipes: dict[Pipe, None] = {}
        self.loop = Loop(world.scheduler, Random(world.random.random()), self)
        self.loop.on_death = self.die

    def link(self, endpoint: str) -> Link:
        raise NotImplementedError

    def die(self) -> None:
        """Kill -9."""
        self.loop.die()
        for socket in self.sockets:
            socket.close()


class Publisher(Node):
    """One start of the publisher."""

    directory = Path("data-dir")  # its one file is the disk's

    def __init__(self, world: "World") -> None:
        super().__init__(world, "publisher")
        self.loop.run(self._open)

    def _open(self) -> None:
        config, world = self.world.plan.config, self.world
        retention = Retention(config.retain_updates, 1 << 30, None, 10_000)
        new_epoch = world.new_epoch()
        template = TopicTemplate("ex.{symbol}.")
        self.journal: MemoryJournal
        if config.durability == "none":
            self.journal = MemoryJournal(new_epoch, retention)
            self.sequencer = Sequencer(new_epoch, template)
        else:
            self.journal = DiskJournal(self, world.disk, retention, new_epoch, synced=config.durability == "power")
            tseqs = {update.topic.decode(): update.tseq for update in world.disk.kept}
            self.sequencer = Sequencer(self.journal.epoch, template, seq=self.journal.ceiling, tseqs=tseqs)
        context = cast("zmq.Context[zmq.Socket[bytes]]", Context(self.loop))
        self._feed = Feed(context, 1_000, self._greet)
        self._replay = ReplayServer(context, self.journal)
        self._road = Road(self.sequencer, self.journal, self._feed, Refusals(), None)
        for socket in self.sockets:
            socket.bind()
        world.truth.begins(self.journal.epoch)
        self._source = cast("Source", self)
        self._batches = 0
        self._beat()

    def publish(self, rows: list[Row]) -> None:
        """One batch comes in."""
        self.loop.call_soon(self._publish, rows)

    def _publish(self, rows: list[Row]) -> None:
        self._batches += 1
        road = self._road.publish(self._source, Batch(rows, self._batches))
        try:
            road.send(None)
            raise AssertionError("the journal's stand-in always has room")
        except StopIteration:
            pass

    def say_goodbye(self) -> None:
        """It ends in order, as `app` does: what is kept is published, then BYE."""
        self._road.beat(Kind.BYE)

    def _greet(self) -> None:
        self._road.beat()

    def _beat(self) -> None:
        self._road.beat()
        self.loop.call_later(BEAT_S, self._beat)


class Gateway(Node):
    """One start of a gateway; `number` stays over its restarts, and its links do."""

    def __init__(self, world: "World", number: int) -> None:
        super().__init__(world, f"gateway-{number}")
        self.number = number
        self.is_draining = False
        self.wires: dict[Wire, None] = {}
        self._connections = 0
        self.loop.run(self._open)

    def _open(self) -> None:
        config = self.world.plan.config
        self.counters = counters = Counters()
        self.fanout = fanout = Fanout(counters, lambda: None, _exhausted, config.ring_bytes)
        for_feed = HistoryClient(f"history/{self.number}", None, REPLAY_TIMEOUT_S)
        for_clients = HistoryClient(f"archive/{self.number}", None, REPLAY_TIMEOUT_S)
        self.recovery = Recovery(fanout, for_feed, Stitcher(config.held_updates, 1 << 20))
        self.site = Site(
            name=self.name,
            limits=_LIMITS,
            counters=counters,
            fanout=fanout,
            desk=OrderDesk(ImmediateHandler(), 1.0, counters),
            resumer=Resumer(fanout, for_clients, config.archive_bytes, lambda: self.recovery.is_joined),
            keepalive=Keepalive(_LIMITS, fanout),
            budget=OutboundBudget(config.session_bytes, 1 << 24),
        )
        self.site.keepalive.start()
        self.feed = GatewayFeed(f"feed/{self.number}", 1_000, STALE_S, self.recovery, fanout)
        self.feed.start()

    def link(self, endpoint: str) -> Link:
        return self.world.links[endpoint]

    def accept(self, wire: Wire) -> None:
        """A client has connected, and its handshake is done."""
        self.wires[wire] = None
        self._connections += 1
        key = f"10.0.0.1:1:{self._connections}"
        self.loop.call_soon(self._accept, wire, key)

    def _accept(self, wire: Wire, key: str) -> None:
        connection = Connection(self.site, cast("Any", wire), key, _RIGHTS, b"", b"", subscribe=False)
        wire.protocol = connection
        connection.connection_made(wire)

    def drain(self, on_exit: Callable[[], None]) -> None:
        """SIGTERM, as `worker` takes it: clients are told, then closed, then it ends."""
        self.is_draining = True
        connections = self.site.keepalive.connections()
        notice = events.encode_event(events.DRAIN, {"after_ms": round(DRAIN_S * 1000)})
        for connection in connections:
            connection.outbound.control(notice)

        def close_all() -> None:
            for connection in self.site.keepalive.connections():
                connection.close(CloseCode.RESTART, "the gateway stops")

        def end() -> None:
            self.die()
            on_exit()

        self.loop.call_later(DRAIN_S, close_all)
        self.loop.call_later(2 * DRAIN_S, end)

    def die(self) -> None:
        super().die()
        for wire in list(self.wires):
            wire.cut()

    def check_books(self, say: Callable[[str], Exception]) -> None:
        """When all is quiet: what was matched has a fate, and nothing is kept for anybody."""
        counters, site = self.counters, self.site
        fates = counters.delivered + counters.dropped + counters.conflated + counters.discarded
        if counters.matched != fates:
            raise say(f"{self.name}: matched {counters.matched}, fates {fates}")
        if site.budget.used:
            raise say(f"{self.name}: {site.budget.used} bytes of backlogs that nobody owns")
        if len(site.resumer):
            raise say(f"{self.name}: {len(site.resumer)} still on their way to the head")


def _exhausted(member: Outbound) -> None:
    if member.owner is not None:
        member.owner.exhausted()
