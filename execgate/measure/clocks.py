"""How far another machine's clock is ahead of ours, by a question and its answer (as NTP does it, RFC 5905).

Pure. The gateway asks the publisher, the load generator the gateway; both read the clocks themselves.
"""

from typing import NamedTuple


class Reading(NamedTuple):
    """The other clock was `offset_us` ahead of ours, give or take `uncertainty_us`: the truth is in that range.

    Of several the least one is the surest.
    """

    uncertainty_us: int
    offset_us: int

    @property
    def certain_us(self) -> int:
        """By how much the clocks differ for sure; 0 where they may be the same."""
        return max(0, abs(self.offset_us) - self.uncertainty_us)

    def contradicts(self, other: "Reading") -> bool:
        """Whether both can't be true of one clock: it was set between them, or drifts."""
        return abs(self.offset_us - other.offset_us) > self.uncertainty_us + other.uncertainty_us

    def plus(self, beyond: "Reading") -> "Reading":
        """Return a clock against ours that was `beyond` against the one that this is of."""
        return Reading(self.uncertainty_us + beyond.uncertainty_us, self.offset_us + beyond.offset_us)


def read_clock(told_us: int, heard_us: int, round_trip_ns: int) -> Reading:
    """Return what an answer says: it was given at some time of its round trip, nobody knows when.

    Args:
        told_us: the other clock, as it was when it was read for the answer.
        heard_us: our clock, read when the answer had come.
        round_trip_ns: from before the question to after `heard_us` was read, by a clock that is never set.
    """
    half_us = round_trip_ns // 2_000
    # Three more, since each of the three times is cut to whole microseconds.
    return Reading(half_us + 3, told_us - heard_us + half_us)
