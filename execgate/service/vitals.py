"""Vitals of this process and machine, by psutil, and the lag of its event loop."""

import asyncio
import os
import resource
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from execgate.measure.buckets import Buckets
from execgate.measure.classic import Hardware

_MIB = 1024 * 1024


class ProcessVitals:
    """CPU and memory of one process; `interval` gives the 2012 figures since it was last called.

    A process that has no descriptor left can't open /proc: then the last figures stand, and nothing fails.

    Attributes:
        started_s: of the process, in seconds since 1970.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.started_s = self._process.create_time()
        self._cpu_s = self.cpu_s()
        self._rss_bytes = int(self._process.memory_info().rss)
        self._memory = psutil.virtual_memory()
        self._total_mib = self._memory.total / _MIB
        self._load_average = os.getloadavg()[0]

    def cpu_s(self) -> float:
        """User and system CPU seconds of this process since its start."""
        return time.process_time()  # as psutil's, without opening a file

    def rss_bytes(self) -> int:
        """Resident memory of this process."""
        try:
            self._rss_bytes = int(self._process.memory_info().rss)
        except OSError:
            pass
        return self._rss_bytes

    def open_fds(self) -> int:
        """Descriptors that this process has open."""
        try:
            # Linux 6.2 and later say it as the folder's size; counting 15,000 entries takes milliseconds.
            folder = Path("/proc/self/fd")
            return folder.stat().st_size or len(list(folder.iterdir()))
        except OSError:  # none is left to look with: all are in use
            return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def interval(self) -> Hardware:
        """CPU time since the last call, load average, memory at its start and memory in use now."""
        try:
            self._load_average = os.getloadavg()[0]
            self._memory = psutil.virtual_memory()
        except OSError:
            pass
        cpu_s = self.cpu_s()
        hardware = Hardware(
            cpu_s=cpu_s - self._cpu_s,
            load_average=self._load_average,
            total_mib=self._total_mib,
            used_mib=self._memory.used / _MIB,
        )
        self._cpu_s = cpu_s
        self._total_mib = self._memory.total / _MIB
        return hardware


class ProcessTrees:
    """CPU and memory of some processes and of everything that they started, while they live.

    Memory that processes share is counted in each.

    Attributes:
        busiest_thread_s: CPU seconds of the thread that used most, between the last two calls of `take`.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(pids)
        self._cpu_s: dict[int, float] = {}
        self._thread_s: dict[int, float] = {}
        self.busiest_thread_s = 0.0

    def take(self) -> tuple[float, int]:
        """Return the CPU seconds used since the last call, and resident bytes now.

        What a process used before it was first seen does not count.
        """
        used_s, rss_bytes = 0.0, 0
        seen: dict[int, float] = {}
        threads: dict[int, float] = {}
        for process in self._processes():
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    rss_bytes += process.memory_info().rss
                    threads |= {one.id: one.user_time + one.system_time for one in process.threads()}
            except psutil.Error:
                continue
            cpu_s = times.user + times.system
            used_s += cpu_s - self._cpu_s.get(process.pid, cpu_s)
            seen[process.pid] = cpu_s
        known = self._thread_s
        self.busiest_thread_s = max((now_s - known.get(one, now_s) for one, now_s in threads.items()), default=0.0)
        self._cpu_s, self._thread_s = seen, threads
        return used_s, rss_bytes

    def _processes(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for pid in self._pids:
            try:
                found += [psutil.Process(one) for one in _family(pid)]
            except psutil.Error:
                continue
        return found


def _family(pid: int) -> list[int]:
    """Return a process and everything that it started, by the kernel's lists (proc_pid_children(5)).

    psutil looks at every process of the machine for that: 3 ms where there are 70.
    """
    family = [pid]
    for member in family:  # it grows meanwhile
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            with suppress(OSError):  # the thread has ended since
                family += map(int, children.read_text().split())
    return family


class LoopLag:
    """How late the event loop runs what is due: one timer, its greatest lateness since it was last asked.

    Attributes:
        buckets: every lateness so far, ten a second.
    """

    def __init__(self, interval_s: float = 0.1) -> None:
        self.buckets = Buckets()
        self._interval_s = interval_s
        self._worst_s = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch the running loop."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval_s

        def tick() -> None:
            nonlocal due
            now = loop.time()
            self._worst_s = max(self._worst_s, now - due)
            self.buckets.observe(now - due)
            due = now + self._interval_s
            self._handle = loop.call_at(due, tick)

        self._handle = loop.call_at(due, tick)

    def stop(self) -> None:
        """Stop watching."""
        if self._handle is not None:
            self._handle.cancel()

    def take_worst_s(self) -> float:
        """Return the greatest lateness since the last call, in seconds."""
        worst, self._worst_s = self._worst_s, 0.0
        return worst
