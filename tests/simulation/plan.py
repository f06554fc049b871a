"""The plan: everything that will be done in one history, from its seed alone, and a failing plan made short."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

HORIZON_S = 6.0
"""Nothing is done to anybody after it; then everybody must reach the head."""
SHORT_S = 1.2
"""An outage of the history alone in a strict history: one request in a row may fail by it."""
LONG_S = 9.0
"""Any other outage. A publisher that is away altogether is waited for, however long."""


class Step(NamedTuple):
    """At `at_s`, `kind` is done to `who` (a number of a gateway or client), as much as `amount` says."""

    at_s: float
    kind: str
    who: int
    amount: float

    def __str__(self) -> str:
        return f"{self.at_s:.3f} {self.kind} {self.who} {self.amount:.3g}"


class ClientPlan(NamedTuple):
    """What a client asks for, whenever it connects."""

    mode: str
    topics: tuple[str, ...]
    snapshot: bool
    max_messages: int | None


@dataclass(frozen=True)
class Config:
    """The bounds, most of them small.

    Attributes:
        is_strict: the publisher is away once at most, its history alone only shortly, and nothing else excuses a
            loss: then none may be told but for what retention, a lost tail or the subscriber's own slowness took.
    """

    is_strict: bool
    gateways: int
    durability: str
    ring_bytes: int
    archive_bytes: int
    retain_updates: int
    held_updates: int
    session_bytes: int
    room_bytes: int


@dataclass(frozen=True)
class Plan:
    """One history."""

    seed: int
    config: Config
    clients: tuple[ClientPlan, ...]
    steps: tuple[Step, ...]

    def keeping(self, steps: Sequence[Step]) -> "Plan":
        return replace(self, steps=tuple(steps))


_TOPICS = (("*",), ("*",), ("ex.A.",), ("ex.B*",), ("ex.A.", "ex.C."))
_OUTAGES = (
    ("kill-publisher", 2),
    ("end-publisher", 1),
    ("lose-power", 2),
    ("stop-publisher", 1),
    ("cut-history", 1),
    ("hold-history", 1),
)
_FAULTS = (
    ("kill-gateway", 3),
    ("stop-gateway", 2),
    ("roll-gateway", 1),
    ("drop-feed", 5),
    ("double-feed", 1),
    ("cut-feed", 3),
    ("hold-feed", 2),
    ("storm", 1),
    ("reconnect", 5),
    ("stuck", 4),
    ("slow", 2),
    ("ask-again", 3),
    ("other-topics", 2),
    ("leave", 2),
    ("settle", 1),
)


def make(seed: int) -> Plan:
    """Return the plan of `seed`."""
    random = Random(f"plan {seed}")
    is_strict = random.random() < 0.7
    config = Config(
        is_strict=is_strict,
        gateways=random.randint(1, 3),
        durability=random.choice(("none", "process", "process", "process", "power")),
        ring_bytes=random.choice((1, 1_500, 1_500, 6_000, 1 << 20)),
        archive_bytes=random.choice((1, 2_000, 1 << 20)),
        retain_updates=random.choice((10, 30, 1 << 20, 1 << 20)),
        held_updates=random.choice((3, 1 << 20)),
        session_bytes=random.choice((1_200, 4_000, 1 << 20)),
        room_bytes=random.choice((120, 900, 1 << 16)),
    )
    clients = tuple(
        ClientPlan(
            random.choice(("all", "all", "all", "volatile", "conflate")),
            random.choice(_TOPICS),
            *random.choice(((False, None), (False, None), (False, None), (False, 1), (False, 7), (True, None))),
        )
        for _ in range(random.randint(2, 4))
    )
    steps = [*_load(random), *_faults(random, config, len(clients))]
    return Plan(seed, config, clients, tuple(sorted(steps)))


def _load(random: Random) -> list[Step]:
    """Updates come in singly, with pauses, and in bursts."""
    steps, at_s = [], 0.0
    while at_s < HORIZON_S - 0.5:
        at_s += random.expovariate(8.0) if random.random() < 0.95 else 1.0
        steps.append(Step(at_s, "publish", 0, random.choice((1, 1, 1, 2, 3, 8))))
    return steps


def _faults(random: Random, config: Config, clients: int) -> list[Step]:
    def at_s() -> float:
        return random.uniform(0.3, HORIZON_S - 0.5)

    kinds, weights = zip(*_FAULTS, strict=True)
    steps = []
    for kind in random.choices(kinds, weights, k=random.randint(1, 8)):
        is_of_client = kind in ("reconnect", "stuck", "slow", "ask-again", "other-topics", "leave")
        who = random.randrange(clients if is_of_client else config.gateways)
        amount = random.uniform(0.01, 2.0 if config.is_strict else LONG_S / 2)
        if kind in ("drop-feed", "double-feed"):
            amount = random.choice((1, 1, 2, 5))
        steps.append(Step(at_s(), kind, who, amount))
    outages = random.choice((0, 1)) if config.is_strict else random.randint(0, 4)
    kinds, weights = zip(*_OUTAGES, strict=True)
    for kind in random.choices(kinds, weights, k=outages):
        longest_s = SHORT_S if config.is_strict and kind.endswith("history") else LONG_S
        steps.append(Step(at_s(), kind, random.randrange(config.gateways), random.uniform(0.01, longest_s)))
    return steps


def shorten(plan: Plan, fails: Callable[[Plan], bool], tries: int = 150) -> Plan:
    """Return a plan with as few steps of `plan` as can be found that still fails."""
    kept = list(plan.steps)
    size = max(1, len(kept) // 2)
    while size:
        at = 0
        while at < len(kept):
            if not tries:
                return plan.keeping(kept)
            tries -= 1
            without = kept[:at] + kept[at + size :]
            if fails(plan.keeping(without)):
                kept = without
            else:
                at += size
        size //= 2
    return plan.keeping(kept)
