"""`execgate loadgen`: picks the load that was asked for and runs it. Called by `execgate.cli`."""

import os
from collections.abc import Callable, Sequence

from execgate.service import lifecycle, logs, options
from execgate.service.exits import EXIT_OK
from execgate.service.lifecycle import Stop
from execgate.wire.errors import UsageError
from loadgen.capacity import find_capacity
from loadgen.capacity_config import CapacityConfig
from loadgen.classic import run_classic
from loadgen.config import ClassicConfig, OrdersConfig, load_run
from loadgen.report import compare_main, report_main
from loadgen.run import run_load

PROGRAM = "execgate loadgen"
USAGE = """usage: execgate loadgen COMMAND [OPTION]...

Drives a WebSocket server with many clients and measures what they see.

commands:
  run                  subscribers and orders as an open loop, kept in a folder, with a verdict
  find-capacity        the highest load at which the server still holds what you demand of it
  report RUN           a run's folder as a page with charts, JSON, CSV or Markdown
  compare A B          two sets of runs: which differences are real
  classic2012 pubsub   subscribers that time and check every update, 100 more every 15 s, as in 2012
  classic2012 orders   clients that order every 50 to 300 ms and time the answers, 100 more every 15 s

'execgate loadgen run --help' shows a command's options.

examples:
  execgate loadgen run --subscribers 300 --orders-per-s 100 --for 30 --require 'p99<50ms' --require 'lost==0'
  execgate loadgen report runs/20261125-220825
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
    if words[0] not in COMMANDS:
        raise UsageError(f"unknown command {words[0]!r}; expected one of {', '.join(COMMANDS)}")
    return COMMANDS[words[0]](words[1:])


def _classic(words: list[str]) -> int:
    if words[:1] and words[0] in ("-h", "--help"):
        print(USAGE)
        return EXIT_OK
    if not words or words[0] not in CONFIGS:
        given = f"{words[0]!r} is unknown" if words else "no program given"
        raise UsageError(f"classic2012: {given}; expected pubsub or orders")
    program = words[0]
    config = options.load(
        CONFIGS[program],
        f"{PROGRAM} classic2012 {program}",
        words[1:],
        os.environ,
        description=_DESCRIPTIONS[program],
        examples=_EXAMPLES[program],
    )
    logs.set_up(config.log_level)

    async def run(stop: Stop) -> int:
        return await run_classic(config, stop)

    return lifecycle.run(PROGRAM, run)


def _run(words: list[str]) -> int:
    config = load_run(
        f"{PROGRAM} run",
        words,
        os.environ,
        description="Subscribers and orders as an open loop, kept in a run folder, with a verdict at the end.",
        examples=(
            "  execgate loadgen run --subscribers 300 --orders-per-s 100 --for 30\n"
            "  execgate loadgen run --subscribers 1000 --connect-rate 200 --require 'p99<50ms' --require lost==0\n"
            "  execgate loadgen run --preset spike --subscribers 200"
        ),
    )
    logs.set_up(config.log_level)

    async def run(stop: Stop) -> int:
        return await run_load(config, words, stop)

    return lifecycle.run(PROGRAM, run)


def _find_capacity(words: list[str]) -> int:
    config = options.load(
        CapacityConfig,
        f"{PROGRAM} find-capacity",
        words,
        os.environ,
        description="Search for the highest load at which a server holds an SLO, and for what limits it.",
        examples=(
            "  execgate loadgen find-capacity --slo 'p99<50ms,lost==0' --server-pid $(pidof -s node)\n"
            "  execgate loadgen find-capacity --var orders --slo 'order.p99<20ms,orders_unanswered==0'\n"
            "  execgate loadgen find-capacity --var rate --ingest tcp://127.0.0.1:5553 --subscribers 200"
        ),
    )
    logs.set_up(config.log_level)

    async def run(stop: Stop) -> int:
        return await find_capacity(config, words, stop)

    return lifecycle.run(f"{PROGRAM} find-capacity", run)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": _run,
    "find-capacity": _find_capacity,
    "report": report_main,
    "compare": compare_main,
    "classic2012": _classic,
}
