"""`execgate loadgen`: picks the load that was asked for and runs it. Called by `execgate.cli`."""

import os
from collections.abc import Sequence

from execgate.service import lifecycle, logs, options
from execgate.service.exits import EXIT_OK
from execgate.service.lifecycle import Stop
from execgate.wire.errors import UsageError
from loadgen.classic import run_classic
from loadgen.config import ClassicConfig, OrdersConfig

PROGRAM = "execgate loadgen"
USAGE = """usage: execgate loadgen classic2012 pubsub|orders [OPTION]...

Drives a WebSocket server with many clients and measures what they see.

commands:
  classic2012 pubsub   subscribers that time and check every update, 100 more every 15 s, as in 2012
  classic2012 orders   clients that order every 50 to 300 ms and time the answers, 100 more every 15 s

'execgate loadgen classic2012 pubsub --help' shows a command's options.

examples:
  execgate loadgen classic2012 pubsub --max-clients 500 --for 60
  execgate loadgen classic2012 orders --step 10 --interval 5 --max-clients 50 --json orders.json"""

_DESCRIPTIONS = {
    "pubsub": "The pub/sub client program of 2012: adds clients step by step, prints one CSV line an interval.",
    "orders": "The order client program of 2012: adds clients step by step, prints one CSV line an interval.",
}
_EXAMPLES = {
    "pubsub": (
        "  execgate loadgen classic2012 pubsub --max-clients 500 --for 60\n"
        "  execgate loadgen classic2012 pubsub --step 50 --interval 1 --url ws://127.0.0.1:9000/ws --json run.json"
    ),
    "orders": (
        "  execgate loadgen classic2012 orders --max-clients 100 --for 60\n"
        "  MAX_ROWS=2 execgate loadgen classic2012 orders --step 10 --interval 5 --intervals orders.jsonl"
    ),
}
CONFIGS: dict[str, type[ClassicConfig]] = {"pubsub": ClassicConfig, "orders": OrdersConfig}


def main(arguments: Sequence[str]) -> int:
    """Run `execgate loadgen` with `arguments`; return the exit status."""
    words = list(arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return EXIT_OK
    if words[0] != "classic2012":
        raise UsageError(f"unknown command {words[0]!r}; expected classic2012 pubsub or classic2012 orders")
    if words[1:2] and words[1] in ("-h", "--help"):
        print(USAGE)
        return EXIT_OK
    if not words[1:] or words[1] not in CONFIGS:
        given = f"{words[1]!r} is unknown" if words[1:] else "no program given"
        raise UsageError(f"classic2012: {given}; expected pubsub or orders")
    program = words[1]
    config = options.load(
        CONFIGS[program],
        f"{PROGRAM} classic2012 {program}",
        words[2:],
        os.environ,
        description=_DESCRIPTIONS[program],
        examples=_EXAMPLES[program],
    )
    logs.set_up(config.log_level)

    async def run(stop: Stop) -> int:
        return await run_classic(config, stop)

    return lifecycle.run(PROGRAM, run)
