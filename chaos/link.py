"""A link of `packets` from outside: start it, be at either end of it, say what becomes of the packets.

Whoever is at the near end, and every process and thread begun there, reaches the far end at `FAR`, and the other
way round; nobody reaches anything else, nor does anything reach them. The integration tests and `run` use it.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaos.packets import FAR, NEAR, Weather

__all__ = ["FAR", "NEAR", "Link", "NoLinkError", "Weather"]

_CLONE_NEWNET = 0x40000000
_END_TIMEOUT_S = 10.0


class NoLinkError(Exception):
    """There can be none here; the message says why."""


class Link:
    """One link, whose weather is fair at first.

    Args:
        seed: of what happens to packets.

    Attributes:
        far: a prefix that runs a command at the far end.

    Raises:
        NoLinkError: namespaces or TUN devices are forbidden here, or `ip` is missing.
    """

    def __init__(self, seed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.packets", str(seed)],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = self._hear()
        if "reason" in found:
            self.close()
            raise NoLinkError(found["reason"])
        self._near, far = (f"/proc/{self._process.pid}/fd/{found[end]}" for end in ("near", "far"))
        self.far = ("nsenter", f"--net={far}", "--")

    def set(self, weather: Weather) -> dict[str, int]:
        """Change the weather; return what was done to packets so far."""
        assert self._process.stdin is not None  # a pipe
        self._process.stdin.write(json.dumps(weather._asdict()) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def enter_near(self) -> None:
        """Bring this thread, and whatever it begins from now on, to the near end."""
        _enter(self._near)

    @contextmanager
    def near(self) -> Iterator[None]:
        """Be at the near end for the length of a block."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.enter_near()
            yield
        finally:
            _enter(f"/proc/self/fd/{before}")
            os.close(before)

    def close(self) -> None:
        """End the relay; packets pass no more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return dict(json.loads(line)) if line else {"reason": "the relay of packets ended"}


def _enter(path: str) -> None:
    """Bring this thread into a network namespace. `os.setns` is Python 3.12's."""
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}")
    finally:
        os.close(namespace)
