"""The publisher and the gateways as processes: killed, stopped, and started again at the same address."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 20.0
_ASK_TIMEOUT_S = 1.0

PUBLISHER_FLAGS = ("--source", "ingest-ack", "--heartbeat-ms", "100", "--log-level", "info")
GATEWAY_FLAGS = (
    # Small on purpose: a reader that is held up for a second must meet every bound, and a client that was away for
    # half a minute must be served from the publisher's history.
    *("--send-buffer-kib", "16", "--outbound-kib", "64", "--ring-mib", "1"),
    *("--heartbeat-s", "1", "--feed-stale-s", "2", "--drain-s", "1", "--replay-timeout-s", "5"),
)


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody uses at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Daemon:
    """One `execgate COMMAND ...`, over all its lives.

    Args:
        name: of its log file, too.
        arguments: of `execgate`.
        folder: for its log, to which every life appends.
        prefix: a command that ends by executing what follows it.
        environment: what it has besides ours.

    Attributes:
        lock: held by whoever is doing something to it, so that faults of one victim come one after the other.
        lives: how often it was started.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.lock = asyncio.Lock()
        self.lives = 0
        self._command = [*prefix, sys.executable, "-m", "execgate", *arguments]
        self._environment = {**os.environ, **(environment or {})}
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the life under way, or the last one."""
        return 0 if self._process is None else self._process.pid

    @property
    def ended_by_itself(self) -> int | None:
        """The exit status of a process that nobody has ended; None while it runs, or where it was ended."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Begin a life."""
        self.lives += 1
        with self._log.open("ab") as log:
            log.write(f"-- life {self.lives}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def ready(self) -> None:
        """Wait for the ready line of this life.

        Raises:
            RuntimeError: it does not come.
        """
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while " ready pid=" not in self.words().rpartition("-- life ")[2]:
            if self.ended_by_itself is not None or asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"{self.name} did not become ready: {self.words()[-2_000:]}")
            await asyncio.sleep(0.05)

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal to a process that runs."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, signum)

    async def kill(self) -> None:
        """End it as kill -9 does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def end(self) -> int:
        """Ask it to end; return its exit status, -9 where it had to be killed."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        try:
            return await asyncio.to_thread(process.wait, END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def words(self) -> str:
        """Return what all its lives have said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def ask_stats(port: int) -> dict[str, Any] | None:
    """Return the figures of a gateway; None where it does not answer in a second."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_TIMEOUT_S)
    try:
        connection.request("GET", "/stats", headers={"Connection": "close"})
        return dict(json.loads(connection.getresponse().read()))
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
