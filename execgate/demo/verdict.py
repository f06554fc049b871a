"""PURE: did the demo go well? Called with what was measured, returns each check and its reason.

The yardstick is the schedule (rate x seconds x subscribers), not what the publisher says that it sent: a
publisher that falls behind must not make the delivery look whole.
"""

from dataclasses import dataclass

DELIVERED_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured.

    Attributes:
        asked_s: seconds of steady measuring that were asked for; None: until Ctrl-C.
        steady_s: seconds from the first interval in which all subscribers were connected.
        delivered: updates that reached subscribers in that time, counted once for each.
        gaps: of the whole run, told or not, as are `missing`, `duplicates`, `reorders` and the orders.
    """

    asked_s: float | None
    steady_s: float
    rate: float
    subscribers: int
    delivered: int
    gaps: int
    missing: int
    duplicates: int
    reorders: int
    orders_sent: int
    orders_answered: int

    @property
    def scheduled(self) -> float:
        """Updates that the schedule owed to all subscribers together."""
        return self.rate * self.steady_s * self.subscribers


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of the verdict, and what was found."""

    name: str
    passed: bool
    found: str


def judge(outcome: Outcome) -> list[Check]:
    """Return every check; the demo went well if all passed."""
    scheduled = outcome.scheduled
    share = outcome.delivered / scheduled if scheduled else 0.0
    delivered = (
        f"{outcome.delivered:,} of {scheduled:,.0f} scheduled updates x subscribers, {share:.1%} "
        f"(at least {DELIVERED_SHARE:.0%} wanted)"
    )
    if not scheduled:
        delivered = f"nothing to judge: not one whole second with all {outcome.subscribers} subscribers connected"
    checks = [
        Check("delivered", share >= DELIVERED_SHARE, delivered),
        Check("gaps", not outcome.gaps, f"{outcome.gaps} gaps, {outcome.missing} updates missing"),
        Check("duplicates", not outcome.duplicates, f"{outcome.duplicates} duplicates"),
        Check("order", not outcome.reorders, f"{outcome.reorders} updates out of order"),
        Check(
            "orders",
            outcome.orders_sent > 0 and outcome.orders_answered == outcome.orders_sent,
            f"{outcome.orders_answered:,} of {outcome.orders_sent:,} orders sent were answered"
            + ("" if outcome.orders_sent else " (at least one wanted)"),
        ),
    ]
    if outcome.asked_s is not None:
        # A record is about a second long, so the time asked for is met to within half of one.
        met = outcome.steady_s >= outcome.asked_s - 0.5 and outcome.steady_s > 0
        text = f"{outcome.steady_s:.1f} s with all {outcome.subscribers} subscribers connected"
        checks.insert(0, Check("time", met, f"{text}, {outcome.asked_s:g} s asked for"))
    return checks
