"""The kernel's timer in the event loop: never early, at once where it is over, only the last time that was set."""

import asyncio
import time

from loadgen.timer import ExactTimer


def test_it_rings_once_for_the_last_time_that_was_set_and_never_early() -> None:
    async def run() -> None:
        rung: list[int] = []
        timer = ExactTimer(lambda: rung.append(time.monotonic_ns()))
        due_ns = time.monotonic_ns() + 3_700_000
        timer.set(due_ns - 3_000_000)
        timer.set(due_ns)
        while not rung:
            await asyncio.sleep(0)
        assert rung[0] >= due_ns
        timer.set(1)  # long over
        while len(rung) < 2:
            await asyncio.sleep(0)
        timer.set(time.monotonic_ns())
        timer.close()
        timer.close()
        await asyncio.sleep(0.01)
        assert len(rung) == 2

    asyncio.run(run())
