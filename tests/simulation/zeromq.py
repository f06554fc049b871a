"""A stand-in for ZeroMQ: XPUB and SUB, ROUTER and DEALER, as far as publisher and gateway use them.

Kept of the real one: order within a connection; a connection that ends takes along what is under way; a socket
that connects comes back by itself, and keeps what it has to say meanwhile (DEALER); a subscription is seen by the
publisher (XPUB); drops at the high-water mark in silence; and the descriptor tells only once that something came,
to a reader that had found nothing, where any call on the socket takes that word off it. Messages that come twice
are no fault of ZeroMQ's, but of two publishers of one stream.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zmq

from tests.simulation.clock import Loop

if TYPE_CHECKING:
    from tests.simulation.world import World

LATENCY_S = 0.002
RECONNECT_S = 0.2
DOUBLE_S = 0.3
"""What comes twice comes again at the latest then."""


class Link:
    """The road between one gateway's socket and the publisher's; it outlives both. What is wrong with it, now."""

    __slots__ = ("cut_until", "doubles", "drops", "held_until")

    def __init__(self) -> None:
        self.cut_until = self.held_until = 0.0
        self.drops = self.doubles = 0


class Pipe:
    """One connection over a link, from its making to its end."""

    __slots__ = ("_there_s", "client", "is_open", "link", "name", "server", "world")

    def __init__(self, world: "World", name: bytes, client: "Socket", server: "Socket", link: Link) -> None:
        self.world = world
        self.name = name
        self.client = client
        self.server = server
        self.link = link
        self.is_open = True
        self._there_s = [0.0, 0.0]  # when the last message each way is

    def say(self, frames: Sequence[bytes], *, to_server: bool) -> None:
        if not to_server and self.link.drops:
            self.link.drops -= 1
            return
        scheduler = self.world.scheduler
        soonest = max(scheduler.now, self.link.held_until) + self.world.random.random() * LATENCY_S
        self._there_s[to_server] = there_s = max(self._there_s[to_server], soonest)
        scheduler.at(there_s, lambda: self._arrive(frames, to_server))
        if not to_server and self.link.doubles:
            self.link.doubles -= 1
            again_s = there_s + self.world.random.random() * DOUBLE_S
            scheduler.at(again_s, lambda: self._arrive(frames, to_server))

    def _arrive(self, frames: Sequence[bytes], to_server: bool) -> None:
        if not self.is_open:
            return
        if to_server:
            self.server.heard(self, frames)
        else:
            self.client.arrive(list(frames))

    def end(self) -> None:
        if self.is_open:
            self.is_open = False
            self.server.lost(self)
            self.client.lost(self)


class Socket:
    """What the modules see of a ZeroMQ socket."""

    def __init__(self, world: "World", loop: Loop, kind: int) -> None:
        self.world = world
        self.kind = kind
        self.descriptor = world.next_number()
        self.is_closed = False
        self._loop = loop
        self._inbox: deque[list[bytes]] = deque()
        self._is_asleep = True
        self._is_signalled = False
        self._pipes: dict[bytes, Pipe] = {}  # of a server, by peer
        self._subscribers: dict[bytes, Pipe] = {}
        self._pipe: Pipe | None = None  # of a client
        self._unsent: list[list[bytes]] = []
        self._link = Link()

    # -- the modules' side

    def setsockopt(self, option: int, value: Any) -> None:
        pass

    set = setsockopt

    def getsockopt(self, option: int) -> int:
        if option == zmq.FD:
            return self.descriptor
        assert option == zmq.EVENTS
        self._is_signalled = False
        if not self._inbox:
            self._is_asleep = True
        return zmq.POLLIN if self._inbox else 0

    def fileno(self) -> int:
        return self.descriptor

    def get_monitor_socket(self, events: int) -> "Socket":
        return Socket(self.world, self._loop, zmq.PAIR)

    def poll(self, timeout: int) -> int:
        return 0

    def bind(self) -> None:
        self.world.servers[self.kind] = self

    def connect(self, endpoint: str) -> None:
        self._link = self._loop.owner.link(endpoint)
        self._come_again(0.0)

    def disconnect(self, endpoint: str) -> None:
        raise AssertionError("nobody is refused here")

    def send_multipart(self, frames: Sequence[bytes], flags: int = 0) -> None:
        self._is_signalled = False
        if self.kind == zmq.XPUB:
            self.world.truth.published(frames)
            for pipe in self._subscribers.values():
                pipe.say(frames, to_server=False)
        elif self.kind == zmq.ROUTER:
            pipe_to = self._pipes.get(frames[0])
            if pipe_to is None:
                raise zmq.ZMQError(zmq.EHOSTUNREACH)
            pipe_to.say(frames[1:], to_server=False)
        elif self._pipe is None:
            self._unsent.append(list(frames))
        else:
            self._pipe.say(frames, to_server=True)

    def recv_multipart(self, flags: int = 0, copy: bool = True) -> list[Any]:
        """Frames that were not copied name no descriptor: there is none."""
        self._is_signalled = False
        if not self._inbox:
            self._is_asleep = True
            raise zmq.Again
        frames = self._inbox.popleft()
        return list(frames) if copy else [zmq.Frame(frame) for frame in frames]

    def recv(self, flags: int = 0, copy: bool = True) -> bytes | zmq.Frame:
        frame: bytes | zmq.Frame = self.recv_multipart(flags, copy)[0]
        return frame

    def close(self) -> None:
        self.is_closed = True
        self._inbox.clear()
        self.end_pipes()
        if self.world.servers.get(self.kind) is self:
            del self.world.servers[self.kind]

    # -- the network's side

    def arrive(self, frames: list[bytes]) -> None:
        if self.is_closed:
            return
        self._inbox.append(frames)
        if self._is_asleep:
            self._is_asleep = False
            self._is_signalled = True
            self._loop.call_soon(self._poll)

    def heard(self, pipe: Pipe, frames: Sequence[bytes]) -> None:
        if self.kind == zmq.XPUB:
            self._subscribers[pipe.name] = pipe
            self.arrive(list(frames))
        else:
            self.arrive([pipe.name, *frames])

    def lost(self, pipe: Pipe) -> None:
        if pipe is self._pipe:
            self._pipe = None
            if not self.is_closed and self._loop.is_alive:
                self._come_again(self.world.random.random() * RECONNECT_S)
        elif self._pipes.pop(pipe.name, None) and self._subscribers.pop(pipe.name, None):
            self.arrive([b"\x00"])

    def accept(self, pipe: Pipe) -> None:
        self._pipes[pipe.name] = pipe

    def end_pipes(self) -> None:
        for pipe in [*self._pipes.values(), *([self._pipe] if self._pipe else [])]:
            pipe.end()

    def _poll(self) -> None:
        reader = self._loop.readers.get(self.descriptor)
        if self._is_signalled and reader is not None:
            reader()

    def _come_again(self, delay_s: float) -> None:
        self.world.scheduler.after(delay_s + self.world.random.random() * LATENCY_S, self._connect)

    def _connect(self) -> None:
        if self.is_closed or not self._loop.is_alive or self._pipe is not None:
            return
        server = self.world.servers.get(zmq.XPUB if self.kind == zmq.SUB else zmq.ROUTER)
        if server is None or self._link.cut_until > self.world.scheduler.now:
            self._come_again(self.world.random.random() * RECONNECT_S)
            return
        name = b"%d" % self.world.next_number()
        self._pipe = pipe = Pipe(self.world, name, self, server, self._link)
        self._loop.owner.pipes[pipe] = None
        server.accept(pipe)
        if self.kind == zmq.SUB:
            pipe.say([b"\x01"], to_server=True)
        unsent, self._unsent = self._unsent, []
        for frames in unsent:
            pipe.say(frames, to_server=True)


class Context:
    """Makes sockets for the process whose loop is running."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._made: list[Socket] = []

    def socket(self, kind: int) -> Socket:
        made = Socket(self._loop.owner.world, self._loop, kind)
        self._loop.owner.sockets.append(made)
        self._made.append(made)
        return made

    def destroy(self, linger: int | None = None) -> None:
        for made in self._made:
            made.close()
