"""The children of the demo: started in their own sessions, watched, and ended, whatever happens.

Called by `show.py`. Nothing outlives the demo: the block that starts them ends them, and where the demo is
killed the kernel does (`lifecycle.child_environment`).
"""

import asyncio
import os
import re
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import ujson

from execgate.service.lifecycle import PARENT_VARIABLE, child_environment
from execgate.service.options import ENVIRONMENT_PREFIX
from execgate.wire.errors import ExecgateError

READY_TIMEOUT_S = 20.0
END_TIMEOUT_S = 10.0
LAST_WORDS_S = 0.5
STDERR_LINES = 10
_STILL_THERE = 0  # kill(2): signal 0 only asks
_MAX_LINE_BYTES = 4 * 1024 * 1024  # a record with its histograms is a line
_FACT = re.compile(r"(\w+)=(\S+)")


class ChildError(ExecgateError):
    """A child ended by itself, or did not become ready; the text has its last words."""


def environment() -> dict[str, str]:
    """The children's environment: settings of the demo itself (EXECGATE_FOR, ...) are not theirs."""
    return {
        name: value
        for name, value in child_environment().items()
        if name == PARENT_VARIABLE or not name.startswith(ENVIRONMENT_PREFIX)
    }


class Child:
    """One `execgate COMMAND ...` that runs. Its output is read all the time, so that it never blocks."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.process = process
        self.facts: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self.stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self.ended = asyncio.create_task(self._wait())

    async def _wait(self) -> int:
        readers = [asyncio.create_task(self._read_stdout()), asyncio.create_task(self._read_stderr())]
        status = await self.process.wait()
        # Its last words; not to the end of the pipes, which its own children may hold open.
        await asyncio.wait(readers, timeout=LAST_WORDS_S)
        return status

    async def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if b" ready pid=" in line and not self.facts.done():
                self.facts.set_result(dict(_FACT.findall(line.decode(errors="replace"))))

    async def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.stderr.append(line.decode(errors="replace").rstrip())

    def death(self) -> ChildError:
        """Return what to say of a child that ended by itself, or is not ready in time."""
        status = self.process.returncode
        what = f"not ready within {READY_TIMEOUT_S:.0f} s" if status is None else f"ended with status {status}"
        words = "".join(f"\n  {line}" for line in self.stderr) or " (it said nothing)"
        return ChildError(f"{self.name} {what}; its last words:{words}")

    async def end(self) -> None:
        """Ask it to end, wait, and kill it where it does not; then the same for what it left behind."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if self.process.returncode is None:
                self.process.send_signal(signum)
            done, _ = await asyncio.wait([self.ended], timeout=END_TIMEOUT_S)
            if done:
                break
        for signum in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + END_TIMEOUT_S
            left = self._left_behind(signum)
            while left and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
                left = self._left_behind(_STILL_THERE)

    def _left_behind(self, signum: int) -> bool:
        """Signal the rest of its process group, which is its own since it leads a session."""
        try:
            os.killpg(self.process.pid, signum)
        except ProcessLookupError:
            return False
        return True


class Children:
    """All children; leaving the block ends them, the last started first."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            await child.end()

    @property
    def ends(self) -> Mapping["asyncio.Task[int]", Child]:
        """The tasks that are done when their child has ended."""
        return {child.ended: child for child in self._children}

    async def start(self, name: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> Child:
        """Start one; Ctrl-C at the terminal reaches the demo alone, which ends them in order."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "execgate",
            *arguments,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=environment(),
            pass_fds=pass_fds,
            start_new_session=True,
            limit=_MAX_LINE_BYTES,
        )
        child = Child(name, process)
        self._children.append(child)
        return child

    async def start_recording(self, name: str, *arguments: str) -> tuple[Child, "Records"]:
        """Start a load generator whose interval log is a pipe to us."""
        reading, writing = os.pipe()
        try:
            child = await self.start(name, *arguments, "--intervals", f"/dev/fd/{writing}", pass_fds=(writing,))
        finally:
            os.close(writing)
        stream = asyncio.StreamReader(limit=_MAX_LINE_BYTES)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb")
        )
        return child, Records(stream)


class Records:
    """The interval records of one load generator, as they come."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self.all: list[dict[str, Any]] = []
        self._arrived = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self._stream:
            self.all.append(ujson.loads(line))
            self._arrived.set()

    async def next(self, index: int) -> dict[str, Any]:
        """Wait for record number `index` and return it."""
        while len(self.all) <= index:
            self._arrived.clear()
            await self._arrived.wait()
        return self.all[index]

    async def rest(self) -> None:
        """Wait for the end of the log."""
        await self._reading
