"""A record as a run makes it."""

import asyncio

from execgate.service.lifecycle import Stop
from loadgen.config import RunConfig
from loadgen.core.recorder import MERGES
from loadgen.core.target import Target
from loadgen.keeping import Taken
from loadgen.line_log import LineLog
from loadgen.run import LoadRun
from loadgen.scenarios import read_preset


def test_every_field_of_a_record_has_a_rule_how_processes_merge_it() -> None:
    taken: list[Taken] = []

    async def run() -> None:
        stop = Stop()
        stop.request()
        target, preset = Target("127.0.0.1", 1, "/"), read_preset("fairness")
        config = RunConfig(url=(target,), preset=preset, orders_per_s=1.0, server_pid=(1,))
        await LoadRun(config, config.plan(), stop, taken.append, LineLog("--records", None)).run(0)

    asyncio.run(run())
    assert taken
    fields = {name for each in taken for name in each.record}
    assert fields <= MERGES.keys(), f"without a rule: {fields - MERGES.keys()}"
    assert MERGES.keys() <= fields, f"a rule for nothing: {MERGES.keys() - fields}"
