"""What tells that the client is the bottleneck: bytes that wait in a socket, shares of the machine."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadgen.watching import CpuWait, MachineWatch, ReceiveQueue
from tests.harness import wait_until


def test_bytes_that_wait_unread_are_seen() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        queue = ReceiveQueue(lambda: [ours.fileno()])
        queue.take()
        queue.start()
        try:
            theirs.sendall(b"x" * 1000)
            wait_until(lambda: queue.take() == 1000.0, "the mean of what waits is all of it")
            assert ours.recv(2000) == b"x" * 1000
            wait_until(lambda: queue._looks and queue.take() == 0.0, "nothing waits any more")
        finally:
            queue.stop()


def test_a_descriptor_that_is_gone_is_no_look() -> None:
    ours, theirs = socket.socketpair()
    descriptor = ours.fileno()
    ours.close()
    theirs.close()
    queue = ReceiveQueue(lambda: [descriptor])
    queue.take()
    queue.start()
    queue.stop()
    assert queue.take() == 0.0


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
            waited_s += wait.take()
        assert waited_s >= 0.05, "the other one has the core meanwhile"
    finally:
        sibling.kill()
        sibling.communicate()
        os.sched_setaffinity(0, before)
