"""PURE: the records of several processes of the load generator as those of one, by the rules of `recorder.MERGES`.

Called by `processes.py` for each record as it comes. A record is of the interval that ends at a boundary, the same
for all processes. One that was held up leaves boundaries out, and its next record is of all that time: at those
it adds nothing, and what stands (clients that are connected, memory) stands where it stood.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from loadgen.core.recorder import MERGES, Merge, Record

_STANDS = frozenset(name for name, rule in MERGES.items() if rule is Merge.ADD_STANDS)


def merge(records: Sequence[Mapping[str, Any]], stood: Sequence[Mapping[str, Any]] = ()) -> Record:
    """Return the record of all processes together.

    Args:
        records: of those that have one of this interval; at least one.
        stood: the last record of each that has none.

    Raises:
        ValueError: a field has no rule.
    """
    unknown = {name for record in records for name in record} - MERGES.keys()
    if unknown:
        raise ValueError(f"no rule says how these fields merge: {', '.join(sorted(unknown))}")
    merged: Record = {}
    for name in dict.fromkeys(name for record in records for name in record):
        values = [record[name] for record in records if name in record]
        merged[name] = _merged(MERGES[name], values, len(records) + len(stood))
        if name in _STANDS:
            merged[name] += sum(record.get(name, 0) for record in stood)
    return merged


def _merged(rule: Merge, values: Sequence[Any], processes: int) -> Any:
    if rule is Merge.ADD_COUNTS:
        counts: Counter[Any] = Counter()
        for value in values:
            counts.update(value)
        return dict(counts)
    if rule is Merge.ADD_GROUPS:
        names = dict.fromkeys(name for value in values for name in value)
        return {name: _added([value[name] for value in values if name in value]) for name in names}
    if rule is Merge.WORST:
        return max(values, key=abs)
    if rule is Merge.LEAST_BY_NAME:
        names = dict.fromkeys(name for value in values for name in value)
        return {name: min(value[name] for value in values if name in value) for name in names}
    if rule is Merge.SAME:
        return values[0]
    total = sum(values)
    total = total / processes if rule is Merge.MEAN else total
    return round(total, 6) if isinstance(total, float) else total


def _added(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parts that processes have of one group as one: counts, and counts by kind."""
    rules = {name: Merge.ADD_COUNTS if isinstance(value, dict) else Merge.ADD for name, value in parts[0].items()}
    return {name: _merged(rule, [part[name] for part in parts], len(parts)) for name, rule in rules.items()}


class Merger:
    """Takes each process' records in order and gives those of all, each once nobody can add to it any more.

    It holds what is ahead of the slowest process: whoever calls it gives up on one that stays silent.
    """

    def __init__(self, processes: int) -> None:
        self._reached: dict[int, int | None] = dict.fromkeys(range(processes), -1)  # None: it has ended
        self._last: dict[int, Mapping[str, Any]] = {}
        self._waiting: dict[int, dict[int, Mapping[str, Any]]] = {}  # boundary -> process -> record

    def add(self, process: int, boundary: int, record: Mapping[str, Any]) -> list[tuple[int, Record]]:
        """Take the record of a process; return what is whole now: boundary and record, in order."""
        reached = self._reached[process]
        if reached is None or boundary <= reached:
            raise ValueError(f"process {process}: a record up to {boundary} after one up to {reached}")
        self._reached[process] = boundary
        self._waiting.setdefault(boundary, {})[process] = record
        return self._whole()

    def end(self, process: int) -> list[tuple[int, Record]]:
        """Take note that no more comes from a process; return what is whole now."""
        self._reached[process] = None
        return self._whole()

    def _whole(self) -> list[tuple[int, Record]]:
        reached = [boundary for boundary in self._reached.values() if boundary is not None]
        slowest = min(reached, default=None)
        whole = []
        for boundary in sorted(self._waiting):
            if slowest is not None and boundary > slowest:
                break
            records = self._waiting.pop(boundary)
            stood = [record for process, record in self._last.items() if process not in records]
            absent = len(self._reached) - len(records) - len(stood)
            merged = merge(list(records.values()), [*stood, *[{}] * absent])
            self._last |= records
            whole.append((boundary, merged))
        return whole
