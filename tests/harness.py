"""Real processes for integration tests: start one, wait for its words, end it by pid, keep what it said."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import psutil

READY_TIMEOUT_S = 20.0
_FACT = re.compile(r"(\w+)=(\S+)")


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Wait for `condition` to become true; fail with `what` was awaited after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.01)


async def until(condition: Callable[[], object], what: str = "what it waits for", timeout_s: float = 10.0) -> None:
    """As `wait_until`, on the running loop."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s: {what}") from None


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more; an orphan may stay a zombie for as long as init takes its time."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


class Process:
    """One `execgate COMMAND ...` that runs; its output is read all the time, so that it never blocks."""

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        prefix: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.arguments = arguments
        self.popen = subprocess.Popen(
            [*prefix, sys.executable, "-m", "execgate", *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
            pass_fds=pass_fds,
        )
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        streams = ((self.popen.stdout, self.stdout), (self.popen.stderr, self.stderr))
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in streams
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Iterator[str], lines: list[str]) -> None:
        lines.extend(line.rstrip("\n") for line in stream)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def words(self) -> str:
        """Everything said so far, for a failure's message."""
        return f"{self.arguments}\n" + "\n".join(["-- stdout", *self.stdout, "-- stderr", *self.stderr])

    def wait_for(self, pattern: str, timeout_s: float = READY_TIMEOUT_S) -> re.Match[str]:
        """Wait for a line of either stream that `pattern` (a regular expression) is found in."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self.popen.poll() is not None
            if ended:
                self._drain()
            for line in [*self.stdout, *self.stderr]:
                found = expression.search(line)
                if found:
                    return found
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"{'ended' if ended else 'waited'} without {pattern!r}: {self.words()}")
            time.sleep(0.01)

    def ready(self, timeout_s: float = READY_TIMEOUT_S) -> dict[str, str]:
        """Wait for the ready line and return its facts (`listen`, `pub`, `pid`, ...)."""
        line = self.wait_for(r".* ready pid=.*", timeout_s).group(0)
        return dict(_FACT.findall(line))

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def wait(self, timeout_s: float = 20.0) -> int:
        """Wait for the end; return the exit status (negative: the signal that ended it)."""
        try:
            status = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s} s: {self.words()}") from None
        self._drain()
        return status

    def stop(self, signum: int = signal.SIGTERM, timeout_s: float = 20.0) -> int:
        """Send `signum` and wait for the end."""
        if self.popen.poll() is None:
            self.send_signal(signum)
        return self.wait(timeout_s)

    def close(self) -> None:
        """End it whatever it does; never fails."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        self._drain()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream is not None:
                stream.close()

    def _drain(self) -> None:
        for reader in self._readers:
            reader.join(5)


@contextmanager
def running(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
) -> Iterator[Process]:
    """Run one `execgate` process for the length of a block; on a failure its words are shown.

    `prefix` is a command that ends by executing what follows it, such as `unshare -m`; it inherits `pass_fds`.
    """
    process = Process(*arguments, environment=environment, prefix=prefix, pass_fds=pass_fds)
    try:
        yield process
    except BaseException:
        print(process.words())
        raise
    finally:
        process.close()
