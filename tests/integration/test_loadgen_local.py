"""`execgate loadgen run --local`: a run that starts its own servers, and what becomes of them."""

import asyncio
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from execgate.service.children import ChildError
from execgate.service.lifecycle import Stop
from loadgen.core.figures import Figures, furthest
from loadgen.core.verdict import CLOCK_STEP_US
from loadgen.local import local_servers
from loadgen.run_folder import StoredRun
from tests.harness import has_ended, running, wait_until


def is_measured(folder: Path) -> bool:
    if not (folder / "intervals.jsonl").exists():
        return False
    figures = Figures(StoredRun(folder).records())
    measured, whole = figures.measured.counts(), figures.whole.counts()
    clocks = figures.as_dict()["clocks"]
    # Both gateways have told theirs, and the publisher's: so they know where it replays.
    return bool(measured["delivered"] and whole["connected_peak"] == 4 and len(clocks["publisher"]) == 2)


def test_the_servers_live_as_long_as_the_run_their_clocks_are_ours_and_the_death_of_one_is_told(
    tmp_path: Path,
) -> None:
    load = ("--subscribers", "4", "--connect-rate", "100", "--warm-up", "0.2", "--interval", "0.3", "--for", "60")
    place = ("--run-dir", str(tmp_path), "--name", "a", "--connect-timeout-ms", "20000")
    with running("loadgen", "run", "--local", "publisher+2", "--local-rate", "50", *load, *place) as process:
        wait_until(lambda: is_measured(tmp_path / "a"), "all are connected, updates come, it measures", 60)
        servers = psutil.Process(process.pid).children()
        assert [server.cmdline()[3] for server in servers] == ["publisher", "gateway", "gateway"]
        os.kill(servers[2].pid, signal.SIGKILL)
        assert process.wait(60) in (97, 98), process.words()
        assert all(map(has_ended, servers))
    verdict = json.loads((tmp_path / "a" / "verdict.json").read_text())
    assert verdict["incomplete"][0].startswith("local gateway 1 ended with status -9")
    figures = Figures(StoredRun(tmp_path / "a").records()).as_dict()
    assert figures["server"]["rss_bytes"] > 0
    for known in figures["clocks"].values():
        assert len(known) == 2
        assert furthest(known)[1].certain_us < CLOCK_STEP_US.suspect


def test_a_server_that_does_not_get_ready_says_why() -> None:
    async def start() -> None:
        async with local_servers(1, 1, -1.0, Stop()):
            pass

    with pytest.raises(ChildError, match=r"the local publisher ended with status 2.*\n.*--rate '-1'"):
        asyncio.run(start())
