"""The gateway's ledger: a JSON line for each session that has ended, and one for the process at its end.

    {"is": "session", "gateway": "gateway-411", "life": 1764108300123456, "session": "gateway-411-7", ...}
    {"is": "gateway", "gateway": "gateway-411", "life": 1764108300123456, "sessions": 300, ...}

Called by connections when they end and by the worker at its end, never for an update. Each line is one write to
the end of the file, so that the workers of one port, and those that replace them, may share it. `execgate audit`
reads it; `docs/gateway.md` says what the fields mean.
"""

import logging
import os
import time
from typing import TYPE_CHECKING, Any

import ujson

from execgate.wire.errors import UsageError
from execgate.wire.update import epoch_text
from gateway.core.account import Account
from gateway.counters import Counters

if TYPE_CHECKING:
    from gateway.connection import Connection

log = logging.getLogger("gateway.ledger")


class Ledger:
    """One process' part of the file.

    Args:
        path: of the file; it is made, or appended to.
        gateway: the name of this process.
        counters: of this process.

    Raises:
        UsageError: the file can't be written.
    """

    def __init__(self, path: str, gateway: str, counters: Counters) -> None:
        self._path = path
        self._counters = counters
        self._head = {"gateway": gateway, "life": time.time_ns() // 1000}
        self._sessions = 0
        try:
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise UsageError(f"--ledger-file {path}: {error.strerror or error}") from None

    def open_account(self) -> Account:
        """Return the account of a session that begins."""
        self._sessions += 1
        return Account()

    def enter(self, connection: "Connection") -> None:
        """Write a session that has ended, or is still open at the end of the process."""
        account, outbound = connection.outbound.account, connection.outbound
        if account is None:
            return
        self._write(
            {
                "is": "session",
                **self._head,
                "session": connection.session_name,
                "address": connection.key,
                "mode": outbound.mode.value,
                "since": account.since and {"epoch": epoch_text(account.since.epoch), "seq": account.since.seq},
                "stretches": [stretch.as_dict() for stretch in account.stretches],
                "unlisted": account.unlisted,
                "unlisted_matched": account.unlisted_matched,
                "snapshot": account.snapshot,
                "matched": outbound.matched,
                "delivered": outbound.sent,
                "queued": outbound.queued,
                "dropped": {"slow": outbound.dropped - outbound.shed, "behind": outbound.shed},
                "conflated": outbound.conflated,
                "discarded": outbound.discarded,
                "closed_with": account.closed_with,
            }
        )

    def close(self, queued: int) -> None:
        """Write what the process has counted, `queued` being what waits for sessions that are still open."""
        counters = self._counters
        self._write(
            {
                "is": "gateway",
                **self._head,
                "sessions": self._sessions,
                "matched": counters.matched,
                "delivered": counters.delivered,
                "queued": queued,
                "dropped": counters.dropped,
                "conflated": counters.conflated,
                "discarded": counters.discarded,
            }
        )
        self._let_go()

    def _write(self, line: dict[str, Any]) -> None:
        """Append one line; a file that can't be written is given up with one line of the log."""
        if self._file is None:
            return
        data = ujson.dumps(line, escape_forward_slashes=False).encode() + b"\n"
        try:
            if os.write(self._file, data) != len(data):
                raise OSError("not all of a line was written")
        except OSError as error:
            log.error("ledger given up path=%s error=%r", self._path, error.strerror or str(error))
            self._let_go()

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
