"""A gateway process' own part: a chore that fails is told, and ends nothing else."""

import asyncio

import pytest

from gateway.worker import _tell_failure


@pytest.mark.parametrize("outcome", [None, ValueError("no such figure"), asyncio.CancelledError()])
def test_a_chore_that_a_bug_has_ended_is_logged_and_one_that_was_ended_is_not(
    outcome: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def chore() -> None:
        if outcome is not None:
            raise outcome

    async def play() -> None:
        task = asyncio.create_task(chore())
        task.add_done_callback(_tell_failure)
        await asyncio.wait([task])
        await asyncio.sleep(0)

    asyncio.run(play())
    assert ("a chore failed" in caplog.text) == isinstance(outcome, ValueError)
    assert ("no such figure" in caplog.text) == isinstance(outcome, ValueError)
