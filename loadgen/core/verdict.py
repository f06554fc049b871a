"""PURE: may a run be believed? And did it hold to what was required?

Called when a run is over, and by the report with the records of a run folder: both come to the same. The limits
are ours, not laws: each is where, in docs/loadgen.md's trials, figures began to tell of the client.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from loadgen.core.figures import LATENCIES, MEASURE, Figures, clock_offset, furthest
from loadgen.core.plan import Plan
from loadgen.core.requirement import Judged, Requirement

VALID, SUSPECT, INVALID = "VALID", "SUSPECT", "INVALID"
LEVELS = (VALID, SUSPECT, INVALID)
"""From good to bad."""
IS_HELD, IS_INCOMPLETE, IS_INVALID, IS_BROKEN = "held", "incomplete", "invalid", "broken"
"""What a run comes to, for an exit status."""
NO_END: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Limit:
    """From `suspect` on a figure makes a run SUSPECT, from `invalid` on INVALID."""

    suspect: float
    invalid: float

    def level(self, value: float) -> str:
        """Return what a figure makes of a run."""
        return INVALID if value >= self.invalid else SUSPECT if value >= self.suspect else VALID


DOUBT = Limit(0.02, 0.10)
"""How much lower than quoted a percentile may be, as a share of that, ..."""
DOUBT_LEAST_US = 200
"""... if it is more than this."""
CPU_SHARE = Limit(0.80, 0.95)
"""Of one core, by a process of the load generator, on average: it has nothing left to be punctual with."""
CPU_WAIT_SHARE = Limit(0.05, 0.30)
"""Of the time, in which the client could have run and got no CPU: connections and orders are begun later."""
BEHIND_US = Limit(20_000, 200_000)
"""The greatest lateness of an order or a connection."""
LAGGING_SHARE = Limit(0.05, 0.50)
"""Records in which the loop was late by `Figures.LAGGING_US`."""
CLOCK_STEP_US = Limit(1_000, 10_000)
"""Of the wall clock against the monotonic one, between two records; a clock that is only slewed moves 0.5 ms/s."""
STEAL_SHARE = Limit(0.01, 0.05)
"""Of the machine's CPU time, taken by the hypervisor for others."""
NEGATIVE_SHARE = Limit(1e-9, 0.001)
"""Updates that were stamped in the future."""
MACHINE_BUSY = 0.97
"""Of the machine's CPU time: the client waits for a core, though it uses little itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for.

    Attributes:
        subscribers: the most that there were to be.
        clients: that were to be connected all the time while it was measured.
        measure_s: the seconds that were to be measured.
        orders_per_s: on average over those; None for none.
    """

    subscribers: int
    clients: int
    measure_s: float
    orders_per_s: float | None = None


def asked_of(plan: Plan) -> Asked:
    """Return what the verdict needs of a plan, which is the whole and no share."""
    always: list[int] = []
    measure_s = orders = 0.0
    before = 0
    for stage in plan.stages:
        if stage.phase == MEASURE:
            measure_s += stage.seconds
            orders += stage.orders_per_s * stage.seconds
            if stage.burst:
                orders += stage.burst * ceil(stage.seconds / stage.burst_every_s)
            there = 0 if stage.storm_over_s is not None else min(before, stage.subscribers)
            # Others may be away: they drop their connections, or are closed for being slow.
            always.append(sum(group.is_quoted for _, group in plan.places(there)) + plan.order_clients)
        before = stage.subscribers
    return Asked(
        subscribers=max((stage.subscribers for stage in plan.stages), default=0),
        clients=min(always, default=0),
        measure_s=measure_s,
        orders_per_s=orders / measure_s if orders else None,
    )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run is not VALID.

    Attributes:
        level: what it makes of the run.
        text: for people.
        is_doubt: it is that a latency is known within bounds only, by which requirements are judged all the same.
    """

    level: str
    text: str
    is_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to believe a run, and whether it held.

    Attributes:
        level: the worst of the reasons'.
        incomplete: why the run is no answer to what was asked, though what it has may be right.
        not_measured: what the server's updates do not say, so that nothing was measured of it.
    """

    level: str
    reasons: tuple[Reason, ...]
    incomplete: tuple[str, ...]
    requirements: tuple[Judged, ...]
    not_measured: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """Return the one word that counts: numbers that can't be believed break no requirement."""
        if self.level == INVALID:
            return IS_INVALID
        if any(judged.held is False for judged in self.requirements):
            return IS_BROKEN
        if self.incomplete or any(judged.held is None for judged in self.requirements):
            return IS_INCOMPLETE
        return IS_HELD

    @property
    def words(self) -> str:
        """Return the level, and what keeps figures that may be believed from being a success."""
        return self.level + {IS_INCOMPLETE: ", but incomplete", IS_BROKEN: ", a requirement is broken"}.get(
            self.outcome, ""
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for `verdict.json`."""
        return {
            "verdict": self.level,
            "words": self.words,
            "reasons": [asdict(reason) for reason in self.reasons],
            "incomplete": list(self.incomplete),
            "not_measured": list(self.not_measured),
            "requirements": [
                {"requirement": judged.text, "held": judged.held, "found": judged.found}
                for judged in self.requirements
            ],
            "outcome": self.outcome,
        }


def judge(
    asked: Asked,
    figures: Figures,
    requirements: Sequence[Requirement] = (),
    end: Mapping[str, Any] = NO_END,
) -> Verdict:
    """Judge a run that is over; `end` is its `end.json`, empty for one that was killed."""
    reasons = [Reason(INVALID, f"{what}: what its clients saw is missing") for what in end.get("died", ())]
    reasons += [reason for reason in _reasons(asked, figures) if reason.level != VALID]
    level = max((reason.level for reason in reasons), key=LEVELS.index, default=VALID)
    judged = tuple(requirement.judge(figures) for requirement in requirements)
    incomplete = (*end.get("servers_died", ()), *_incomplete(asked, figures))
    return Verdict(level, tuple(reasons), incomplete, judged, tuple(_not_measured(figures)))


def _reasons(asked: Asked, figures: Figures) -> list[Reason]:
    if not figures.records or not figures.whole.counts()["connects"]:
        return []  # nothing was measured that could be wrong
    told = figures.as_dict()
    client, measured = told["client"], figures.measured.counts()
    reasons = [
        Reason(
            CPU_SHARE.level(client["cpu_share"]),
            f"a process of the load generator used {client['cpu_share']:.0%} of a core: "
            "the client was short of CPU",
        ),
        Reason(
            CPU_WAIT_SHARE.level(client["cpu_wait_share"]),
            f"the client could have run and got no CPU for {client['cpu_wait_share']:.1%} of the time: "
            "something else had its core",
        ),
        Reason(
            LAGGING_SHARE.level(figures.lagging / figures.records),
            f"the client's event loop was late by more than {figures.LAGGING_US / 1000:.0f} ms in "
            f"{figures.lagging} of {figures.records} records ({client['loop_lag_us'] / 1000:.0f} ms at most)",
        ),
        Reason(
            BEHIND_US.level(client["behind_us"]),
            f"the pacer fell {client['behind_us'] / 1000:.0f} ms behind its schedule",
        ),
        Reason(
            STEAL_SHARE.level(client["steal_share"]),
            f"the hypervisor gave {client['steal_share']:.1%} of the machine's CPU time to others (steal)",
        ),
        *_offered(asked, measured, figures.measured.seconds),
        *_clocks(asked, client, measured),
        *_clock_offsets(asked, told["clocks"]),
        *_doubts(told),
    ]
    if client["machine_busy_share"] >= MACHINE_BUSY:
        reasons.append(
            Reason(
                SUSPECT, f"the client's machine was {client['machine_busy_share']:.0%} busy: it waited for a core"
            )
        )
    if figures.connected_low is not None and figures.connected_low < asked.clients:
        text = (
            f"only {figures.connected_low} of {asked.clients} clients were connected at some time "
            "while it measured"
        )
        reasons.append(Reason(SUSPECT, text))
    return reasons


def _offered(asked: Asked, measured: Mapping[str, Any], seconds: float) -> list[Reason]:
    """Was the load that was asked for also offered? An order that could not be sent was offered by nobody."""
    if asked.orders_per_s is None or not seconds:
        return []
    due = measured["orders_sent"] + measured["orders_unsent"]
    scheduled = asked.orders_per_s * seconds
    # One more or less falls on either side of the window.
    if due + 1 < 0.99 * scheduled - 1:
        return [Reason(INVALID, f"only {due} of {scheduled:.0f} scheduled orders came due in time")]
    if measured["orders_unsent"]:
        text = f"{measured['orders_unsent']} of {due} orders could not be sent: their client was not connected"
        return [Reason(SUSPECT, text)]
    return []


def _clocks(asked: Asked, client: Mapping[str, Any], measured: Mapping[str, Any]) -> list[Reason]:
    if not asked.subscribers:
        return []  # only the latency of a delivery spans two clocks
    reasons = [
        Reason(
            CLOCK_STEP_US.level(client["clock_step_us"]),
            f"the wall clock jumped by {client['clock_step_us'] / 1000:.1f} ms: "
            "delivery latencies are off by as much",
        )
    ]
    if measured["delivered"]:
        share = measured["negative_latencies"] / measured["delivered"]
        text = (
            f"{measured['negative_latencies']} updates came before they were stamped: the clocks of publisher and "
            "client differ, delivery latencies mean little"
        )
        reasons.append(Reason(NEGATIVE_SHARE.level(share), text))
    return reasons


def _clock_offsets(asked: Asked, clocks: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[Reason]:
    if not asked.subscribers:
        return []
    off = {
        "gateway": "hops are off by as much"
        if clocks["publisher"]
        else "hops, and latencies unless the publisher's clock is the client's, are off by as much",
        "publisher": "latencies are off by as much",
    }
    return [
        Reason(
            SUSPECT if furthest(known)[1].certain_us >= CLOCK_STEP_US.suspect else VALID,
            f"the {whose}'s clock is {clock_offset(known)} ahead of the client's: {off[whose]}",
        )
        for whose, known in clocks.items()
        if known
    ]


def _doubts(told: Mapping[str, Any]) -> list[Reason]:
    """How far may what is quoted be off? The worst percentile of each latency is told.

    Of a p99.9 too few know for a whole run to be thrown away.
    """
    reasons = []
    for name, least in told["at_least"].items():
        found = []
        for percent in ("p50", "p90", "p99", "p99.9"):
            quoted_us, least_us = told["latencies"][name][percent], least[percent]
            if quoted_us and quoted_us - least_us >= DOUBT_LEAST_US:
                share = 1 - least_us / quoted_us
                level = min(DOUBT.level(share), SUSPECT if percent == "p99.9" else INVALID, key=LEVELS.index)
                what = LATENCIES[name][1].partition(",")[0]
                text = (
                    f"the {percent} of {what} is between {least_us / 1000:.1f} and "
                    f"{quoted_us / 1000:.1f} ms: the client was late to read, and of several messages in a socket "
                    "nobody knows when each came"
                )
                found.append((LEVELS.index(level), share, Reason(level, text, is_doubt=True)))
        if found:
            reasons.append(max(found, key=lambda one: one[:2])[2])
    return reasons


def _incomplete(asked: Asked, figures: Figures) -> list[str]:
    whole = figures.whole.counts()
    seconds = figures.measured.seconds
    found = []
    if not whole["connects"]:
        found.append("no client was ever connected")
    elif asked.subscribers and not whole["delivered"]:
        what = f" ({whole['other']} messages came that are none)" if whole["other"] else ""
        found.append(f"no update came{what}: there is nothing to measure but the connections")
    if seconds < asked.measure_s - 0.5 or not seconds:
        found.append(f"measured {seconds:.1f} of {asked.measure_s:g} s")
    return found


def _not_measured(figures: Figures) -> list[str]:
    """Return what can't be told of a server that is not ours, whose updates may have no sequence or timestamp."""
    found = []
    whole = figures.whole.counts()
    if whole["unnumbered"]:
        found.append("updates have no sequence: nobody knows whether any was lost, came twice or out of order")
    if whole["delivered"] and not figures.whole.histogram("delivery_us").count:
        found.append("updates have no timestamp: nobody knows how long they took")
    return found
