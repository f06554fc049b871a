"""The processes of a run: started on a core of their own, read, and ended; what each has cost.

The server has one core, everything else the other: client, feeder, and the program that drives them. Starts and
ends only its own processes, on loopback ports.
"""

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

SERVER_CORE, CLIENT_CORE = 1, 0
ROOT = Path(__file__).parent.parent
_READY_WITHIN_S = 20

Process: TypeAlias = "subprocess.Popen[str]"


@contextmanager
def process(
    command: Sequence[str],
    core: int,
    stdin: Any = subprocess.DEVNULL,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Start `command` on `core`; kill it at the end."""
    started = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def load_run(options: Mapping[str, Any]) -> list[str]:
    """Return the command of a quiet `loadgen run` with these options, by their names without the dashes."""
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    return [sys.executable, "-m", "execgate", "loadgen", "run", *words, "--quiet"]


def tell(started: Process, word: str) -> None:
    """Write a line to its standard input, a pipe."""
    assert started.stdin is not None
    started.stdin.write(f"{word}\n")
    started.stdin.flush()


def lines_of(started: Process) -> Iterator[str]:
    """Yield the lines of its standard output, a pipe, until it ends."""
    assert started.stdout is not None
    while line := started.stdout.readline():
        yield line.rstrip("\n")


def await_ready(server: Process) -> None:
    """Wait for the line that every server prints when it serves.

    Raises:
        RuntimeError: it ended, or 20 s have passed.
    """
    await_line(server, "ready", _READY_WITHIN_S)


def await_line(started: Process, word: str, within_s: float) -> None:
    """Wait until it prints a line with `word`; kill it if that does not come in time.

    Raises:
        RuntimeError: it ended, or the time has passed.
    """
    watchdog = threading.Timer(within_s, started.kill)
    watchdog.start()
    try:
        if not any(word in line for line in lines_of(started)):
            raise RuntimeError(f"did not say {word!r} within {within_s:g} s: {started.args!r}")
    finally:
        watchdog.cancel()


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process, to the nanosecond (schedstat; clock ticks are 10 ms)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """Return a port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def gateway_stats(port: int, *, is_tls: bool = False) -> dict[str, Any]:
    """Return the `/stats` of our gateway; over TLS its certificate is taken as it is."""
    connection: http.client.HTTPConnection
    if is_tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/stats", headers={"Connection": "close"})
        figures: dict[str, Any] = json.loads(connection.getresponse().read())
        return figures
    finally:
        connection.close()
