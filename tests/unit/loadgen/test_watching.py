"""What tells that somebody else had the CPU."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadgen.watching import CpuWait, MachineWatch


def test_shares_of_the_machine_are_shares() -> None:
    busy, steal, softirq = MachineWatch().take()
    assert 0.0 <= steal <= steal + softirq <= busy + 1e-9 <= 1.0 + 1e-9


def test_a_thread_that_shares_its_core_waits_for_it() -> None:
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("NOT TESTED: this kernel does not tell how long a thread waits for a CPU")
    before = os.sched_getaffinity(0)
    core = min(before)
    os.sched_setaffinity(0, {core})
    spin = f"import os\nos.sched_setaffinity(0, {{{core}}})\nprint(flush=True)\nwhile True: pass"
    sibling = subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE)
    try:
        assert sibling.stdout is not None
        sibling.stdout.readline()
        wait, waited_s = CpuWait(), 0.0
        deadline_s = time.monotonic() + 20
        while waited_s < 0.05 and time.monotonic() < deadline_s:
            waited_s += wait.take_s()
        assert waited_s >= 0.05, "the other one has the core meanwhile"
        wait.close()
        assert wait.total_ns() == 0, "it holds nothing any more"
    finally:
        sibling.kill()
        sibling.communicate()
        os.sched_setaffinity(0, before)
