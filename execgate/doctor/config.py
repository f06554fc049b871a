"""The settings of the doctor. Each field is a flag, an environment name and a line of docs/operations.md."""

from dataclasses import dataclass

from execgate.service.options import option, whole_number


@dataclass(frozen=True, slots=True)
class DoctorConfig:
    """What is wanted of the machine."""

    connections: int = option(
        10_000, "connections that are wanted of this machine", parse=whole_number(1, 10_000_000), metavar="N"
    )
    workers: int = option(
        1, "gateways on this machine, or workers of one, that share them", parse=whole_number(1, 1024), metavar="N"
    )
    all: bool = option(False, "also show what is fine")
    json: str | None = option(None, "write everything to FILE as JSON; - is standard output", metavar="FILE")
