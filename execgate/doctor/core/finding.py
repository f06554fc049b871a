"""PURE: one thing that was looked at, and what all of them come to together."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

OK, NOTE, LIMITS, WRONG, UNKNOWN = "ok", "note", "LIMITS", "WRONG", "unknown"
"""Fine; worth knowing; too few connections; misinstalled; could not be read."""
SERVER, CLIENT = "server", "client"
"""Whose connections a limit counts: those that a gateway takes, and those that leave this machine for one address:
of a load generator, or of a proxy to the gateways behind it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table.

    Attributes:
        name: of what was looked at.
        found, wanted: as people write them.
        level: one of the above.
        limits: what it limits, in a few words.
        fix: a line to copy, or what to do; "" where there is nothing to do.
        server, client: for how many connections it is good; None where it does not limit their number.
    """

    name: str
    found: str
    wanted: str
    level: str
    limits: str
    fix: str = ""
    server: int | None = None
    client: int | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, for a number of connections that is wanted."""

    connections: int
    findings: tuple[Finding, ...]

    def good_for(self, side: str) -> tuple[int, str] | None:
        """Return for how many connections the box is good on a side, and the limit that says so."""
        bounds = [(getattr(one, side), one.name) for one in self.findings if getattr(one, side) is not None]
        return min(bounds, default=None)

    @property
    def is_fine(self) -> bool:
        """Whether nothing is wrong, and nothing limits below what is wanted."""
        return not any(one.level in (LIMITS, WRONG) for one in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        good_for = {side: self.good_for(side) for side in (SERVER, CLIENT)}
        return {
            "connections": self.connections,
            "fine": self.is_fine,
            "good_for": {
                side: None if found is None else {"connections": found[0], "limit": found[1]}
                for side, found in good_for.items()
            },
            "findings": [asdict(one) for one in self.findings],
        }


def as_text(diagnosis: Diagnosis, *, everything: bool) -> str:
    """Return it for a terminal: the table, then what to do, then for how many connections the box is good.

    Args:
        diagnosis: of a box.
        everything: also what is fine.
    """
    shown = [one for one in diagnosis.findings if everything or one.level != OK]
    lines = []
    if shown:
        heading = ("", "what", "found", "wanted", "it limits")
        rows = [heading, *((one.level, one.name, one.found, one.wanted, one.limits) for one in shown)]
        lines += _aligned(rows)
    fine = sum(one.level == OK for one in diagnosis.findings)
    if not everything:
        lines.append(f"{fine} of {len(diagnosis.findings)} are fine; --all shows them")
    fixes = list(dict.fromkeys(one.fix for one in shown if one.fix and one.level != OK))
    if fixes:
        lines += ["", "to do:", *(f"  {fix}" for fix in fixes)]
    lines.append("")
    for side, words in _SIDES:
        found = diagnosis.good_for(side)
        if found is not None:
            lines.append(f"{words}: good for {found[0]:,} connections, by {found[1]}")
    ending = "nothing in the way" if diagnosis.is_fine else "something is in the way"
    lines.append(f"{diagnosis.connections:,} connections are wanted: {ending}")
    return "\n".join(lines)


_SIDES: Sequence[tuple[str, str]] = (
    (SERVER, "as a server"),
    (CLIENT, "as a load generator, or a proxy to gateways here"),
)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
