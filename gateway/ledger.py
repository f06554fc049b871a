"""The gateway's ledger: a line for each session that has ended, and one for the process at its end.

    {"is": "session", "life": 1764108300123456, "gateway": "gateway-411", "session": "gateway-411-7", ...}
    {"is": "gateway", "life": 1764108300123456, "gateway": "gateway-411", "sessions": 300, ...}

Called by connections when they end and by the worker at its end, never for an update. `docs/gateway.md` says what
the fields mean.
"""

from typing import TYPE_CHECKING

from execgate.service.ledger_file import LedgerFile
from execgate.wire.update import epoch_text
from gateway.core.account import Account
from gateway.counters import Counters

if TYPE_CHECKING:
    from gateway.connection import Connection


class Ledger:
    """One process' part of the file.

    Args:
        file: it is closed with the ledger.
        gateway: the name of this process.
        counters: of this process.
    """

    def __init__(self, file: LedgerFile, gateway: str, counters: Counters) -> None:
        self._file = file
        self._gateway = gateway
        self._counters = counters
        self._sessions = 0

    def open_account(self) -> Account:
        """Return the account of a session that begins."""
        self._sessions += 1
        return Account()

    def enter(self, connection: "Connection") -> None:
        """Write a session that has ended, or is still open at the end of the process."""
        account, outbound = connection.outbound.account, connection.outbound
        if account is None:
            return
        since = account.since
        self._file.append(
            "session",
            gateway=self._gateway,
            session=connection.session_name,
            address=connection.key,
            mode=outbound.mode.value,
            since=None if since is None else {"epoch": epoch_text(since.epoch), "seq": since.seq},
            stretches=[stretch.as_dict() for stretch in account.stretches],
            unlisted=account.unlisted,
            unlisted_matched=account.unlisted_matched,
            snapshot=account.snapshot,
            matched=outbound.matched,
            delivered=outbound.sent,
            queued=outbound.queued,
            dropped={"slow": outbound.dropped - outbound.shed, "behind": outbound.shed},
            conflated=outbound.conflated,
            discarded=outbound.discarded,
            closed_with=account.closed_with,
        )

    def close(self, queued: int) -> None:
        """Write what the process has counted, `queued` being what waits for sessions that are still open."""
        counters = self._counters
        self._file.append(
            "gateway",
            gateway=self._gateway,
            sessions=self._sessions,
            matched=counters.matched,
            delivered=counters.delivered,
            queued=queued,
            dropped=counters.dropped,
            conflated=counters.conflated,
            discarded=counters.discarded,
        )
        self._file.close()
