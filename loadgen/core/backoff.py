"""PURE: how long a client waits before it tries to connect again. Called by every client of the crowd.

2012's reconnection delay, 500 ms doubling and 5 attempts, with the jitter that it lacked: clients that lost
the same server at the same moment must not come back at the same moment. It knows no clock and never waits.
"""

from random import Random

FIRST_DELAY_S = 0.5
MAX_ATTEMPTS = 5
JITTER = 0.5
"""A delay is drawn from (1 - JITTER) to (1 + JITTER) of its nominal value."""


class Backoff:
    """The attempts of one client since it was last connected.

    Attributes:
        attempts: how many delays were handed out since the last `reset`.
        turns: how many were in all: who comes back does not begin with the server that it has just lost.
    """

    __slots__ = ("attempts", "turns")

    def __init__(self) -> None:
        self.attempts = self.turns = 0

    def next_delay_s(self, random: Random) -> float | None:
        """Return the wait before the next attempt; None when there is none left."""
        if self.attempts >= MAX_ATTEMPTS:
            return None
        nominal: float = FIRST_DELAY_S * 2**self.attempts
        self.attempts += 1
        self.turns += 1
        return nominal * random.uniform(1 - JITTER, 1 + JITTER)

    def reset(self) -> None:
        """Forget the failures: the client is connected."""
        self.attempts = 0
