"""The admin listener of a daemon: a unix socket where an operator of its group asks and acts.

One JSON object a line each way: `{"do": "sessions", "after": 0}` is answered with `{"sessions": [...], "next":
200}`, or with `{"error": "..."}`. A daemon says by a table what it can do; `log-level` and `dump` every daemon
can. Requests are bounded, and so are answers: what may be long comes in pages. docs/operations.md has the
table.
"""

import asyncio
import logging
import os
import socket
import stat
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ujson

from execgate.service import logs
from execgate.service.options import LOG_LEVELS
from execgate.wire.errors import UsageError

log = logging.getLogger("admin")

MODE = 0o660
MAX_REQUEST_BYTES = 4 * 1024
MAX_PEERS = 8
IDLE_S = 30.0
"""A peer that asks nothing for so long, or does not take its answer, is gone."""
MAX_STACK_BYTES = 64 * 1024

Request = dict[str, Any]
Verb = Callable[[Request], dict[str, Any]]
"""Takes a request, returns the answer; raises ValueError, which says what was expected."""


class AdminServer:
    """The listener of one process.

    Args:
        verbs: what this daemon can do besides `log-level` and `dump`.
        state: returns its figures, for `dump`.
        settings: returns the settings in force as TOML, for `dump`.
    """

    def __init__(
        self, verbs: Mapping[str, Verb], state: Callable[[], dict[str, Any]], settings: Callable[[], str]
    ) -> None:
        self._verbs: dict[str, Verb] = {**verbs, "log-level": _log_level, "dump": self._dump}
        self._state = state
        self._settings = settings
        self._path: Path | None = None
        self._inode = 0
        self._server: asyncio.Server | None = None
        self._peers = 0

    async def bind(self, path: str) -> None:
        """Listen at `path`, with mode 0660; a file that a daemon which died has left there is replaced.

        Raises:
            UsageError: it can't be had: a daemon listens there, or it is no socket.
        """
        listener = bind(path)
        self._path, self._inode = Path(path), Path(path).stat().st_ino
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_REQUEST_BYTES)

    def close(self) -> None:
        """Serve no more, and take the file away, unless another daemon has put its own there."""
        if self._server is None or self._path is None:
            return
        self._server.close()
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except OSError:
            pass  # somebody was faster

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers += 1
        try:
            while self._peers <= MAX_PEERS:
                async with asyncio.timeout(IDLE_S):
                    try:
                        line = await reader.readuntil(b"\n")
                    except asyncio.LimitOverrunError:
                        await _say(writer, {"error": f"a request over {MAX_REQUEST_BYTES} bytes"})
                        return
                    await _say(writer, self._answer(line))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it has left, or takes too long
        finally:
            self._peers -= 1
            writer.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = ujson.loads(line)
            if not isinstance(request, dict):
                raise ValueError('expected an object, {"do": ...}')
            verb = self._verbs.get(str(request.get("do")))
            if verb is None:
                raise ValueError(f"do {request.get('do')!r}: expected one of {', '.join(sorted(self._verbs))}")
            return verb(request)
        except ValueError as error:  # ujson's too
            return {"error": str(error)}

    def _dump(self, _request: Request) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "figures": self._state(),
            "settings": self._settings(),
            "tasks": len(asyncio.all_tasks()),
            "stacks": stacks()[:MAX_STACK_BYTES],
        }


def bind(path: str) -> socket.socket:
    """Return a unix socket that listens at `path`, with mode 0660.

    Raises:
        UsageError: it can't be had.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _remove_stale(path)
        before = os.umask(0o777 & ~MODE)  # it is never there with more rights, not even for a moment
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(MAX_PEERS)
    except OSError as error:
        listener.close()
        raise UsageError(f"--admin {path}: {error.strerror or error}") from None
    except UsageError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove what a daemon that died has left at `path`.

    Raises:
        UsageError: it is no socket, or a daemon listens there.
    """
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"--admin {path}: is no socket; expected a name that is free, or a socket's")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        else:
            raise UsageError(f"--admin {path}: already in use, by a daemon that lives")


def stacks() -> str:
    """Return where each thread of this process is."""
    frames = sys._current_frames()  # there is no other way
    return "\n".join(f"thread {name}\n{''.join(traceback.format_stack(frame))}" for name, frame in frames.items())


def _log_level(request: Request) -> dict[str, Any]:
    level = request.get("level")
    if level not in LOG_LEVELS:
        raise ValueError(f"level {level!r}: expected one of {', '.join(LOG_LEVELS)}")
    logs.set_level(level)
    log.warning("log level changed to=%s", level)
    return {"level": level}


async def _say(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(ujson.dumps(answer, escape_forward_slashes=False).encode() + b"\n")
    await writer.drain()
