"""Medians of runs, and the table of a case for eyes."""

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.case import Case
from benchmarks.running import Figures

_WIDE = 10  # columns; a case with more is turned, a line a figure


def medians_of(case: Case, runs: Mapping[str, Sequence[Figures]]) -> dict[str, Figures | None]:
    """Return the medians of each row's runs that count; None where none does."""
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
    """Return a row a server or variant, the ratio to the case's reference first, if that was measured."""
    medians = medians_of(case, runs)
    has_ratio = any(case.reference_of(name) in medians for name in medians)
    kind = "variant" if case.variants else "server"
    to = case.beside or case.reference
    rows = [[kind, *([f"vs {to}"] if has_ratio else []), *(column.heading for column in case.columns)]]
    voids = []
    for name, figures in medians.items():
        if figures is None:
            voids.append(f"{name} is void: {runs[name][0]['void']}")
            continue
        reference = medians.get(case.reference_of(name)) or {}
        ratio = _ratio(*(row.get(case.columns[0].key) for row in (figures, reference)))
        cells = [column.show(figures.get(column.key)) for column in case.columns]
        rows.append([name, *([ratio] if has_ratio else []), *cells])
    if len(case.columns) > _WIDE:
        rows = [list(line) for line in zip(*rows, strict=True)]
    return "\n".join([*_aligned(rows), *voids])


def _ratio(value: float | None, reference: float | None) -> str:
    return f"{value / reference:.2f}" if value is not None and reference else "-"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
