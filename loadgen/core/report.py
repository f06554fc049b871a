"""PURE: what is told of a run: made when it ends, and again from its folder; one function, so both are the same.

Called by `run.py` and `report.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadgen.core.figures import Figures
from loadgen.core.requirement import parse_requirement
from loadgen.core.tables import Table, tables_of
from loadgen.core.verdict import Asked, Verdict, judge


@dataclass(frozen=True, slots=True)
class Report:
    """One run.

    Attributes:
        manifest: see `manifest.describe_run`.
        figures: its records, added up.
        end: what `end.json` holds; empty for a run that was killed.
        verdict: whether to believe it, and whether it held.
    """

    manifest: Mapping[str, Any]
    figures: Figures
    end: Mapping[str, Any]
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`; docs/loadgen.md has the meaning of each figure."""
        return {
            "run": self.manifest,
            "figures": self.figures.as_dict(),
            "verdict": self.verdict.as_dict(),
            **self.end,
        }

    def tables(self) -> list[Table]:
        """Return it for people."""
        return tables_of(self.figures.as_dict(), self.verdict.as_dict(), self.end)


def make_report(manifest: Mapping[str, Any], figures: Figures, end: Mapping[str, Any]) -> Report:
    """Judge a run that is over, by the plan and the requirements that its manifest names.

    Raises:
        ValueError, KeyError, TypeError: the manifest is none of ours.
    """
    asked = Asked(**manifest["plan"])
    requirements = [parse_requirement(text) for text in manifest["config"]["require"]]
    return Report(manifest, figures, end, judge(asked, figures, requirements, end))
