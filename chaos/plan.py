"""PURE: which faults strike, when, and how hard: all from a seed, before anything has begun."""

from enum import StrEnum
from random import Random
from typing import NamedTuple


class Fault(StrEnum):
    """What the adversary can do."""

    KILL_GATEWAY = "kill-gateway"
    KILL_PUBLISHER = "kill-publisher"
    STOP_GATEWAY = "stop-gateway"
    STOP_PUBLISHER = "stop-publisher"
    ROLL_GATEWAYS = "roll-gateways"
    CUT = "cut"
    STALL = "stall"
    DELAY = "delay"
    STORM = "storm"
    STUCK = "stuck"
    SLOW = "slow"
    FULL_DISK = "full-disk"
    PACKETS = "packets"
    CLOCK = "clock"


class Blow(NamedTuple):
    """One fault.

    Attributes:
        at_s: after the start.
        gateway: which of them, where it is one's.
        seconds: how long it lasts; after a kill, how long its victim stays down.
    """

    at_s: float
    fault: Fault
    gateway: int
    seconds: float


# How often in one deck, and how long it may last, s. The longest outage of a publisher is shorter than what
# gateways are given to wait for its replay (see `daemons`): what is promised is promised up to that.
_DECK: dict[Fault, tuple[int, float, float]] = {
    Fault.KILL_GATEWAY: (4, 0.0, 2.0),
    Fault.KILL_PUBLISHER: (4, 0.0, 1.5),
    Fault.STOP_GATEWAY: (1, 1.0, 5.0),
    Fault.STOP_PUBLISHER: (1, 1.0, 3.0),
    Fault.ROLL_GATEWAYS: (1, 0.0, 0.5),
    Fault.CUT: (2, 0.1, 3.0),
    Fault.STALL: (1, 1.0, 5.0),
    Fault.DELAY: (1, 2.0, 5.0),
    Fault.STORM: (2, 0.0, 0.0),
    Fault.STUCK: (2, 1.0, 6.0),
    Fault.SLOW: (1, 2.0, 6.0),
    Fault.FULL_DISK: (1, 0.5, 3.0),
    Fault.PACKETS: (1, 2.0, 5.0),
    Fault.CLOCK: (1, 2.0, 5.0),
}
FIRST_S, LAST_S = 3.0, 4.0
"""Nothing strikes so early, or so late."""
_PAUSE_S = (1.0, 5.0)


def blows(seed: int, duration_s: float, gateways: int, without: frozenset[Fault] = frozenset()) -> list[Blow]:
    """Return what strikes within `duration_s`, in order: decks of all faults, each shuffled anew."""
    rng = Random(seed)
    planned: list[Blow] = []
    at_s = FIRST_S
    while True:
        deck = [fault for fault, (count, _, _) in _DECK.items() for _ in range(count)]
        rng.shuffle(deck)
        for fault in deck:
            _, least_s, most_s = _DECK[fault]
            blow = Blow(at_s, fault, rng.randrange(gateways), rng.uniform(least_s, most_s))
            at_s += rng.uniform(*_PAUSE_S)
            if blow.at_s > duration_s - LAST_S:
                return planned
            if fault not in without:
                planned.append(blow)
