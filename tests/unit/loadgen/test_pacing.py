"""The pacer under a real event loop: everything on the schedule is done, with the time at which it was due."""

import asyncio
import time
from itertools import islice

from execgate.measure.pacer import constant_rate
from loadgen import pacing
from loadgen.pacing import Paced


def run_paced(hold_ms: float, count: int, rate: float) -> tuple[list[int], int, int]:
    """Do `count` events at `rate` a second in a loop that is held up before it begins."""

    async def run() -> tuple[list[int], int, int]:
        done: list[int] = []
        ended = asyncio.get_running_loop().create_future()

        def action(due_ns: int) -> None:
            done.append(due_ns)
            if len(done) == count:
                ended.set_result(None)

        paced = Paced(islice(constant_rate(rate), count), action)
        start_ns = time.monotonic_ns()
        paced.start(start_ns)
        time.sleep(hold_ms / 1e3)  # the loop is held up
        await asyncio.wait_for(ended, 30)
        return done, start_ns, paced.take_worst_us()

    return asyncio.run(run())


def test_what_was_due_while_the_loop_was_held_up_is_done_with_its_own_time() -> None:
    count = 2 * pacing.MOST_A_TURN + 7
    done, start_ns, worst_us = run_paced(60, count, 10_000)
    assert done == [start_ns + round((n + 1) * 1e5) for n in range(count)]
    assert worst_us >= 59_000


def test_nothing_is_done_before_it_is_due() -> None:
    async def run() -> None:
        early: list[int] = []
        paced = Paced(constant_rate(700), lambda due_ns: early.append(due_ns - time.monotonic_ns()))
        paced.start(time.monotonic_ns())
        while len(early) < 50:
            await asyncio.sleep(0)
        paced.stop()
        count = len(early)
        await asyncio.sleep(0.02)
        assert len(early) == count == paced.due
        assert max(early) <= 0

    asyncio.run(run())


def test_what_is_overdue_and_was_not_done_yet_counts_as_late() -> None:
    async def run() -> None:
        paced = Paced(constant_rate(1000), lambda _due_ns: None)
        paced.start(time.monotonic_ns())
        time.sleep(0.03)
        assert paced.take_worst_us() >= 28_000
        paced.stop()
        assert paced.take_worst_us() == 0

    asyncio.run(run())
