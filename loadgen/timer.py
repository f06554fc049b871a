"""A timer of the kernel's for the event loop, whose own timers are whole milliseconds. Called by `pacing.py`.

Linux only (timerfd_create(2)), as is the rest of what we run on; Python has it itself from 3.13 on.
"""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_ITIMERSPEC = struct.Struct("@llll")  # interval and first expiry, each seconds and nanoseconds
_NS = 1_000_000_000
_libc = ctypes.CDLL(None, use_errno=True)


class ExactTimer:
    """Calls `callback` at a time by the monotonic clock; some 50 us late on an idle machine.

    Raises:
        OSError: no descriptor is left.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._descriptor = int(_libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._loop.add_reader(self._descriptor, self._ring)

    def set(self, due_ns: int) -> None:
        """Ring at `due_ns`, at once where that is over, and at no other time that was set before."""
        seconds, ns = divmod(due_ns, _NS)
        when = _ITIMERSPEC.pack(0, 0, seconds, ns)
        _libc.timerfd_settime(self._descriptor, _TFD_TIMER_ABSTIME, when, None)

    def close(self) -> None:
        """Ring no more."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _ring(self) -> None:
        try:
            os.read(self._descriptor, 8)  # else it is readable for ever
        except BlockingIOError:
            return  # it was set anew in the meantime
        self._callback()
