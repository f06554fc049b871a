"""What a run and the processes that share it tell each other. Called by `processes.py` and `part.py`."""

from dataclasses import dataclass
from enum import StrEnum

from loadgen.config import RunConfig
from loadgen.core.plan import Plan


class Word(StrEnum):
    """The first element of a line; what follows it."""

    READY = "ready"
    """Nothing: it waits for the time to begin."""
    TAKEN = "taken"
    """The fields of a `Taken`."""
    LOG = "log"
    """Level and text of a line for `errors.log`."""
    END = "end"
    """What only the end knows, as `PartEnd`."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a process is given: the settings of the whole run, and its share of the plan."""

    config: RunConfig
    plan: Plan


@dataclass(frozen=True, slots=True)
class PartEnd:
    """What a process knows at its end; the fields are `LoadRun`'s.

    Attributes:
        is_lost: whether not all of `--records` was written.
        unsaid: lines for `errors.log` that there was no room for.
    """

    failures: dict[str, int]
    broken: dict[str, str]
    is_lost: bool
    unsaid: int
