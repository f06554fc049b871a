"""The settings of `find-capacity`: those of a `run`, and how to search. Each is a line of docs/loadgen.md."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from execgate.service.endpoints import parse_zmq_endpoint
from execgate.service.options import one_of, option, positive_number, whole_number
from loadgen.config import RunConfig
from loadgen.core.plan import MAX_CLIENTS
from loadgen.core.requirement import Requirement, parse_requirement
from loadgen.core.scenario import Scenario

_SLO = "p99<50ms,lost==0"
SLO_OF = {"subscribers": _SLO, "rate": _SLO, "orders": "order.p99<50ms,orders_unanswered==0"}
START_OF = {"subscribers": 100, "rate": 10, "orders": 100}
"""What a search demands, and where it begins, unless something else is said; by what it varies."""


def parse_slo(text: str) -> tuple[Requirement, ...]:
    """Read conditions that are separated by commas.

    Raises:
        ValueError: says what was expected.
    """
    return tuple(parse_requirement(part) for part in text.split(","))


def _refused(why: str) -> Any:
    """Return an option of `run` that a search does not take, and says so in its help."""
    return option(None, f"for one run, refused here: {why}", parse=_refuse(why))


def _refuse(why: str) -> Callable[[str], Any]:
    def parse(_text: str) -> Any:
        raise ValueError(f"it is for one run: {why}")

    return parse


_SIZES = "a search says itself how many clients there are, and what they do"
_FOLDERS = "each trial's folder has what is made from its records"


@dataclass(frozen=True, slots=True)
class CapacityConfig(RunConfig):
    """What `find-capacity` takes: each trial is a `run` with the rest of these."""

    scenario: Scenario | None = _refused(_SIZES)
    preset: Scenario | None = _refused(_SIZES)
    records: str | None = _refused(_FOLDERS)
    junit: str | None = _refused(_FOLDERS)
    connect_rate: float = option(
        500.0, "connections a second that are begun, until all are", parse=positive_number, metavar="C"
    )
    for_: float = option(5.0, "seconds of a trial that are measured", parse=positive_number, metavar="S")
    var: str = option(
        "subscribers", "what is varied: subscribers, rate or orders", parse=one_of(*SLO_OF), metavar="WHAT"
    )
    slo: tuple[Requirement, ...] | None = option(
        None,
        "what must hold, conditions as for --require with commas between (default: "
        f"{SLO_OF['subscribers']}; with --var orders {SLO_OF['orders']})",
        parse=parse_slo,
        metavar="CONDITIONS",
        show=lambda slo: ",".join(map(str, slo)),
    )
    start: int | None = option(
        None, "the load that is tried first (default: 100; with --var rate 10)", parse=whole_number(1), metavar="N"
    )
    most: int = option(
        MAX_CLIENTS, "the highest load that is tried", parse=whole_number(1, MAX_CLIENTS), metavar="N"
    )
    within: float = option(
        10.0,
        "percent at most between the highest load that holds and the lowest that does not",
        parse=positive_number,
        metavar="P",
    )
    cool: float = option(2.0, "seconds of rest between two trials", parse=positive_number, metavar="S")
    ingest: str | None = option(
        None,
        "with --var rate, unless --local: the publisher's --ingest endpoint, into which updates are pushed",
        parse=parse_zmq_endpoint,
        metavar="ENDPOINT",
    )

    def __post_init__(self) -> None:
        """Check what no single option can know, and each trial's own settings."""
        if self.ingest is not None and self.var != "rate":
            raise ValueError("--ingest is for --var rate")
        if self.var == "rate" and (self.ingest is None) == (self.local is None):
            raise ValueError("--var rate: expected --ingest or --local: somebody has to make the updates")
        try:
            for value in (1, self.most):
                self.trial(value, "trial")
        except ValueError as error:
            raise ValueError(str(error).replace("--require", "--slo")) from None

    @property
    def conditions(self) -> tuple[Requirement, ...]:
        """What a trial must hold to."""
        slo = parse_slo(SLO_OF[self.var]) if self.slo is None else self.slo
        return (*slo, *self.require)

    @property
    def first(self) -> int:
        """The load that is tried first."""
        return START_OF[self.var] if self.start is None else self.start

    def trial(self, value: int, name: str) -> RunConfig:
        """Return the settings of one trial at the load `value`, in a folder called `name`.

        Raises:
            ValueError: they make no sense.
        """
        settings = {field.name: getattr(self, field.name) for field in dataclasses.fields(RunConfig)}
        settings |= {"name": name, "require": self.conditions, "quiet": True}
        if self.var == "subscribers":
            settings["subscribers"] = value
        elif self.var == "orders":
            settings["orders_per_s"] = float(value)
        elif self.local is not None:
            settings["local_rate"] = float(value)
        return RunConfig(**settings)
