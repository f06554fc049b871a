"""What this machine's kernel counts while a trial runs: full accept queues, dropped packets, network interfaces.

Counted over all programs of the machine, by differences: what another one did meanwhile is in it.
"""

from pathlib import Path

import psutil

from loadgen.core.limits import Host

_NETSTAT, _SOFTNET = Path("/proc/net/netstat"), Path("/proc/net/softnet_stat")


class HostWatch:
    """The counters, from when it was made."""

    def __init__(self) -> None:
        self._listen, self._packets, self._bytes = _listen_drops(), _packet_drops(), _interface_bytes()

    def take(self, seconds: float) -> Host:
        """Return what was counted.

        Args:
            seconds: in which the traffic flowed.
        """
        shares = []
        stats = psutil.net_if_stats()
        for name, now in _interface_bytes().items():
            speed_mbit = stats[name].speed if name in stats else 0
            if speed_mbit and name != "lo":
                moved = now - self._bytes.get(name, now)
                shares.append(moved * 8 / 1e6 / seconds / speed_mbit)
        return Host(
            listen_drops=_listen_drops() - self._listen,
            packet_drops=_packet_drops() - self._packets,
            network_share=round(max(shares), 4) if shares else None,
        )


def _interface_bytes() -> dict[str, int]:
    """Return the bytes of each interface in its busier direction."""
    return {name: max(one.bytes_sent, one.bytes_recv) for name, one in psutil.net_io_counters(pernic=True).items()}


def _listen_drops() -> int:
    """Return ListenDrops of /proc/net/netstat, which pairs lines of names with lines of numbers."""
    try:
        lines = _NETSTAT.read_text().splitlines()
    except OSError:
        return 0
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        told = dict(zip(names.split(), numbers.split(), strict=False))
        if "ListenDrops" in told:
            return int(told["ListenDrops"])
    return 0


def _packet_drops() -> int:
    """Return the second column of /proc/net/softnet_stat, summed over the CPUs."""
    try:
        return sum(int(line.split()[1], 16) for line in _SOFTNET.read_text().splitlines())
    except (OSError, ValueError, IndexError):
        return 0
