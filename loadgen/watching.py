"""Whether somebody else had the CPU: of the machine, and of one thread.

Asked by `health.py` once an interval, and by `receiver.py`.
"""

import os
import threading
from contextlib import suppress

import psutil


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
        self._file: int | None = None
        with suppress(OSError):
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._before_ns = self.total_ns()

    def close(self) -> None:
        """Give back what is held; nothing waits any more."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def total_ns(self) -> int:
        """Return the nanoseconds since the thread began."""
        return 0 if self._file is None else int(os.pread(self._file, 64, 0).split()[1])

    def take_s(self) -> float:
        """Return the seconds since the last call."""
        now_ns, before_ns = self.total_ns(), self._before_ns
        self._before_ns = now_ns
        return (now_ns - before_ns) / 1e9
