"""A real publisher, on the server's core where it is under measure; a producer and a subscriber that meet it."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import zmq

from benchmarks.processes import SERVER_CORE, process

_FREE = "tcp://127.0.0.1:0"
_GREETED_WITHIN_MS = 5_000


@contextmanager
def publishing(
    *flags: str, environment: Mapping[str, str] | None = None, core: int = SERVER_CORE
) -> Iterator[tuple[int, dict[str, str]]]:
    """Run a publisher with the source `ingest`; yield its pid and the facts of its ready line; end it cleanly."""
    command = [sys.executable, "-m", "execgate", "publisher", "--pub", _FREE, "--source", "ingest"]
    command += ["--ingest", _FREE, "--log-level", "warning", *flags]
    with process(command, core, stderr=None, environment=environment) as started:
        assert started.stdout is not None  # a pipe
        yield started.pid, dict(re.findall(r"(\w+)=(\S+)", started.stdout.readline()))
        started.terminate()
        started.wait()


class Ends:
    """Both ends of a publisher: a producer's PUSH and a subscriber's SUB, which loses nothing.

    Args:
        facts: of its ready line.
        push_hwm: messages that wait to be taken; None is ZeroMQ's own default.
    """

    def __init__(self, facts: Mapping[str, str], push_hwm: int | None = None) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.push = self.context.socket(zmq.PUSH)
        if push_hwm is not None:
            self.push.setsockopt(zmq.SNDHWM, push_hwm)
        self.push.connect(facts["ingest"])
        self.feed = self.context.socket(zmq.SUB)
        self.feed.setsockopt(zmq.RCVHWM, 0)
        self.feed.subscribe(b"")
        self.feed.connect(facts["pub"])
        self.feed.poll(_GREETED_WITHIN_MS)  # the heartbeat that answers the subscription
