"""Virtual time: one scheduler for the world, and for each process a loop that looks like asyncio's.

A loop runs one callback a step, and each step takes a little time, so that whatever the adversary does may fall
between any two. Real modules find their loop by `asyncio.get_running_loop()`, as ever.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

STEP_S = 0.0002
"""The longest step of a loop."""


class Scheduler:
    """What happens next, and when it is."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._heap, (when, self._order, what))

    def after(self, delay_s: float, what: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._heap, (self.now + delay_s, self._order, what))

    def run_until(self, end: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= end:
            when, _, what = heappop(heap)
            if when > self.now:
                self.now = when
            what()
        self.now = max(self.now, end)


class Clock:
    """Stands where a module has imported `time`."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()

    def monotonic(self) -> float:
        return 1_000.0 + self.scheduler.now

    def monotonic_ns(self) -> int:
        return int(self.monotonic() * 1e9)

    perf_counter = monotonic

    def time_ns(self) -> int:
        return 1_700_000_000_000_000_000 + int(self.scheduler.now * 1e9)

    def time(self) -> float:
        return self.time_ns() / 1e9


class Handle:
    """A callback that waits."""

    __slots__ = ("arguments", "callback")

    def __init__(self, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.callback: Callable[..., Any] | None = callback
        self.arguments = arguments

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """The loop of one process; `die` is kill -9, `stop` is SIGSTOP.

    Attributes:
        owner: the node whose loop it is.
        is_alive: False once it has died: nothing of it runs any more.
        dies_after: steps until it dies, None for never; then `on_death` is called.
    """

    def __init__(self, scheduler: Scheduler, random: Random, owner: Any) -> None:
        self.scheduler = scheduler
        self.owner = owner
        self.is_alive = True
        self.dies_after: int | None = None
        self.on_death: Callable[[], None] = lambda: None
        self.readers: dict[int, Callable[[], Any]] = {}
        self._random = random.random
        self._ready: deque[Handle] = deque()
        self._is_scheduled = False
        self._stopped_until = 0.0

    def time(self) -> float:
        return 1_000.0 + self.scheduler.now

    def call_soon(self, callback: Callable[..., Any], *arguments: Any, context: Any = None) -> Handle:
        handle = Handle(callback, arguments)
        if self.is_alive:
            self._ready.append(handle)
            self._kick()
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay_s: float, callback: Callable[..., Any], *arguments: Any, context: Any = None
    ) -> Handle:
        handle = Handle(callback, arguments)

        def due() -> None:
            if self.is_alive and handle.callback is not None:
                self._ready.append(handle)
                self._kick()

        self.scheduler.after(max(delay_s, 0.0), due)
        return handle

    def add_reader(self, descriptor: int, callback: Callable[..., Any], *arguments: Any) -> None:
        self.readers[descriptor] = callback

    def remove_reader(self, descriptor: int) -> bool:
        return self.readers.pop(descriptor, None) is not None

    def stop(self, for_s: float) -> None:
        self._stopped_until = max(self._stopped_until, self.scheduler.now + for_s)

    def go_on(self) -> None:
        """SIGCONT."""
        self._stopped_until = 0.0
        self._is_scheduled = False
        self._kick()

    def die(self) -> None:
        self.is_alive = False
        self._ready.clear()

    def run(self, what: Callable[[], Any]) -> Any:
        """Call `what` as if from a step of this loop."""
        asyncio._set_running_loop(self)  # type: ignore[arg-type]  # it has what the modules use of one
        try:
            return what()
        finally:
            asyncio._set_running_loop(None)

    def _kick(self) -> None:
        if not self._is_scheduled and self._ready and self.is_alive:
            self._is_scheduled = True
            when = max(self.scheduler.now, self._stopped_until)
            self.scheduler.at(when + self._random() * STEP_S, self._step)

    def _step(self) -> None:
        if not self._is_scheduled or not self.is_alive:
            return
        self._is_scheduled = False
        if self.scheduler.now < self._stopped_until:
            self._kick()
            return
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                self.dies_after = None
                self.on_death()
                return
        while self._ready:
            handle = self._ready.popleft()
            if handle.callback is not None:
                asyncio._set_running_loop(self)  # type: ignore[arg-type]
                handle.callback(*handle.arguments)
                asyncio._set_running_loop(None)
                break
        self._kick()
