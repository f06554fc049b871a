"""What tells that the client is the bottleneck: bytes that wait in a socket, shares of the machine."""

import socket

from loadgen.watching import MachineWatch, ReceiveQueue
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
