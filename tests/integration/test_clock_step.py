"""The wall clock is set back and on under everything: no timer fires, nobody is closed, nothing is lost.

Beside it the control: a clock whose step moves the monotonic clocks too. There the same must not hold.
"""

import shutil
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
INVALID = 98
"""What `execgate loadgen run` ends with where its latencies mean nothing."""
EACH = 100
"""Updates that are awaited at each setting of the clock."""
TIMERS = ("--ping-s", "1", "--idle-s", "5", "--heartbeat-s", "0.2", "--feed-stale-s", "3")


class Site:
    """A publisher with a journal, a gateway and a subscriber that stays, all by one clock."""

    def __init__(self, folder: Path, clock: Clock, stack: ExitStack) -> None:
        feed = f"ipc://{folder}/feed"
        arguments = ("--pub", feed, "--rate", "200", "--data-dir", str(folder / "journal"), "--retain-age", "10m")
        environment = clock.environment
        self.publisher = stack.enter_context(running("publisher", *arguments, environment=environment))
        self.publisher.ready()
        self.gateway: Gateway = stack.enter_context(
            gateway(feed, *TIMERS, replay=f"{feed}.replay", environment=environment)
        )
        self.client: Client = stack.enter_context(self.gateway.client())
        self.reader = Reader()

    def news(self) -> tuple[dict[str, int], str]:
        stats = self.gateway.stats()
        return stats["closes"], stats["feed"]["state"]

    def read_on_unmoved(self) -> None:
        """Read: on one connection all the time each update comes once, of a feed that never was stale."""
        if not self.reader.seqs:
            self.client.send("subscribe-execs", {})
        wanted = len(self.reader.seqs) + EACH
        self.reader.take_until(self.client, lambda: len(self.reader.seqs) >= wanted)
        self.reader.assert_exact()
        assert self.news() == NO_NEWS
        assert not [told for told in self.reader.told if told.get("event")], self.reader.told


def stamps(reader: Reader) -> list[int]:
    return [reader.payloads[seq]["ts_us"] for seq in reader.seqs]


def test_a_wall_clock_that_is_set_back_an_hour_and_on_two_moves_nothing_but_the_stamps(tmp_path: Path) -> None:
    with ExitStack() as stack:
        clock = Clock(tmp_path)
        site = Site(tmp_path, clock, stack)
        flags = ("--subscribers", "1", "--warm-up", "0.1", "--for", "600", "--interval", "0.2", "--quiet")
        where = ("--url", f"ws://{site.gateway.address}/ws", "--run-dir", str(tmp_path))
        measuring = stack.enter_context(running("loadgen", "run", *flags, *where, environment=clock.environment))
        site.gateway.wait_for_stats("it measures", subscribers__all=1)
        for step_s in (0.0, BACK_S, ON_S, 0.0):
            clock.step(step_s)
            site.read_on_unmoved()
        assert measuring.stop() == INVALID
        measuring.wait_for("the wall clock jumped by 7200000")
        assert site.publisher.stop() == 0
    assert clock.asked > 0
    found = stamps(site.reader)
    moves = [round((later - before) / 60e6) for before, later in pairwise(found)]
    assert [move for move in moves if move] == [-60, 120, -60], "stamps say what the clock did"


def test_control_a_step_that_moves_the_monotonic_clock_too_is_no_such_thing(tmp_path: Path) -> None:
    with ExitStack() as stack:
        clock = Clock(tmp_path, moves_all=True)
        site = Site(tmp_path, clock, stack)
        site.read_on_unmoved()
        hours = count(1)

        def something_happens() -> bool:
            clock.step(next(hours) * ON_S)  # once may pass unseen: what is heard just then is heard after it
            return site.news() != NO_NEWS

        wait_until(something_happens, "timers fire that should not")
