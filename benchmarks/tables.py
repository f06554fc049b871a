"""Medians of runs, and the table of a case for eyes."""

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.cases import Case, Figures


def medians_of(case: Case, runs: Mapping[str, Sequence[Figures]]) -> dict[str, Figures | None]:
    """Return the medians of each server's runs that count; None where none does."""
    return {name: _median(case, figures) for name, figures in runs.items()}


def _median(case: Case, runs: Sequence[Figures]) -> Figures | None:
    valid = [figures for figures in runs if not figures["void"]]
    if not valid:
        return None
    keys = [column.key for column in case.columns]
    return {
        key: statistics.median(figures[key] for figures in valid)
        for key in keys
        if all(figures.get(key) is not None for figures in valid)
    }


def table(case: Case, runs: Mapping[str, Sequence[Figures]]) -> str:
    """Return a row a server, the ratio to the case's reference first."""
    medians = medians_of(case, runs)
    first = case.columns[0].key
    reference = medians.get(case.reference) or {}
    rows = [["server", f"vs {case.reference}", *(column.heading for column in case.columns)]]
    for name, figures in medians.items():
        if figures is None:
            rows.append([name, "void: " + runs[name][0]["void"]])
            continue
        ratio = f"{figures[first] / reference[first]:.2f}" if reference.get(first) else "-"
        rows.append([name, ratio, *_cells(case, figures)])
    widths = [max(len(row[i]) for row in rows if len(row) > 2) for i in range(len(rows[0]))]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=False)] for row in rows]
    return "\n".join("  ".join(line) for line in lines)


def _cells(case: Case, figures: Figures) -> list[str]:
    cells = []
    for column in case.columns:
        value = figures.get(column.key)
        scale = 1000 if column.heading.endswith("ms") else 1
        cells.append("-" if value is None else column.form.format(value / scale))
    return cells
