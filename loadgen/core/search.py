"""PURE: the search for the highest load that a server holds. `loadgen/capacity.py` runs the trials it asks for.

    while (value := search.next_value()) is not None:
        search.add(value, HELD, FAILED, UNBELIEVABLE, UNTOLD or DISTURBED)
    knee = search.knee()

Doubling from a start (halving, where that fails already) until one load holds and a higher one does not; then the
geometric middle of the two until they are near enough; then `VOTES` trials at each of the two. What is known of a
load is what most of its trials came to, so that a vote that overturns one opens the search again. All of it
follows from the votes alone: there is no phase that could go wrong.
"""

from collections import Counter
from dataclasses import dataclass

HELD, FAILED, UNBELIEVABLE, UNTOLD, DISTURBED = "held", "failed", "unbelievable", "untold", "disturbed"
"""What a trial came to: the server held; it did not; the measuring side was the bottleneck; too little to tell;
something else had the machine.

A load that tells too little counts as held while there are higher ones to try, and never as the answer. One that
was disturbed is no vote: it is tried again.
"""
MAX_TRIALS = 40
"""Of a search. Without noise one takes 30 at most: 20 to double to a million, 3 to halve to 10 %, 4 more votes."""
VOTES = 3
MOST_DISTURBED = 5
"""Trials in a row: then whatever disturbs them does not pass."""
DONE, LIMITED, ALL_HELD = "the edge is found", f"{MAX_TRIALS} trials, the most", "no more was to be tried"
TOO_BUSY = f"something else kept this machine busy: {MOST_DISTURBED} trials in a row were disturbed"


@dataclass(frozen=True, slots=True)
class Knee:
    """What a search found.

    Attributes:
        low: the highest load that held, 0 where none did.
        high: the lowest that did not, None where all did.
        is_lower_bound: the server may hold more than `low`: what ended the search was not the server.
        confidence: high, fair, low or none.
        votes: of `low` and `high`, in words.
        why_stopped: why there were no more trials.
    """

    low: int
    high: int | None
    is_lower_bound: bool
    confidence: str
    votes: str
    why_stopped: str


class Search:
    """Which load to try next, from what the ones before came to.

    Args:
        start: the first load, from 1 on.
        most: the highest that is ever tried.
        within: how near the two edges have to be: 0.1 for 10 %. They are never nearer than 1.
    """

    def __init__(self, start: int, most: int, within: float) -> None:
        self._start = min(start, most)
        self._most = most
        self._within = within
        self.votes: dict[int, Counter[str]] = {}
        self.trials = 0
        self.disturbed = 0  # of the last ones, in a row

    def add(self, value: int, outcome: str) -> None:
        """Take what a trial came to."""
        self.trials += 1
        self.disturbed = self.disturbed + 1 if outcome == DISTURBED else 0
        if outcome != DISTURBED:
            self.votes.setdefault(value, Counter())[outcome] += 1

    def next_value(self) -> int | None:
        """Return the load to try, None when the search is over."""
        if self.trials >= MAX_TRIALS or self.disturbed >= MOST_DISTURBED:
            return None
        for value in self.votes:
            if self._holds(value) is None:
                return value
        low, high = self._edges()
        if high is None:
            if low < self._most:
                return min(low * 2, self._most) if low else self._start
        elif high - low > 1 and high > low * (1 + self._within):
            return min(max(round((low * high) ** 0.5), low + 1), high - 1) if low else high // 2
        return self._to_vote(low, high)

    def knee(self, why_stopped: str = "") -> Knee:
        """Return what is known so far.

        Args:
            why_stopped: where something else than the search ended it.
        """
        low, high = self._edges()
        if not why_stopped:
            limited = self.trials >= MAX_TRIALS and self._to_vote(low, high) is not None
            why_stopped = LIMITED if limited else ALL_HELD if high is None else DONE
            if self.disturbed >= MOST_DISTURBED:
                why_stopped = TOO_BUSY
        told = " and ".join(self._in_words(value) for value in (low, high) if value in self.votes)
        is_lower_bound = high is None or self._against(high) == UNBELIEVABLE
        return Knee(low, high, is_lower_bound, self._confidence(low, high), told, why_stopped)

    def _edges(self) -> tuple[int, int | None]:
        """Return the lowest load that did not hold, and below it the highest that did."""
        high = min((value for value in self.votes if self._holds(value) is False), default=None)
        held = (value for value in self.votes if self._holds(value) and (high is None or value < high))
        return max(held, default=0), high

    def _holds(self, value: int) -> bool | None:
        """Return what most trials of a load say; None if as many say yes as no."""
        votes = self.votes[value]
        difference = votes[HELD] + votes[UNTOLD] - votes[FAILED] - votes[UNBELIEVABLE]
        return None if difference == 0 else difference > 0

    def _against(self, value: int) -> str:
        """Return why a load did not hold."""
        votes = self.votes[value]
        return UNBELIEVABLE if votes[UNBELIEVABLE] >= votes[FAILED] else FAILED

    def _to_vote(self, low: int, high: int | None) -> int | None:
        """Return the edge that has the fewest votes, if they are too few."""
        edges = [value for value in (low, high) if value in self.votes]
        fewest = min(edges, key=lambda value: self.votes[value].total(), default=None)
        return fewest if fewest is not None and self.votes[fewest].total() < VOTES else None

    def _confidence(self, low: int, high: int | None) -> str:
        edges = [self.votes[value] for value in (low, high) if value in self.votes]
        if low not in self.votes or self.votes[low][HELD] <= self.votes[low][UNTOLD]:
            return "none"
        if any(votes.total() < VOTES for votes in edges):
            return "low"
        near = high is None or high - low <= 1 or high <= low * (1 + self._within)
        return "low" if not near else "high" if all(len(+votes) == 1 for votes in edges) else "fair"

    def _in_words(self, value: int | None) -> str:
        if value is None:
            return ""
        votes = +self.votes[value]
        told = ", ".join(f"{outcome} {count} of {votes.total()}" for outcome, count in votes.most_common())
        return f"{value:,} {told}"
