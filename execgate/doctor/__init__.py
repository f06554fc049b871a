"""`execgate doctor`: what limits this machine, what to set, and for how many connections it is good.

Called by `execgate.cli`. `reading.py` reads, `core/` judges; nothing is changed, and nothing is sent anywhere.
"""

import os
from collections.abc import Sequence

from execgate.doctor.config import DoctorConfig
from execgate.doctor.core.finding import Diagnosis, as_text
from execgate.doctor.core.install import judge_installation
from execgate.doctor.core.machine import judge_machine
from execgate.doctor.reading import Reading
from execgate.service import options
from execgate.service.exits import EXIT_FAILED, EXIT_OK
from execgate.service.output import as_json, write_output

PROGRAM = "execgate doctor"


def main(arguments: Sequence[str]) -> int:
    """Look, tell, and return the exit status: 0 fine, 1 something is in the way.

    Raises:
        UsageError: an option is wrong, or the file can't be written.
    """
    config = options.load(
        DoctorConfig,
        PROGRAM,
        arguments,
        os.environ,
        description="Look at this machine: what limits its connections, what to set, what is installed wrongly.",
        examples=(
            "  execgate doctor\n"
            "  execgate doctor --connections 50000 --workers 4 --all\n"
            "  execgate doctor --json - | jq .good_for"
        ),
    )
    diagnosis = examine(Reading(), config.connections, config.workers)
    if config.json is not None:
        write_output(config.json, as_json(diagnosis.as_dict()), "--json")
    if config.json != "-":
        print(as_text(diagnosis, everything=config.all))
    return EXIT_OK if diagnosis.is_fine else EXIT_FAILED


def examine(reading: Reading, connections: int, workers: int) -> Diagnosis:
    """Return what is found by `reading`."""
    findings = (*judge_machine(reading.machine(workers), connections), *judge_installation(reading.installation()))
    return Diagnosis(connections, findings)
