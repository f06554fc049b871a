"""The wall clock is set back and on under everything: no timer fires, nobody is closed, nothing is lost.

Beside it the control: a clock whose step moves the monotonic clocks too. There the same must not hold.
"""

import shutil
import time
from contextlib import ExitStack
from itertools import count, pairwise
from pathlib import Path

import pytest

from chaos.clock import Clock
from tests.clients import Client
from tests.harness import running, wait_until
from tests.integration.test_resume import Reader
from tests.rig import Gateway, gateway

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler: a clock that steps was NOT tested"),
]
BACK_S, ON_S = -3600.0, 3600.0
"""Of the true time: an hour back, then two on."""
NO_NEWS: tuple[dict[str, int], str] = ({}, "live")
"""Nobody was closed, and the feed is heard."""
TOLERANCE_S = 600.0
INVALID = 98
"""What `execgate loadgen run` ends with where its latencies mean nothing."""
ROUNDS = 7
"""One step may pass unseen by a timer that reads the wrong clock: what is heard just then is heard after it."""
RATE = ("--rate", "10")
"""Slow, so that seldom something is."""
TIMERS = ("--ping-s", "0.5", "--idle-s", "5", "--heartbeat-s", "0.1", "--feed-stale-s", "2")


class Site:
    """A publisher with a journal, a gateway and a subscriber that stays, all by one clock."""

    def __init__(self, folder: Path, clock: Clock, stack: ExitStack) -> None:
        feed = f"ipc://{folder}/feed"
        arguments = ("--pub", feed, *RATE, "--data-dir", str(folder / "journal"), "--retain-age", "10m")
        environment = clock.environment
        self.publisher = stack.enter_context(running("publisher", *arguments, environment=environment))
        self.publisher.ready()
        self.gateway: Gateway = stack.enter_context(
            gateway(feed, *TIMERS, replay=f"{feed}.replay", environment=environment)
        )
        self.client: Client = stack.enter_context(self.gateway.client())
        self.reader = Reader()

    @property
    def stamp_us(self) -> int:
        """Of the newest update; 0 before the first."""
        return self.reader.payloads[self.reader.seqs[-1]]["ts_us"] if self.reader.seqs else 0

    def news(self) -> tuple[dict[str, int], str]:
        stats = self.gateway.stats()
        return stats["closes"], stats["feed"]["state"]

    def read_on_unmoved(self, moved_s: float) -> None:
        """Read until an update is stamped by a clock that has moved, and a heartbeat has come.

        On one connection all the time each update must come once, of a feed that never was stale.
        """
        reader = self.reader
        if not reader.seqs:
            self.client.send("subscribe-execs", {})
        beats, before_us = reader.beats, self.stamp_us or time.time() * 1e6

        def has_come() -> bool:
            return reader.beats > beats and abs(self.stamp_us - before_us - moved_s * 1e6) < TOLERANCE_S * 1e6

        reader.take_until(self.client, has_come)
        reader.assert_exact()
        assert self.news() == NO_NEWS
        assert not [told for told in self.reader.told if told.get("event")], self.reader.told


def test_a_wall_clock_that_is_set_back_an_hour_and_on_two_moves_nothing_but_the_stamps(tmp_path: Path) -> None:
    with ExitStack() as stack:
        clock = Clock(tmp_path)
        site = Site(tmp_path, clock, stack)
        flags = ("--subscribers", "1", "--warm-up", "0.1", "--for", "600", "--interval", "0.2", "--quiet")
        where = ("--url", f"ws://{site.gateway.address}/ws", "--run-dir", str(tmp_path))
        measuring = stack.enter_context(running("loadgen", "run", *flags, *where, environment=clock.environment))
        site.gateway.wait_for_stats("it measures", subscribers__all=1)
        site.read_on_unmoved(0.0)
        for before_s, wrong_s in pairwise((0.0, *(BACK_S, ON_S, 0.0) * ROUNDS)):
            clock.step(wrong_s)
            site.read_on_unmoved(wrong_s - before_s)
        assert measuring.stop() == INVALID
        measuring.wait_for("the wall clock jumped by")
        assert site.publisher.stop() == 0
    assert clock.asked > 0


def test_control_a_step_that_moves_the_monotonic_clock_too_is_no_such_thing(tmp_path: Path) -> None:
    with ExitStack() as stack:
        clock = Clock(tmp_path, moves_all=True)
        site = Site(tmp_path, clock, stack)
        site.read_on_unmoved(0.0)
        hours = count(1)

        def something_happens() -> bool:
            clock.step(next(hours) * ON_S)
            return site.news() != NO_NEWS

        wait_until(something_happens, "timers fire that should not")
