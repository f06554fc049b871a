"""What each process of a run is given, and what becomes of an error that nobody awaits."""

import asyncio
from dataclasses import replace

import pytest

from execgate.service.lifecycle import Stop
from loadgen.config import RunConfig
from loadgen.keeping import LAST, Taken
from loadgen.processes import LoadProcesses
from tests.unit.loadgen.core.making import record

CONFIG = RunConfig(subscribers=5, server_pid=(7,), records="heard")


def test_each_has_its_share_a_file_of_its_own_and_the_first_alone_watches_the_servers() -> None:
    async def tasks() -> None:
        several = LoadProcesses(CONFIG, CONFIG.plan(), 2, Stop(), lambda taken: None)
        first, second = several._task_of(0), several._task_of(1)
        assert [task.config.server_pid for task in (first, second)] == [(7,), ()]
        assert [task.config.records for task in (first, second)] == ["heard.0", "heard.1"]
        assert [task.plan.clients_in(task.plan.stages[0]) for task in (first, second)] == [3, 2]
        assert replace(first.config, server_pid=(7,), records="heard") == CONFIG

    asyncio.run(tasks())


def test_a_record_that_cannot_be_kept_ends_the_run() -> None:
    def keep(_taken: Taken) -> None:
        raise OSError(28, "No space left on device")

    async def take() -> None:
        stop = Stop()
        several = LoadProcesses(CONFIG, CONFIG.plan(), 1, stop, keep)
        several._guarded(lambda: several._take(0, Taken(LAST, 0, 1.0, 1.0, record())))
        assert stop.requested
        assert isinstance(several._error, OSError)

    asyncio.run(take())


@pytest.mark.parametrize("seed", [None, 4])
def test_the_task_can_be_handed_over(seed: int | None) -> None:
    import pickle

    async def task() -> None:
        several = LoadProcesses(replace(CONFIG, seed=seed), CONFIG.plan(), 2, Stop(), lambda taken: None)
        assert pickle.loads(pickle.dumps(several._task_of(1))) == several._task_of(1)

    asyncio.run(task())
