"""`execgate demo`: the whole system on this machine, as separate processes, with a live table.

Called by `execgate.cli`. `config.py` has the settings, `records.py` reads the load generators' records, `show.py`
runs the demo, `table.py` and `verdict.py` are pure: the rows, and whether it went well. It reaches the programs
by the command line alone and imports none of them.
"""

import os
from collections.abc import Sequence

from execgate.demo.config import DemoConfig
from execgate.demo.show import Show
from execgate.service import lifecycle, logs, options
from execgate.service.lifecycle import Stop

PROGRAM = "execgate demo"


def main(arguments: Sequence[str]) -> int:
    """Run the demo with `arguments`; return the exit status."""
    config = options.load(
        DemoConfig,
        PROGRAM,
        arguments,
        os.environ,
        description="Start a publisher, two gateways and the load generator here, and show what they do.",
        examples=(
            "  execgate demo                              until Ctrl-C\n"
            "  execgate demo --for 20 --json demo.json    20 s of steady measuring, then a verdict\n"
            "  execgate demo --port 9000 --subscribers 1000 --rate 50"
        ),
    )
    logs.set_up("warning")

    async def run(stop: Stop) -> int:
        return await Show(config, stop).run()

    return lifecycle.run(PROGRAM, run)
