"""Has one subscriber after the other ask for the server's stamps: a sample of hops and clocks each `EVERY_S`.

Started by `run.py`. Who asks, and what becomes of the answer, is `subscriber.py`'s.
"""

import asyncio

from loadgen.crowd import Crowd

EVERY_S = 0.05
MOST_TRIED = 100
"""Clients that are looked at in one turn for one that can ask, and whose latencies are told."""


class Asking:
    """A turn each `EVERY_S`, by one client."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._timer = self._crowd.loop.call_later(EVERY_S, self._turn)

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        members = self._crowd.members
        for _ in range(min(len(members), MOST_TRIED)):
            self._next = (self._next + 1) % len(members)
            member = members[self._next]
            if member.is_quoted and member.ask_for_stamps():
                break
        self.start()
