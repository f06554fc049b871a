"""PURE: the trials of a search for capacity: what each came to, and how they are told.

Called by `loadgen/capacity.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from loadgen.core.figures import scalars
from loadgen.core.limits import Limiting, disturbance
from loadgen.core.requirement import Requirement, parse_requirement
from loadgen.core.search import DISTURBED, DONE, FAILED, HELD, TOO_BUSY, UNBELIEVABLE, UNTOLD, Knee
from loadgen.core.tables import Table, milliseconds
from loadgen.core.verdict import INVALID

SUBSCRIBERS, RATE, ORDERS = "subscribers", "rate", "orders"
UNITS = {SUBSCRIBERS: "subscribers", RATE: "updates/s", ORDERS: "orders/s"}
"""What may be searched for, and its unit."""
_OFFERED_LEAST = 0.99
"""Of the updates that were due: fewer, and the load was not what it is called."""
_BAR = 40


@dataclass(frozen=True, slots=True)
class Trial:
    """One run at one load.

    Attributes:
        value: the load.
        outcome: one of `loadgen.core.search`.
        why: what broke, or why nothing can be told; "" where it held.
        told: what the run told, as `Report.as_dict`.
        folder: the run's, inside of the search's.
    """

    value: int
    outcome: str
    why: str
    told: Mapping[str, Any]
    folder: str

    @property
    def counts(self) -> bool:
        """Whether its latencies may be told as the server's."""
        return self.outcome not in (UNBELIEVABLE, DISTURBED)

    def latency_us(self, name: str, at: str) -> int | None:
        """Return a percentile that could be quoted."""
        value: int | None = self.told["figures"]["latencies"][name][at]
        return value

    def as_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        figures = self.told["figures"]
        return {
            "value": self.value,
            "outcome": self.outcome,
            "why": self.why,
            "verdict": self.told["verdict"]["verdict"],
            "folder": self.folder,
            **{name: figures[name] for name in ("latencies", "rates", "client", "server", "errors")},
            "lost": figures["streams"]["lost"],
        }


def judge_trial(told: Mapping[str, Any], due_per_s: float | None, cores: int) -> tuple[str, str]:
    """Return what a run came to, and why it did not hold.

    Args:
        told: by the run.
        due_per_s: deliveries a second that were pushed into the publisher; None where nobody here knows.
        cores: of the load generator's machine. What else ran there is no answer about the server: it excuses what
            is late, and nothing that is lost or refused.
    """
    figures, verdict = told["figures"], told["verdict"]
    connections, errors = figures["connections"], figures["errors"]
    if count := errors.get("connect out of file descriptors") or errors.get("connect eaddrnotavail"):
        return UNBELIEVABLE, f"{count} connections failed for want of descriptors or ports on the client's side"
    missing = connections["clients"] - connections["connects"] + connections["disconnects"]
    if missing > 0:
        why = ", ".join(f"{kind}: {count}" for kind, count in sorted(errors.items()))
        return FAILED, f"{missing} of {connections['clients']} clients were not connected when it ended ({why})"
    # The share is of the busiest process: so many times as much is the most that all took.
    all_share = figures["client"]["cpu_share"] * (told["run"]["config"].get("processes") or 1)
    disturbed = disturbance(figures["client"] | {"cpu_share": all_share}, figures["server"], cores)
    invalid = [one["text"] for one in verdict["reasons"] if one["level"] == INVALID and not one["is_doubt"]]
    # What is doubtful is judged by both of its bounds: a p99 of 2 to 7 ms is below 50 for sure.
    doubtful = [
        one["text"]
        for one in verdict["reasons"]
        if one["is_doubt"] and any(judged["held"] is None for judged in verdict["requirements"])
    ]
    if invalid or doubtful:
        return (DISTURBED, disturbed) if disturbed else (UNBELIEVABLE, [*invalid, *doubtful][0])
    broken = [one for one in verdict["requirements"] if one["held"] is False]
    if broken and disturbed and all(parse_requirement(one["requirement"]).latency for one in broken):
        return DISTURBED, disturbed
    if broken:
        return FAILED, "; ".join(f"{one['requirement']}: {one['found']}" for one in broken)
    delivered_per_s = figures["rates"]["delivered_per_s"]
    if due_per_s is not None and figures["seconds"]:
        one_of_each = connections["clients"] / figures["seconds"]  # that may fall on either side of the window
        if delivered_per_s + one_of_each < _OFFERED_LEAST * due_per_s:
            return FAILED, f"{delivered_per_s:,.0f} of {due_per_s:,.0f} deliveries/s that were due came"
    untold = [f"{one['requirement']}: {one['found']}" for one in verdict["requirements"] if one["held"] is None]
    if untold or verdict["incomplete"]:
        return UNTOLD, "; ".join([*verdict["incomplete"], *untold])
    return HELD, ""


def limit_of(slo: Sequence[Requirement]) -> Requirement | None:
    """Return the condition on a latency that the chart shows: the first."""
    return next((one for one in slo if one.latency and one.comparison in ("<", "<=")), None)


def in_words(variable: str, knee: Knee) -> str:
    """Return what was found, in one line."""
    unit = UNITS[variable]
    if not knee.low and knee.why_stopped == TOO_BUSY:
        return "nothing can be told on a machine that is busy with something else"
    if not knee.low and knee.high and knee.is_lower_bound:
        return f"nothing can be told: not even at {knee.high} {unit} was the measuring side to be believed"
    if not knee.low:
        return f"not even {knee.high} {unit} hold" if knee.high else "nothing was tried to the end"
    least = "at least " if knee.is_lower_bound else ""
    high = "" if knee.high is None else f"; {knee.high:,} do not"
    return f"{least}{knee.low:,} {unit} hold{high}"


def tables(variable: str, trials: Sequence[Trial], knee: Knee, limiting: Limiting | None) -> list[Table]:
    """Return everything that is told of a search."""
    unit = UNITS[variable]
    found = [
        ("knee", in_words(variable, knee)),
        ("confidence", f"{knee.confidence}: {knee.votes}" if knee.votes else knee.confidence),
        ("why it ended", knee.why_stopped),
    ]
    if knee.low and knee.is_lower_bound and knee.high is not None:
        found.append(("a lower bound", "above it the measuring side was the bottleneck: the server may hold more"))
    elif knee.low and knee.is_lower_bound and knee.why_stopped != DONE:
        found.append(("a lower bound", "no load was found at which it fails"))
    if limiting is not None:
        found.append(("limited by", f"{limiting.resource} (confidence {limiting.confidence}): {limiting.why}"))
    rows = [_row(variable, trial) for trial in trials]
    heading = (unit, "p50 ms", "p99 ms", "lost", "server CPU", "client CPU", "verdict", "held?")
    reasons = [(f"{trial.value:,}", trial.why) for trial in trials if trial.why]
    made = [
        Table("Capacity", ("", ""), found, texts=True, leads=True),
        Table("Trials, in the order in which they ran", heading, rows),
        Table("Why they did not hold", (unit, ""), reasons, texts=True),
    ]
    return [table for table in made if table.rows]


def _row(variable: str, trial: Trial) -> tuple[str, ...]:
    latency = latency_name(variable)
    figures = trial.told["figures"]
    server = figures["server"]
    missed = scalars(figures)["orders_unanswered" if variable == ORDERS else "lost"]
    return (
        f"{trial.value:,}",
        milliseconds(trial.latency_us(latency, "p50")),
        milliseconds(trial.latency_us(latency, "p99")),
        "not checked" if missed is None else f"{missed:,}",
        "-" if server is None else f"{server['cpu_share']:.0%}",
        f"{figures['client']['cpu_share']:.0%}",
        trial.told["verdict"]["verdict"],
        trial.outcome,
    )


def latency_name(variable: str) -> str:
    """Return the latency that a load of `variable` is about."""
    return "order" if variable == ORDERS else "delivery"


def curve(variable: str, trials: Sequence[Trial], limit: Requirement | None) -> list[dict[str, float | None]]:
    """Return the points of the chart, by load: the middle one of each load's trials that are believed, in ms."""
    latency = latency_name(variable)
    points = []
    for value in sorted({trial.value for trial in trials}):
        point: dict[str, float | None] = {"value": value, "slo_ms": limit.limit / 1000 if limit else None}
        for at in ("p50", "p99"):
            of_all = [trial.latency_us(latency, at) for trial in trials if trial.value == value and trial.counts]
            quoted = [value_us for value_us in of_all if value_us is not None]
            point[f"{at}_ms"] = median(quoted) / 1000 if quoted else None
        points.append(point)
    return points


def bars(
    variable: str, points: Sequence[Mapping[str, float | None]], limit: Requirement | None, knee: Knee
) -> str:
    """Return the curve as lines for a terminal: a bar for each load's p99, with the SLO's limit in it."""
    values = [point["p99_ms"] for point in points if point["p99_ms"] is not None]
    if not values:
        return ""
    limit_ms = None if limit is None else limit.limit / 1000
    full_ms = max(values) if limit_ms is None else min(max(values), 2 * limit_ms)
    full_ms = max(full_ms, limit_ms or 0.0) or 1.0
    mark = None if limit_ms is None else round(limit_ms / full_ms * _BAR)
    lines = [f"p99 in ms, by {UNITS[variable]}" + (f" (|: the limit of {limit})" if limit else "")]
    for point in points:
        value, p99_ms = point["value"], point["p99_ms"]
        length = 0 if p99_ms is None else round(min(p99_ms / full_ms, 1.0) * _BAR)
        bar = list("#" * length + " " * (_BAR + 1 - length))
        if mark is not None:
            bar[mark] = "|"
        told = "-" if p99_ms is None else f"{p99_ms:,.2f}"
        here = "  <- the knee" if value == knee.low else ""
        lines.append(f"  {value:>9,.0f}  {''.join(bar)}  {told}{here}")
    return "\n".join(lines)
