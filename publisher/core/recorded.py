"""PURE: the pace at which rows were recorded, out of their own `timestamp` (ms) or `ts_us`.

The line source asks it when a row is due. A row without a time, or with one before the row before it, is due
at once: replay never goes back and never waits for what it can't know.
"""

from collections.abc import Mapping
from typing import Any

MAX_STEP_NS = 3_600 * 1_000_000_000
"""A longer pause is cut to an hour: a time in the wrong unit, or a night, should not stop a replay."""


class RecordedPace:
    """Offsets in nanoseconds from the first row that has a time; never smaller than the one before."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._offset_ns = 0

    def offset_ns(self, fields: Mapping[str, Any]) -> int:
        """Return when a row with these fields is due."""
        recorded = _recorded_ns(fields)
        if recorded is None:
            return self._offset_ns
        if self._last_ns is not None:
            self._offset_ns += min(max(0, recorded - self._last_ns), MAX_STEP_NS)
        self._last_ns = recorded
        return self._offset_ns


def _recorded_ns(fields: Mapping[str, Any]) -> int | None:
    for name, unit_ns in (("ts_us", 1_000), ("timestamp", 1_000_000)):
        value = fields.get(name)
        if type(value) is int or type(value) is float:  # a bool is an int, and no time
            return int(value * unit_ns) if abs(value) < 1e18 else None
    return None
