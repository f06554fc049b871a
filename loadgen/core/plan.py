"""PURE: what a run does and when: who is there, in which stages, what is due in each; and shares of it.

Made by `config.py` from flags or by `scenario.py` from a file, carried out by `run.py`. All times are offsets
from the run's start that are known before it begins: nothing here depends on what the server does.

Subscribers stand in places 0, 1, 2, ...: whoever joins takes the next one, and the last one to come is the first
to leave. The groups take turns at the places in proportion to their sizes, so that any number of subscribers has
the same mixture. A share is the part of one process of several: its schedules are those of the whole with the
others' events left out, so that all shares together do what one process would.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from heapq import merge
from itertools import accumulate, count, takewhile
from math import gcd
from typing import NamedTuple

from loadgen.core.figures import MEASURE, RAMP, WARM_UP

FAST, SLOW, STUCK, RECONNECTING = "fast", "slow", "stuck", "reconnecting"
BEHAVIOURS = (FAST, SLOW, STUCK, RECONNECTING)
ALL, VOLATILE, CONFLATE = "all", "volatile", "conflate"
MODES = (ALL, VOLATILE, CONFLATE)
MAX_CLIENTS = 1_000_000
RAMP_REST_S = 1.0
"""At the end of a ramp of no said length: who came last stands, and what was sent to them all at once is over."""
_NS = 1_000_000_000
_CLOSE_ENOUGH = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class Group:
    """Subscribers that are alike.

    Attributes:
        name: under which its figures are told.
        count: how many there are while a stage's `subscribers` is `Plan.subscribers`; others in proportion.
        behaviour: one of `BEHAVIOURS`.
        mode: of its subscription, one of `MODES`.
        topics: of its subscription, exact or with a `*` at the end; none for everything.
        read_bytes_per_s: the most that one of a slow group reads.
        reconnect_every_s: after which one of a reconnecting group drops its connection, on average.
    """

    name: str
    count: int
    behaviour: str = FAST
    mode: str = ALL
    topics: tuple[str, ...] = ()
    read_bytes_per_s: float | None = None
    reconnect_every_s: float | None = None

    @property
    def is_quoted(self) -> bool:
        """Whether its latencies are the server's: it reads what comes, and is always there."""
        return self.behaviour == FAST

    @property
    def reads_freely(self) -> bool:
        """Whether it reads what comes at once."""
        return self.behaviour in (FAST, RECONNECTING)

    @property
    def is_classic(self) -> bool:
        """Whether it is subscribed as in 2012, to everything at connect, and need not ask."""
        return self.mode == ALL and not self.topics


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run.

    Attributes:
        name: under which its records are told.
        phase: what its records count for: `RAMP`, `WARM_UP` or `MEASURE` (`loadgen.core.figures`).
        seconds: its length.
        subscribers: how many there are to be; until then some join or leave.
        connect_rate: of them a second.
        orders_per_s: evenly spaced; 0 for none.
        burst: orders that are due at once on top, every `burst_every_s`, the first time at its beginning.
        burst_every_s: see `burst`.
        storm_over_s: where it is one: all subscribers lose their connections at its beginning, and come back
            evenly spread over so many seconds.
        is_calm: whoever is slow or stuck otherwise reads what comes, as everybody else.
    """

    name: str
    phase: str
    seconds: float
    subscribers: int
    connect_rate: float
    orders_per_s: float = 0.0
    burst: int = 0
    burst_every_s: float = 0.0
    storm_over_s: float | None = None
    is_calm: bool = False


class Act(Enum):
    """What happens to a client."""

    JOIN = auto()
    LEAVE = auto()
    DROP = auto()
    RETURN = auto()
    JOIN_TO_ORDER = auto()


class Change(NamedTuple):
    """What happens to the client at `place`, so many nanoseconds after the run's start; who joins has a group."""

    offset_ns: int
    act: Act
    place: int
    group: Group | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run, or the share of it of process `index` of `of`.

    Attributes:
        groups: who subscribes; empty for nobody.
        stages: one after the other.
        order_clients: how many take turns at the orders; they join behind the first stage's subscribers.
        name: of the scenario; "" for a run without one.
        tells_fairness: whether it is told how far the subscribers are apart.
        index: which share this is, from 0.
        of: how many shares there are.
    """

    groups: tuple[Group, ...]
    stages: tuple[Stage, ...]
    order_clients: int = 0
    name: str = ""
    tells_fairness: bool = False
    index: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        """Check that each stage has the time for what happens in it.

        Raises:
            ValueError: names the stage and what would do.
        """
        before, joining = 0, self.order_clients
        for stage in self.stages:
            changes = abs(stage.subscribers - before) + joining
            if stage.storm_over_s is not None and (changes or stage.storm_over_s > stage.seconds):
                raise ValueError(
                    f"stage {stage.name}: a storm is over within its {stage.seconds:g} s, "
                    "and nobody joins or leaves"
                )
            if changes / stage.connect_rate > stage.seconds * _CLOSE_ENOUGH:
                raise ValueError(
                    f"stage {stage.name}: {changes} clients that join or leave at {stage.connect_rate:g} a second "
                    f"take {changes / stage.connect_rate:g} s, and it lasts {stage.seconds:g} s; "
                    "say a higher --connect-rate, or more seconds with --for"
                )
            before, joining = stage.subscribers, 0

    def share(self, index: int, of: int) -> "Plan":
        """Return the part of process `index` of `of`; a share can be shared again.

        Raises:
            ValueError: there is no such share.
        """
        if not 0 <= index < of:
            raise ValueError(f"share {index} of {of}: expected one from 0 to {of - 1}")
        return replace(self, index=self.index + index * self.of, of=self.of * of)

    @property
    def subscribers(self) -> int:
        """How many the groups have together, in the whole."""
        return sum(group.count for group in self.groups)

    @property
    def is_plain(self) -> bool:
        """Whether all subscribers are alike, take everything and read freely, and there is no more to tell."""
        return not self.tells_fairness and all(
            group.is_quoted and group.is_classic and len(self.groups) == 1 for group in self.groups
        )

    @property
    def seconds(self) -> float:
        """The length of all stages."""
        return sum(stage.seconds for stage in self.stages)

    def places(self, subscribers: int) -> Iterator[tuple[int, Group]]:
        """Yield this share's places of that many subscribers of the whole, with who stands there."""
        if not self.groups:
            return
        whole = gcd(*(group.count for group in self.groups))
        sizes = [group.count // whole for group in self.groups]
        # The middles of each group's equal parts of the unit interval, in order: every stretch has the mixture.
        turns = sorted(
            ((2 * rank + 1) / (2 * size), number, rank)
            for number, size in enumerate(sizes)
            for rank in range(size)
        )
        for place in range(subscribers):
            rounds, turn = divmod(place, len(turns))
            _, number, rank = turns[turn]
            # By rank in the group, not by place: a mixture of 1 to 1 would give each of two processes one group.
            if (rounds * sizes[number] + rank + number) % self.of == self.index:
                yield place, self.groups[number]

    def clients_in(self, stage: Stage) -> int:
        """How many clients of this share there are at the end of `stage`."""
        return sum(1 for _ in self.places(stage.subscribers)) + self._own_order_clients

    @property
    def _own_order_clients(self) -> int:
        return len(range(self.index, self.order_clients, self.of))

    def changes(self) -> Iterator[Change]:
        """Yield what happens to this share's clients, in order of time."""
        before = 0
        for start_ns, stage in zip(self._starts_ns(), self.stages, strict=True):
            if stage.storm_over_s is not None:
                yield from self._storm(start_ns, stage.storm_over_s, before)
            elif stage.subscribers >= before:
                for place, group in self._between(before, stage.subscribers):
                    due_ns = _offset_ns(place - before + 1, stage.connect_rate)
                    yield Change(start_ns + due_ns, Act.JOIN, place, group)
            else:
                for place, _ in reversed([*self._between(stage.subscribers, before)]):
                    yield Change(start_ns + _offset_ns(before - place, stage.connect_rate), Act.LEAVE, place)
            if stage is self.stages[0]:
                for number in range(self.index, self.order_clients, self.of):
                    due_ns = _offset_ns(stage.subscribers + number + 1, stage.connect_rate)
                    yield Change(start_ns + due_ns, Act.JOIN_TO_ORDER, number)
            before = stage.subscribers

    def orders(self) -> Iterator[int]:
        """Yield when this share's orders are due, in nanoseconds from the run's start, in order."""
        sharing = min(self.of, self.order_clients)
        if self.index >= sharing:  # nobody here could send one
            return
        for start_ns, stage in zip(self._starts_ns(), self.stages, strict=True):
            for due_ns in _orders_in(stage, self.index, sharing):
                yield start_ns + due_ns

    def _between(self, low: int, high: int) -> Iterator[tuple[int, Group]]:
        return ((place, group) for place, group in self.places(high) if place >= low)

    def _storm(self, start_ns: int, over_s: float, subscribers: int) -> Iterator[Change]:
        for place, _ in self.places(subscribers):
            yield Change(start_ns, Act.DROP, place)
        for place, _ in self.places(subscribers):
            yield Change(start_ns + round(place * over_s * _NS / subscribers), Act.RETURN, place)

    def _starts_ns(self) -> Iterator[int]:
        return (round(s * _NS) for s in accumulate((stage.seconds for stage in self.stages[:-1]), initial=0.0))


def _orders_in(stage: Stage, index: int, sharing: int) -> Iterable[int]:
    """Return when the orders of one share of a stage are due, from its start."""
    end_ns = round(stage.seconds * _NS)
    even: Iterable[int] = ()
    bursts: Iterable[int] = ()
    if stage.orders_per_s:
        due = (_offset_ns(number, stage.orders_per_s) for number in count(index + 1, sharing))
        even = takewhile(end_ns.__ge__, due)
    if stage.burst:
        own = len(range(index, stage.burst, sharing))
        starts = takewhile(end_ns.__gt__, (round(n * stage.burst_every_s * _NS) for n in count()))
        bursts = (start_ns for start_ns in starts for _ in range(own))
    return merge(even, bursts)


def _offset_ns(number: int, per_second: float) -> int:
    return round(number * _NS / per_second)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a run is: what a plan is made at, with a scenario or without.

    Attributes:
        subscribers: of all groups together.
        order_clients: 0 where nobody orders.
        connect_rate: connections a second that are begun, where a stage does not say it.
        warm_up_s: of all stages that are not measured together, ramps apart.
        measure_s: of all stages that are measured together.
        orders_per_s: of all order clients together.
    """

    subscribers: int
    order_clients: int
    connect_rate: float
    warm_up_s: float
    measure_s: float
    orders_per_s: float


def steady_plan(size: Size) -> Plan:
    """Return the plan of a run without a scenario: all are connected, and it is measured."""
    subscribers, rate = size.subscribers, size.connect_rate
    groups = (Group("subscribers", subscribers),) if subscribers else ()
    ramp_s = (subscribers + size.order_clients) / rate + RAMP_REST_S
    stages = (
        Stage(RAMP, RAMP, ramp_s, subscribers, rate),
        Stage(WARM_UP, WARM_UP, size.warm_up_s, subscribers, rate, size.orders_per_s),
        Stage(MEASURE, MEASURE, size.measure_s, subscribers, rate, size.orders_per_s),
    )
    return Plan(groups, stages, size.order_clients)
