"""The life of a daemon: an event loop, a stop that signals ask for, a ready line, an end with its parent.

`run` is the one entry: it turns SIGTERM and SIGINT into `Stop`, and a UsageError into one line and exit 2.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from execgate.service import systemd
from execgate.service.exits import EXIT_OK, EXIT_USAGE
from execgate.wire.errors import UsageError

PARENT_VARIABLE = "EXECGATE_PARENT"
_PR_SET_PDEATHSIG = 1


class Stop:
    """A request to end, set by a signal or by the program itself; may be awaited or asked.

    Attributes:
        at_once: set when the same signal has come again: whoever sent it does not want to wait for a drain.
            Another signal means nothing: Ctrl-C reaches a whole process group, and who started us may pass it on
            as SIGTERM.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._signals: set[int] = set()
        self.at_once = asyncio.Event()

    def signal(self, signum: int) -> None:
        """A signal that asks for the end has come."""
        if signum in self._signals:
            self.at_once.set()
        self._signals.add(signum)
        self.request()

    def request(self) -> None:
        """Ask for the end; more than once is the same as once."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether the end was asked for."""
        return self._event.is_set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the request, for `timeout_s` at most; return whether it came."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:  # also at a timeout of 0, whether or not the request came (Python 3.11)
            pass
        return self.requested


def run(program: str, main: Callable[[Stop], Awaitable[int | None]]) -> int:
    """Run `main` on uvloop until it returns; return the exit status.

    Args:
        program: begins the line that a UsageError becomes.
        main: returns an exit status (None for 0), soon after its Stop was requested.
    """
    end_with_parent()
    fill_standard_descriptors()

    async def guarded() -> int:
        stop = Stop()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stop.signal, signum)
        return await main(stop) or EXIT_OK

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(guarded())
    except UsageError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return EXIT_USAGE


def tell_ready(program: str, *, to_stderr: bool = False, **facts: object) -> None:
    """Print the one line that says that `program` serves, with what it really bound, and tell systemd.

    It goes to standard output; to standard error where standard output carries results.
    """
    words = " ".join(f"{name}={value}" for name, value in facts.items())
    print(f"{program} ready pid={os.getpid()} {words}", file=sys.stderr if to_stderr else sys.stdout, flush=True)
    systemd.notify("READY=1")


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent dies, if the parent asked for it.

    A parent that starts children for itself alone (demo, supervisor) sets EXECGATE_PARENT to its pid, so that
    nothing is left behind even when it is killed. Linux only: prctl(2), PR_SET_PDEATHSIG, which acts at the
    end of the parent's *thread* that started us: start children from the main thread.
    """
    # Taken out, so that our own children do not mistake our parent for theirs and end at once.
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if str(os.getppid()) != parent:  # it died before we asked
        sys.exit(EXIT_OK)


def fill_standard_descriptors() -> None:
    """Fill closed descriptors 0, 1 and 2 with /dev/null, lest a socket of ours becomes standard input.

    They can only be written, so that whoever reads standard input is still told that there is none.
    """
    while (descriptor := os.open(os.devnull, os.O_WRONLY)) <= 2:  # the lowest that is free
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def child_environment() -> dict[str, str]:
    """Return the environment of a child process that must not outlive us, without what systemd told us alone."""
    environment = {name: value for name, value in os.environ.items() if name not in systemd.OURS}
    return environment | {PARENT_VARIABLE: str(os.getpid())}
