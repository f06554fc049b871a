"""PURE: which differences between two sets of runs are real. Called by `report.py`.

Each run gives one number for each figure; runs are independent, what is inside of one is not. The difference of
the two means has a confidence interval by Welch's t, which takes no equal spread for granted. It is real if the
interval leaves out 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean, variance
from typing import Any

from loadgen.core.figures import HOPS, LATENCIES, scalars
from loadgen.core.summary import PERCENTILES
from loadgen.core.tables import Table

LEAST_RUNS = 2
CONFIDENCE = "99 %"
"""Of each interval. Some twenty figures are compared at a time: with equal servers, one comparison in five shows
a difference that is none."""
_T_99: dict[float, float] = {
    1: 63.657,
    2: 9.925,
    3: 5.841,
    4: 4.604,
    5: 4.032,
    6: 3.707,
    7: 3.499,
    8: 3.355,
    9: 3.250,
    10: 3.169,
    12: 3.055,
    15: 2.947,
    20: 2.845,
    30: 2.750,
    60: 2.660,
    120: 2.617,
    inf: 2.576,
}
"""Student's t, two-sided: degrees of freedom -> the quantile (a test integrates the density)."""
_RESOLUTION = 0.001
"""Of a histogram: less than this is no difference."""
_SCALARS = (
    "delivered_per_s",
    "orders_sent_per_s",
    "orders_answered_per_s",
    *("lost", "duplicates", "reorders", "stale", "disconnects", "errors", "orders_unanswered"),
)
REAL, NO, UNKNOWN = "real", "no", "can't be told"


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one figure between runs A and runs B. Latencies are in ms.

    Attributes:
        name, a, b: the figure, and its means.
        low, high: the confidence interval of b - a; None where there are too few runs.
        real: one of `REAL`, `NO`, `UNKNOWN`.
    """

    name: str
    a: float
    b: float
    low: float | None
    high: float | None

    @property
    def real(self) -> str:
        """Return whether the figures differ."""
        if self.low is None or self.high is None:
            return UNKNOWN
        if abs(self.b - self.a) <= _RESOLUTION * max(abs(self.a), abs(self.b)):
            return NO
        return REAL if self.low > 0 or self.high < 0 else NO

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        interval = None if self.low is None else [self.low, self.high]
        return {"a": self.a, "b": self.b, "interval": interval, "real": self.real}


def quantile_99(degrees: float) -> float:
    """Return Student's t for a two-sided interval of 99 %: of the next lower degrees that are tabled."""
    return _T_99[max(known for known in _T_99 if known <= max(1.0, degrees))]


def difference(name: str, a: Sequence[float], b: Sequence[float]) -> Difference:
    """Compare one figure of runs A and runs B, one number each."""
    mean_a, mean_b = fmean(a), fmean(b)
    if min(len(a), len(b)) < LEAST_RUNS:
        return Difference(name, mean_a, mean_b, None, None)
    of_a, of_b = variance(a) / len(a), variance(b) / len(b)
    degrees = inf
    if of_a + of_b > 0:
        degrees = (of_a + of_b) ** 2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1))
    half = quantile_99(degrees) * sqrt(of_a + of_b)
    return Difference(name, mean_a, mean_b, mean_b - mean_a - half, mean_b - mean_a + half)


def numbers_of(figures: Mapping[str, Any]) -> dict[str, float]:
    """Return what of a run is compared, from `Figures.as_dict`; what can't be quoted is left out."""
    found: dict[str, float] = {}
    for latency in (name for name in LATENCIES if name not in HOPS):
        for name in PERCENTILES:
            value_us = figures["latencies"][latency][name]
            # The greatest of all is one sample: it says little of a run and nothing of the next.
            if value_us is not None and name != "max":
                found[f"{latency}.{name}, ms"] = value_us / 1000
    numbers = scalars(figures)
    found |= {name: number for name in _SCALARS if (number := numbers[name]) is not None}
    found["client CPU, of a core"] = figures["client"]["cpu_share"]
    if figures["server"] is not None:
        found["server CPU, of a core"] = figures["server"]["cpu_share"]
    return found


def compare(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Compare runs A and runs B, each `Figures.as_dict`; figures that one of them can't quote are left out."""
    of_a, of_b = [numbers_of(figures) for figures in a], [numbers_of(figures) for figures in b]
    names = [name for name in of_a[0] if all(name in numbers for numbers in (*of_a, *of_b))]
    compared = [
        difference(name, [numbers[name] for numbers in of_a], [numbers[name] for numbers in of_b])
        for name in names
    ]
    return [one for one in compared if one.a or one.b]


def other_settings(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return what was not the same in the manifests of runs A and of runs B: name -> what it was in each."""
    described = [[_described(manifest) for manifest in manifests] for manifests in (a, b)]
    names = dict.fromkeys(name for side in described for one in side for name in one)
    found = {}
    for name in names:
        in_a, in_b = (", ".join(sorted({str(one.get(name)) for one in side})) for side in described)
        if in_a != in_b:
            found[name] = (in_a, in_b)
    return found


def _described(manifest: Mapping[str, Any]) -> dict[str, Any]:
    told = {f"--{name.replace('_', '-')}": value for name, value in manifest["config"].items()}
    for output in ("--name", "--run-dir", "--json", "--junit", "--server-pid", "--quiet"):
        told.pop(output, None)
    return told | {"git": manifest["git"]} | {**manifest["versions"], **manifest["machine"]}


def comparison_tables(differences: Sequence[Difference], settings: Mapping[str, tuple[str, str]]) -> list[Table]:
    """Return a comparison for people."""
    rows = [
        (one.name, _number(one.a), _number(one.b), _percent(one.a, one.b), _interval(one), one.real)
        for one in differences
    ]
    columns = ("", "A", "B", "B - A", f"B - A, {CONFIDENCE}", "different?")
    tables = [Table("Means of the runs", columns, rows)]
    if settings:
        others = [(name, *values) for name, values in settings.items()]
        tables.append(Table("What was not the same", ("", "A", "B"), others, texts=True))
    return tables


def _number(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def _percent(a: float, b: float) -> str:
    return f"{(b - a) / a:+.1%}" if a else "-"


def _interval(one: Difference) -> str:
    return "-" if one.low is None or one.high is None else f"{_number(one.low)} to {_number(one.high)}"
