"""Logs: one line a state change, its words and then `key=value`; never a line per message.

Text to standard error, or the same as JSON there, or to journald by its own protocol. The words behind the
event are fields in both, so that `journalctl EXECGATE_SESSION=gateway-4711-42` is the story of one connection.
What repeats is bounded for the whole process (`Limit`); `Throttle` is for what a peer can repeat at will.
"""

import atexit
import json
import logging
import os
import re
import socket
import sys
import time
from typing import Any

_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S"
_FIELD = re.compile(r"""(?<!\S)([a-z_]+)=("[^"]*"|'[^']*'|\S*)""")
FORMS = ("text", "json", "journald")
JOURNAL = "/run/systemd/journal/socket"
MAX_MESSAGE_BYTES = 32 * 1024
"""Of a line to journald, whose datagrams are bounded: a traceback is cut behind it."""
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
LIMIT, WINDOW_S = 10, 10.0
"""So many lines of one event in so many seconds; debug has no limit."""


def set_up(level: str = "info", form: str = "text") -> None:
    """Send this process' logs where `form` says. Called once, by the program's entry."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonForm() if form == "json" else logging.Formatter(_FORMAT, _TIME))
    if form == "journald":
        handler = Journal(handler)
    handler.addFilter(Limit(handler))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Tornado logs each broken handshake at warning; those are ordinary here, and counted.
    logging.getLogger("tornado").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Change what `set_up` was given."""
    logging.getLogger().setLevel(level.upper())


def parts_of(message: str) -> tuple[str, dict[str, str]]:
    """Return the event of a line, the words before its first `key=value`, and the fields; quotes are taken off."""
    fields = {name: value[1:-1] if value[:1] in ("'", '"') else value for name, value in _FIELD.findall(message)}
    first = _FIELD.search(message)
    return (message[: first.start()] if first else message).rstrip(" :"), fields


class JsonForm(logging.Formatter):
    """A line of JSON: `time` (UTC), `level`, `logger`, `message`, `event`, its fields, and any `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        message = record.getMessage()
        event, fields = parts_of(message)
        at = f"{time.strftime(_TIME, time.gmtime(record.created))}.{record.msecs:03.0f}Z"
        ours = {"time": at, "level": record.levelname.lower(), "logger": record.name, "message": message}
        line = fields | ours | {"event": event}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Journal(logging.Handler):
    """Writes to journald by its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram of fields a line.

    The `<N>` that a line to standard error may begin with would say its priority and nothing of its fields.

    Args:
        instead: gets what journald does not take, as where there is none.
        path: of its socket.
    """

    def __init__(self, instead: logging.Handler, path: str = JOURNAL) -> None:
        super().__init__()
        self._instead = instead
        self._path = path
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._channel.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`; a journald that does not read costs the daemon nothing."""
        try:
            self._channel.sendto(datagram(record), self._path)
        except OSError:
            self._instead.handle(record)


def datagram(record: logging.LogRecord) -> bytes:
    """Return what journald is sent for `record`."""
    message = record.getMessage()
    event, fields = parts_of(message)
    if record.exc_info:
        message += "\n" + logging.Formatter().formatException(record.exc_info)
    priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
    named = {"MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": "execgate"}
    named |= {"SYSLOG_PID": str(os.getpid()), "EXECGATE_LOGGER": record.name, "EXECGATE_EVENT": event}
    named |= {f"EXECGATE_{name.upper()}": value for name, value in fields.items()}
    return b"".join(_journal_field(name, value.encode()[:MAX_MESSAGE_BYTES]) for name, value in named.items())


def _journal_field(name: str, value: bytes) -> bytes:
    if b"\n" in value:  # its length first, 64 bits in little-endian order
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


class Limit(logging.Filter):
    """Lets `LIMIT` lines of an event pass in `WINDOW_S`; then one line says how many were held back.

    That line comes with the next line of any event behind the window, or at the end. An event is what the code
    says, whatever the fields: there are as many as lines in the source that log.

    Args:
        handler: writes the line.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._windows: dict[tuple[str, str], list[Any]] = {}  # its end, the lines in it, one that was held back
        atexit.register(self.tell_held_back, float("inf"))

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        now = time.monotonic()
        self.tell_held_back(now)
        if record.levelno <= logging.DEBUG:
            return True
        window = self._windows.setdefault((record.name, str(record.msg)), [now + WINDOW_S, 0, None])
        window[1] += 1
        if window[1] <= LIMIT:
            return True
        window[2] = record
        return False

    def tell_held_back(self, now: float) -> None:
        """Say what was held back in windows that have ended, and forget those."""
        for event in [event for event, window in self._windows.items() if window[0] <= now]:
            _, count, last = self._windows.pop(event)
            if last is not None:
                words = f"held back lines={count - LIMIT} within_s={WINDOW_S:g} the last: {last.getMessage()}"
                self._handler.emit(logging.makeLogRecord({**last.__dict__, "msg": words, "args": None}))


class Throttle:
    """A logger for what a peer can repeat: one line a second at most, with the number held back.

    The counts live elsewhere; this only keeps a flood out of the log.
    """

    def __init__(self, logger: logging.Logger, per_s: float = 1.0) -> None:
        self._logger = logger
        self._interval_s = per_s
        self._next = 0.0
        self._held = 0

    def warning(self, message: str, *arguments: Any) -> None:
        """Log a warning, or count it as held back."""
        now = time.monotonic()
        if now < self._next:
            self._held += 1
            return
        self._next = now + self._interval_s
        if self._held:
            message += " held_back=%s"
            arguments = (*arguments, self._held)
            self._held = 0
        self._logger.warning(message, *arguments)
