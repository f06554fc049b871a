"""The echo server as a process, for the tests of this folder."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from execgate.service.lifecycle import child_environment

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def echo_server(*flags: str) -> Iterator[str]:
    """Run the echo on a free port for the length of a block; yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.conformance.echo", "--port", "0", *flags],
        cwd=ROOT,
        env=child_environment(),  # it ends with us, however we end
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        ready = process.stdout.readline()
        assert " ready " in ready, process.communicate(timeout=5)
        yield ready.rpartition("listen=")[2].strip()
        assert process.poll() is None, "the echo ended by itself"
    finally:
        process.terminate()
        _, words = process.communicate(timeout=10)
    assert not words, words
