"""PURE: what is told of a run: made when it ends, and again from its folder; one function, so both are the same.

Called by `run.py` and `report.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadgen.core.figures import Figures
from loadgen.core.requirement import parse_requirement
from loadgen.core.storms import storms_of, storms_table
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
        figures = self.figures.as_dict()
        storms = self._storms(figures)
        return {
            "run": self.manifest,
            "figures": figures | ({"storms": storms} if storms else {}),
            "verdict": self.verdict.as_dict(),
            **self.end,
        }

    def tables(self) -> list[Table]:
        """Return it for people."""
        figures = self.figures.as_dict()
        tables = tables_of(figures, self.verdict.as_dict(), self.end)
        if storms := self._storms(figures):
            tables.insert(2, storms_table(storms))  # behind verdict and latencies: it is what was asked
        return tables

    def _storms(self, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
        return storms_of(self.manifest.get("scenario", {"stages": ()}), figures)


def make_report(manifest: Mapping[str, Any], figures: Figures, end: Mapping[str, Any]) -> Report:
    """Judge a run that is over, by the plan and the requirements that its manifest names.

    Raises:
        ValueError, KeyError, TypeError: the manifest is none of ours.
    """
    asked = Asked(**manifest["plan"])
    requirements = [parse_requirement(text) for text in manifest["config"]["require"]]
    return Report(manifest, figures, end, judge(asked, figures, requirements, end))
