"""Child processes of our own: started in their own sessions, watched, and ended, whatever happens.

Called by the demo and the load generator. Nothing outlives the parent: the block that starts them ends them, and
where the parent is killed the kernel does (`lifecycle.child_environment`).
"""

import asyncio
import os
import re
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from execgate.service.lifecycle import PARENT_VARIABLE, Stop, child_environment
from execgate.service.options import ENVIRONMENT_PREFIX
from execgate.wire.errors import ExecgateError

READY_TIMEOUT_S = 20.0
END_TIMEOUT_S = 10.0
LAST_WORDS_S = 0.5
STDERR_LINES = 10
_STILL_THERE = 0  # kill(2): signal 0 only asks
MAX_LINE_BYTES = 4 * 1024 * 1024
"""Of what a child says: a record with its histograms is a line."""
_FACT = re.compile(r"(\w+)=(\S+)")

Result = TypeVar("Result")


class ChildError(ExecgateError):
    """A child ended by itself, or did not become ready; the text has its last words."""


class StoppedError(Exception):
    """The end was asked for while something else was awaited."""


def environment() -> dict[str, str]:
    """The children's environment: settings of the parent itself (EXECGATE_FOR, ...) are not theirs."""
    return {
        name: value
        for name, value in child_environment().items()
        if name == PARENT_VARIABLE or not name.startswith(ENVIRONMENT_PREFIX)
    }


class Child:
    """One program of ours that runs. Its output is read all the time, so that it never blocks.

    Attributes:
        name: for messages.
        process: as asyncio has it.
        facts: of its ready line, once that has come.
        stderr: the newest lines of it.
        ended: the task that is done, with the exit status, when it is over and has been read to its end.
    """

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, on_line: Callable[[bytes], None] | None = None
    ) -> None:
        self.name = name
        self.process = process
        self._on_line = on_line
        self.facts: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self.stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self.ended = asyncio.create_task(self._wait())

    async def _wait(self) -> int:
        readers = [asyncio.create_task(self._read_stdout()), asyncio.create_task(self._read_stderr())]
        status = await self.process.wait()
        # Its last words; not to the end of the pipes, which its own children may hold open. One whose every line
        # counts has none, and is read to its end, however busy we are.
        await asyncio.wait(readers, timeout=LAST_WORDS_S if self._on_line is None else END_TIMEOUT_S)
        return status

    async def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if self._on_line is not None:
                self._on_line(line)
            elif b" ready pid=" in line and not self.facts.done():
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

    async def start(
        self,
        name: str,
        *arguments: str,
        module: str = "execgate",
        stdin: int = DEVNULL,
        pass_fds: tuple[int, ...] = (),
        on_line: Callable[[bytes], None] | None = None,
    ) -> Child:
        """Start `python -m MODULE ARGUMENTS`; Ctrl-C at the terminal reaches the parent alone, which ends it.

        Args:
            name: for messages.
            arguments: of its command line.
            module: what runs.
            stdin: as `subprocess` has it.
            pass_fds: descriptors that it inherits.
            on_line: gets each line of its standard output; without it a ready line is waited for.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=stdin,
            stdout=PIPE,
            stderr=PIPE,
            env=environment(),
            pass_fds=pass_fds,
            start_new_session=True,
            limit=MAX_LINE_BYTES,
        )
        child = Child(name, process, on_line)
        self._children.append(child)
        return child

    async def ready(self, child: Child, stop: Stop) -> dict[str, str]:
        """Wait for its ready line; return what stands in it.

        Raises:
            ChildError: it did not come in time, or a child ended.
            StoppedError: the end was asked for before.
        """

        async def facts() -> dict[str, str]:
            try:
                return await asyncio.wait_for(asyncio.shield(child.facts), READY_TIMEOUT_S)
            except TimeoutError:
                raise child.death() from None

        return await self.unless_over(facts(), stop)

    async def unless_over(self, wanted: Coroutine[Any, Any, Result], stop: Stop) -> Result:
        """Wait for something.

        Raises:
            ChildError: a child ended before.
            StoppedError: the end was asked for before.
        """
        task = asyncio.ensure_future(wanted)
        stopped = asyncio.ensure_future(stop.wait())
        ends = self.ends
        try:
            await asyncio.wait([task, stopped, *ends], return_when=asyncio.FIRST_COMPLETED)
            for end, child in ends.items():
                if end.done():
                    raise child.death()
            if stopped.done():
                raise StoppedError
            return await task
        finally:
            for mine in (task, stopped):
                mine.cancel()
