"""`execgate top`: one screen over gateways and publishers, from their metrics. Called by `execgate.cli`."""

import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial

from execgate.service import options
from execgate.service.exits import EXIT_FAILED, EXIT_OK
from execgate.service.terminal import Terminal
from execgate.top.config import TopConfig
from execgate.top.scrape import Scraper, slowest
from execgate.top.view import Row, rows, screen

PROGRAM = "execgate top"


def main(arguments: Sequence[str]) -> int:
    """Look again and again until interrupted, or `--once`; return the exit status."""
    config = options.load(
        TopConfig,
        PROGRAM,
        arguments,
        os.environ,
        description="Rates, lag, drops and queues of gateways and publishers on one screen, from their /metrics.",
        examples=(
            "  execgate top\n"
            "  execgate top --url 127.0.0.1:9124 --url 10.0.0.7:9124 --url 127.0.0.1:9150\n"
            "  execgate top --once --json | jq '.gateways[].lag_s'\n\n"
            "exit status of --once: 0 each answers and is ready; 1 one does not, or is not"
        ),
    )
    terminal = Terminal(sys.stdout)
    scraper = Scraper(config.url)
    before = scraper.look()
    while True:
        time.sleep(config.interval)
        after = scraper.look()
        found = rows(before, after)
        if config.admin:
            found["slowest"], silent = slowest(config.admin)
            found["silent"] += silent
        before = after
        if config.json:
            terminal.write(json.dumps(found) + "\n")
        elif config.once or not terminal.can_draw:
            terminal.write("\n".join(screen(found, 1000)) + "\n")
        else:
            heading = f"{PROGRAM}  {time.strftime('%H:%M:%S')}  every {config.interval:g} s, Ctrl-C ends"
            terminal.draw(partial(_screen, heading, found))
        if config.once or terminal.is_gone:
            return EXIT_OK if all_well(found) else EXIT_FAILED


def _screen(heading: str, found: dict[str, list[Row]], width: int) -> list[str]:
    return [heading, "", *screen(found, width)]


def all_well(found: dict[str, list[Row]]) -> bool:
    """Whether everybody answered and is ready."""
    ready = all(row["ready"] == row["workers"] for row in found["gateways"])
    return ready and all(row["ready"] == 1 for row in found["publishers"]) and not found["silent"]
