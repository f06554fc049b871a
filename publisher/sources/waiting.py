"""Waiting until an offset of a schedule is due: the shell around the pure `execgate.measure.pacer`."""

import asyncio
import time

_LEAST_SLEEP_S = 0.001
"""uvloop's timers count milliseconds; a shorter wait would spin, or end before its time."""


class Waiter:
    """Waits for absolute offsets from its first use, so that lateness never adds up."""

    def __init__(self) -> None:
        self._start_ns: int | None = None

    async def until(self, offset_ns: int) -> None:
        """Return when `offset_ns` is due; at once where it is past."""
        now_ns = time.monotonic_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
        due_ns = self._start_ns + offset_ns
        while now_ns < due_ns:
            await asyncio.sleep(max(_LEAST_SLEEP_S, (due_ns - now_ns) / 1e9))
            now_ns = time.monotonic_ns()
