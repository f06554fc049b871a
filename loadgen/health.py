"""What a record tells of the load generator's own side: whether its figures are the server's.

Made by `run.py`, asked once an interval.
"""

from collections.abc import Sequence

from execgate.service.vitals import ProcessTrees
from loadgen.core.recorder import Record
from loadgen.crowd import Crowd
from loadgen.pacing import Paced
from loadgen.watching import CpuWait, MachineWatch


class Health:
    """Of one process of the load generator, its machine, and the servers on it.

    Args:
        server_pids: of processes of the server, which are watched with their children.
        crowd: the clients.
        paced: what keeps to a schedule.
    """

    def __init__(self, server_pids: Sequence[int], crowd: Crowd, paced: Sequence[Paced]) -> None:
        self._crowd = crowd
        self._paced = paced
        self._machine = MachineWatch()
        self._cpu_wait = CpuWait()
        self._servers = ProcessTrees(server_pids) if server_pids else None
        self._wall_offset_us = crowd.wall_offset_us

    def start(self) -> None:
        """Begin to watch."""
        if self._servers is not None:
            self._servers.take()

    def stop(self) -> None:
        """Watch no more."""
        self._cpu_wait.close()

    def take(self, record: Record) -> Record:
        """Return what is to be added to the record that was just taken."""
        seconds = record["seconds"]
        busy, steal, softirq = self._machine.take()
        offset_us, self._wall_offset_us = self._wall_offset_us, self._crowd.wall_offset_us
        health = {
            "cpu_share": round(record["cpu_s"] / seconds, 4),
            "cpu_wait_share": round(self._cpu_wait.take_s() / seconds, 4),
            "machine_busy_share": round(busy, 4),
            "steal_share": round(steal, 4),
            "softirq_share": round(softirq, 4),
            "behind_us": max(paced.take_worst_us() for paced in self._paced),
            "clock_step_us": self._wall_offset_us - offset_us,
        }
        if self._servers is not None:
            cpu_s, rss_bytes = self._servers.take()
            health |= {
                "server_cpu_s": round(cpu_s, 6),
                "server_thread_share": round(self._servers.busiest_thread_s / seconds, 4),
                "server_rss_bytes": rss_bytes,
            }
        return health
