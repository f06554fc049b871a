"""PURE: what a run must hold to, such as `p99<50ms` or `lost==0`, as it is given with `--require`.

Read by the settings and, from a run folder, by the report; judged when the run is over.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from loadgen.core.figures import (
    BOUNDED,
    CHECKED_SCALARS,
    HOPS,
    LATENCIES,
    SCALARS,
    Figures,
    quoted,
    samples_needed,
    scalars,
)

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}
_CONDITION = re.compile(r"\s*([\w.]+)\s*(<=|>=|==|!=|<|>)\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*")
_LATENCY = re.compile(r"(?:([a-z_]+)\.)?(?:p(\d{1,2}(?:\.\d{1,3})?)|max)")
_EXPECTED = (
    "expected NAME, one of < <= == != >= > and a number, such as p99<50ms, order.p99.9<=200ms or lost==0; "
    f"a NAME is pNN or max, with {', '.join(f'{name}.' for name in LATENCIES)} before it or else of deliveries, "
    f"or one of {', '.join(SCALARS)}"
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a requirement: `held` is None where the run can't tell; `found` says what was found."""

    text: str
    held: bool | None
    found: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition. `latency` and `percent` say which latency, or `scalar` which number.

    Attributes:
        limit: in microseconds for a latency.
    """

    text: str
    comparison: str
    limit: float
    scalar: str = ""
    latency: str = ""
    percent: float = 0.0

    def __str__(self) -> str:
        return self.text

    def why_senseless(
        self,
        *,
        subscribers: int,
        orders: bool,
        is_ours: bool = True,
        is_numbered: bool = True,
        is_stamped: bool = True,
    ) -> str:
        """Return why a run of such a load can't tell, "" if it can.

        Args:
            subscribers: how many.
            orders: whether there are any.
            is_ours: whether the server is our own.
            is_numbered: whether updates have a sequence, and ...
            is_stamped: ... a timestamp.
        """
        if self.latency == "delivery" and not subscribers:
            return "a latency of deliveries, and there are no subscribers; order.p99 would be of orders"
        if self.latency in HOPS and not (subscribers and is_ours):
            return "a hop of deliveries, which our own gateway tells subscribers, and nobody else"
        if self.latency == "delivery" and not is_stamped:
            return "a latency of deliveries, and neither --ts-path nor --ts-regex says when an update was sent"
        if self.scalar in CHECKED_SCALARS and not is_numbered:
            return "about whole streams, and neither --seq-path nor --seq-regex says an update's sequence"
        if (self.latency.startswith("order") or self.scalar.startswith("orders_")) and not orders:
            return "about orders, and there is no --orders-per-s"
        return ""

    def judge(self, figures: Figures) -> Judged:
        """Hold the requirement against what was measured."""
        if self.scalar:
            value = scalars(figures.as_dict())[self.scalar]
            if value is None:
                return Judged(self.text, None, "not checked")
            return self._judged(value, f"{value:g}" if isinstance(value, float) else str(value))
        histogram = figures.histogram(self.latency)
        value_us = quoted(histogram, self.percent)
        if value_us is None:
            needed = samples_needed(self.percent)
            return Judged(self.text, None, f"{histogram.count} samples, and it takes {needed} to tell")
        judged = self._judged(value_us, f"{value_us / 1000:.3f} ms of {histogram.count} samples")
        if self.latency not in BOUNDED:
            return judged
        least_us = figures.lower_histogram(self.latency).percentile(self.percent) or 0
        if self._judged(least_us, "").held is judged.held:
            return judged
        return Judged(self.text, None, f"between {least_us / 1000:.3f} and {judged.found}: too doubtful to tell")

    def _judged(self, value: float, found: str) -> Judged:
        return Judged(self.text, _OPERATORS[self.comparison](value, self.limit), found)


def parse_requirement(text: str) -> Requirement:
    """Read a condition.

    Raises:
        ValueError: says what was expected.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ValueError(_EXPECTED)
    name, comparison, number, unit = found.groups()
    limit = float(number)
    if name in SCALARS:
        if unit:
            raise ValueError(f"{name} has no unit; {_EXPECTED}")
        return Requirement(text, comparison, limit, scalar=name)
    latency = _LATENCY.fullmatch(name)
    if latency is None or (latency[1] or "delivery") not in LATENCIES or latency[2] in ("0", "00"):
        raise ValueError(_EXPECTED)
    if unit not in _UNITS_US:
        raise ValueError(f"{name} needs a unit: us, ms or s; {_EXPECTED}")
    percent = float(latency[2]) if latency[2] else 100.0
    return Requirement(
        text, comparison, limit * _UNITS_US[unit], latency=latency[1] or "delivery", percent=percent
    )
