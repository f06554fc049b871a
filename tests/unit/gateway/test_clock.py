"""Asking the publisher for its clock, over real ZeroMQ: how often, and what becomes of it."""

from pathlib import Path

import pytest

from execgate.measure.clocks import Reading
from execgate.wire.replay import Clock, Now
from gateway import clock
from gateway.clock import PublisherClock
from tests.harness import until
from tests.unit.gateway.test_history import Scene, play


def test_who_does_not_answer_is_asked_less_and_less_often_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "EVERY_S", 0.01)
    monkeypatch.setattr(clock, "SELDOM_S", 0.05)

    async def steps(scene: Scene) -> None:
        asking = PublisherClock(scene.client)
        asking.start()
        pauses = []
        for _ in range(5):
            peer, request_id, asked = await scene.heard()
            assert asked == Clock()
            pauses.append(asking._pause_s)
        assert pauses == [0.01, 0.02, 0.04, 0.05, 0.05]
        assert asking.reading is None
        scene.say(peer, request_id, Now(10**15))
        await until(lambda: asking.reading)
        assert isinstance(asking.reading, Reading)
        await until(lambda: asking._pause_s == 0.01)
        asking.close()

    play(tmp_path, steps)


def test_without_a_channel_nothing_is_asked_and_nothing_known() -> None:
    asking = PublisherClock(None)
    asking.start()  # no loop runs here: it would fail
    assert asking.reading is None
    asking.close()
