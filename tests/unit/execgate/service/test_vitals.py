"""Vitals: figures that are this process' and this machine's, and a loop whose lag is seen."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil

from execgate.service.vitals import LoopLag, ProcessTrees, ProcessVitals
from tests.harness import wait_until


def burn(cpu_s: float) -> None:
    until = time.process_time() + cpu_s
    while time.process_time() < until:
        pass


def test_an_interval_counts_cpu_from_the_last_one_and_memory_in_mib() -> None:
    vitals = ProcessVitals()
    vitals.interval()
    burn(0.2)
    used = vitals.interval()
    assert 0.1 < used.cpu_s < 5
    assert vitals.interval().cpu_s < used.cpu_s
    total_mib = psutil.virtual_memory().total / 2**20
    assert used.total_mib == total_mib
    assert 0 < used.used_mib < total_mib
    assert 0 <= used.load_average < 10_000


def test_memory_and_cpu_are_this_process_s() -> None:
    vitals = ProcessVitals()
    rss = psutil.Process(os.getpid()).memory_info().rss
    assert rss / 2 < vitals.rss_bytes() < rss * 2
    assert abs(vitals.cpu_s() - sum(os.times()[:2])) < 0.5


def test_loop_lag_is_the_worst_lateness_since_it_was_last_asked() -> None:
    async def check() -> None:
        lag = LoopLag(interval_s=0.01)
        lag.start()
        await asyncio.sleep(0.05)
        lag.take_worst_s()
        time.sleep(0.2)  # blocks the loop
        await asyncio.sleep(0.05)
        assert 0.15 < lag.take_worst_s() < 5
        await asyncio.sleep(0.05)
        assert lag.take_worst_s() < 0.15, "forgotten once asked"
        lag.stop()
        time.sleep(0.2)
        await asyncio.sleep(0.05)
        assert lag.take_worst_s() < 0.15, "not watched any more"

    asyncio.run(check())


def test_loop_lag_may_be_stopped_before_it_was_started() -> None:
    LoopLag().stop()


CHILD_BURNS = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"


def test_a_tree_of_processes_is_summed_up_while_it_lives() -> None:
    parent = subprocess.Popen([sys.executable, "-c", CHILD_BURNS], start_new_session=True)
    try:
        trees = ProcessTrees([parent.pid])
        wait_until(lambda: len(trees._processes()) == 2, "the child runs")
        trees.take()
        wait_until(lambda: trees.take()[0] > 0, "the child's CPU is counted, which its parent does not use")
        wait_until(lambda: trees.take()[0] > 0 and trees.busiest_thread_s > 0, "that of its thread too")
        _, rss_bytes = trees.take()
        assert rss_bytes > psutil.Process(parent.pid).memory_info().rss
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
    assert trees.take() == (0.0, 0)
