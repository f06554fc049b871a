"""The program of a link: two network namespaces joined by two TUN devices, and a relay of packets between them.

The kernel of many machines has no netem; this needs only TUN, `ip`, and the right to unshare. `link` starts it,
enters its namespaces by the descriptors that it names, and says what the weather is:

    started            {"near": DESCRIPTOR, "far": DESCRIPTOR} or {"reason": TEXT}
    a line comes       the fields of a `Weather` as JSON; from now on it is that
    it is answered     with what was done so far: {"passed": N, "late": N, "lost": N, "doubled": N, "cut": N}

It ends when its standard input does, and the namespaces with the last process in them.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import selectors
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

NEAR, FAR = "10.83.0.1", "10.83.0.2"
"""The address of either end, in its namespace."""
_PREFIX_BITS = 24
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MAX_PACKET_BYTES = 65_536
_SEND_BUFFERS = "4096 16384 32768"
"""TCP's, at least, at first and at most, in bytes: small, so that a cut costs messages and not only time."""
_MAX_HELD = 20_000
"""Packets under way; beyond them the line is full and what comes is lost, as in a router."""


class Weather(NamedTuple):
    """What happens to each packet, in either direction.

    Attributes:
        delay_ms: one way.
        jitter_ms: drawn from so much less to so much more; packets overtake each other then.
        loss: the share that vanishes.
        doubles: the share that comes twice.
        is_cut: nothing passes.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    doubles: float = 0.0
    is_cut: bool = False


class Line:
    """Decides about packets; knows no device.

    Args:
        seed: of what is lost, doubled, and how late each is.

    Attributes:
        weather: of now.
        did: what was done so far.
    """

    def __init__(self, seed: int) -> None:
        self.weather = Weather()
        self.did: Counter[str] = Counter(passed=0, late=0, lost=0, doubled=0, cut=0)
        self._rng = random.Random(seed)
        self._held: list[tuple[float, int, int, bytes]] = []
        self._taken = 0

    def take(self, now_s: float, to: int, packet: bytes) -> None:
        """Decide about a packet that is on its way to the device `to`."""
        weather, rng = self.weather, self._rng
        if weather.is_cut:
            self.did["cut"] += 1
            return
        if rng.random() < weather.loss or len(self._held) >= _MAX_HELD:
            self.did["lost"] += 1
            return
        copies = 2 if rng.random() < weather.doubles else 1
        self.did["doubled"] += copies - 1
        for _ in range(copies):
            jitter_ms = rng.uniform(-weather.jitter_ms, weather.jitter_ms)
            late_s = max(0.0, weather.delay_ms + jitter_ms) / 1e3
            self.did["late"] += late_s > 0
            self._taken += 1  # of two that are due at once the first one taken goes first
            heapq.heappush(self._held, (now_s + late_s, self._taken, to, packet))

    def due(self, now_s: float) -> list[tuple[int, bytes]]:
        """Take out what must be passed on by now: the device, and the packet."""
        found = []
        while self._held and self._held[0][0] <= now_s:
            _, _, to, packet = heapq.heappop(self._held)
            found.append((to, packet))
        self.did["passed"] += len(found)
        return found

    def wait_s(self, now_s: float) -> float | None:
        """Return how long nothing is due; None while nothing is under way."""
        return max(0.0, self._held[0][0] - now_s) if self._held else None


def _unshare() -> int:
    """Go into a new network namespace; return a descriptor of it, by which others enter."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")
    Path("/proc/sys/net/ipv4/tcp_wmem").write_text(_SEND_BUFFERS)
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _open_tun(name: str, address: str) -> int:
    """Make a device in the namespace we are in; what is sent to its network is read from it."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    for words in (
        ("link", "set", "lo", "up"),
        ("address", "add", f"{address}/{_PREFIX_BITS}", "dev", name),
        ("link", "set", name, "up"),
    ):
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return device


def _read_all(device: int, line: Line, to: int) -> None:
    try:
        while True:
            line.take(time.monotonic(), to, os.read(device, _MAX_PACKET_BYTES))
    except BlockingIOError:
        pass


def _relay(line: Line, near: int, far: int) -> None:
    peer = {near: far, far: near}
    commands, rest = sys.stdin.fileno(), b""
    with selectors.DefaultSelector() as selector:
        for each in (near, far, commands):
            selector.register(each, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(line.wait_s(time.monotonic())):
                if key.fd != commands:
                    _read_all(key.fd, line, peer[key.fd])
                    continue
                piece = os.read(commands, 65_536)
                if not piece:
                    return
                *complete, rest = (rest + piece).split(b"\n")
                for command in complete:
                    line.weather = Weather(**json.loads(command))
                    _say(line.did)
            for to, packet in line.due(time.monotonic()):
                try:
                    os.write(to, packet)
                except OSError:  # its queue is full: lost
                    line.did["lost"] += 1


def _say(fields: dict[str, Any]) -> None:
    print(json.dumps(fields), flush=True)


def main() -> int:
    """Run until standard input ends; the argument is the seed."""
    try:
        near_namespace = _unshare()
        near = _open_tun("near", NEAR)
        far_namespace = _unshare()
        far = _open_tun("far", FAR)
    except OSError as error:
        _say({"reason": str(error)})
        return 1
    _say({"near": near_namespace, "far": far_namespace})
    _relay(Line(int(sys.argv[1])), near, far)
    return 0


if __name__ == "__main__":
    sys.exit(main())
