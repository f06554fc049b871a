"""Whether the client's own side was the bottleneck: the machine's CPU, and what its sockets hold unread.

Made by `run.py`, asked once an interval.
"""

import array
import ctypes
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import psutil

_SAMPLES_PER_S = 20.0
MOST_SOCKETS = 64
"""Looked at in each sample, which holds the interpreter for some 60 us."""


class MachineWatch:
    """Shares of the whole machine's CPU time since it was last asked."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def take(self) -> tuple[float, float, float]:
        """Return shares: busy (not idle), stolen (by the hypervisor for others), handling packets (softirq)."""
        now, before = psutil.cpu_times(), self._before
        self._before = now
        spent = {name: getattr(now, name) - getattr(before, name) for name in now._fields}
        for counted_twice in ("guest", "guest_nice"):  # the kernel has them in user and nice
            spent.pop(counted_twice, None)
        total = sum(spent.values())
        if total <= 0:
            return 0.0, 0.0, 0.0
        idle = spent["idle"] + spent.get("iowait", 0.0)
        return 1 - idle / total, spent.get("steal", 0.0) / total, spent.get("softirq", 0.0) / total


class CpuWait:
    """How long the thread that made it could have run and got no CPU, as the kernel adds it up.

    /proc/.../schedstat, see scheduler/sched-stats in Linux' documentation. Where it is missing nothing waits.
    """

    def __init__(self) -> None:
        self._path = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._before_s = self._waited_s()

    def take(self) -> float:
        """Return the seconds since the last call."""
        now_s, before_s = self._waited_s(), self._before_s
        self._before_s = now_s
        return now_s - before_s

    def _waited_s(self) -> float:
        try:
            return int(self._path.read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0


class ReceiveQueue:
    """How many bytes wait unread in the clients' sockets: a thread looks at random moments.

    The event loop can't look itself: whenever it has time to, it has just read them all.
    """

    def __init__(self, descriptors: Callable[[], list[int]]) -> None:
        self._descriptors = descriptors
        self._watched: list[int] = []
        self._bytes = 0
        self._looks = 0
        self._ended = threading.Event()
        # Not ctypes.CDLL, which gives up the interpreter for each call and waits for it after each.
        self._ioctl = ctypes.PyDLL(None).ioctl
        self._thread = threading.Thread(target=self._watch, name="receive-queue", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def take(self) -> float:
        """Return the mean bytes that waited in a socket since the last call, and choose sockets anew."""
        looks, waiting = self._looks, self._bytes
        self._looks = self._bytes = 0
        self._watched = self._descriptors()
        return waiting / looks if looks else 0.0

    def _watch(self) -> None:
        random = Random()
        waiting = array.array("i", [0])
        address = waiting.buffer_info()[0]
        while not self._ended.wait(random.uniform(0.5, 1.5) / _SAMPLES_PER_S):
            for descriptor in self._watched:
                # One that was closed since, and is maybe another's by now, spoils one look of many.
                if self._ioctl(descriptor, termios.FIONREAD, ctypes.c_void_p(address)) == 0:
                    self._bytes += waiting[0]
                    self._looks += 1
