"""How a gateway empties itself: whom it tells to leave when, so that they do not all come to the next one at once.

    SIGTERM -> lead: red for load balancers, and all else as before -> the listener's queue emptied, then closed
    -> drain: clients told in batches, each closed a while after it was told -> close frames answered -> exit

Everything here is a pure function of the settings; `gateway.draining` acts on it. Times are seconds.
"""

from collections.abc import Sequence
from typing import NamedTuple

BATCH_S = 0.05
"""Between two batches at least: below it nothing is spread any further, as a resume takes longer."""
_GRACE = 0.25
"""Of the drain: what each has to leave by itself. The more it is, the less time there is to spread who is told."""
QUEUE_S = 2.0
"""For a listener's queue to become empty."""
HANDSHAKES_S = 2.0
"""For the handshakes of those who were taken from it."""
CLOSES_S = 2.5
"""For peers to answer their close frames, and a margin (`gateway.connection.CLOSE_TIMEOUT_S` is 2 s)."""


class Batch(NamedTuple):
    """`size` clients are told `at_s` after the drain's begin."""

    at_s: float
    size: int


def grace_s(drain_s: float) -> float:
    """Return how long after it was told a client is closed, if it is still there."""
    return drain_s * _GRACE


def batches(clients: int, drain_s: float) -> Sequence[Batch]:
    """Spread `clients` evenly over the time in which one can be told and still has its grace.

    Sizes differ by one at most, and so the clients of any stretch of time are as many as those of any other.
    """
    span_s = drain_s - grace_s(drain_s)
    count = min(clients, max(1, int(span_s / BATCH_S)))
    bounds = [clients * number // count for number in range(count + 1)] if count else []
    return [Batch(span_s * number / count, bounds[number + 1] - bounds[number]) for number in range(count)]


def longest_s(lead_s: float, drain_s: float) -> float:
    """Return how long after SIGTERM the process has ended, whatever its clients do."""
    return lead_s + QUEUE_S + HANDSHAKES_S + drain_s + CLOSES_S
