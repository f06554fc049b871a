"""The client of a few lines that others are compared with, and the rows that are made of what each tool says."""

import pytest

from benchmarks.agreement import of_artillery, of_loadgen
from benchmarks.raw_reader import frames_in, quantiles
from execgate.wire.frame_builder import Opcode, build

PAYLOADS = [b"", b"a" * 125, b"b" * 126, b"c" * 65535, b"d" * 65536]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 70_000, 200_000])
def test_frames_are_whole_however_the_bytes_come(size: int) -> None:
    stream, rest, found = b"".join(build(Opcode.TEXT, payload) for payload in PAYLOADS), b"", []
    for at in range(0, len(stream), size):
        payloads, rest = frames_in(rest + stream[at : at + size])
        found += payloads
    assert (found, rest) == (PAYLOADS, b"")


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert quantiles([3, 1, 2]) == {"count": 3, "p50": 2, "p99": 3}
    assert quantiles(list(range(1, 101))) == {"count": 100, "p50": 50, "p99": 99}


def test_rows_are_in_microseconds_whoever_they_are_of() -> None:
    latencies = {"delivery": {"count": 9, "p50": 1, "p90": 2, "p99": None, "p99.9": None, "max": 3}}
    assert of_loadgen({"figures": {"latencies": latencies}}) == {"count": 9, "p50": 1, "p99": None}
    summary = {"delivery_ms": {"count": 9, "p50": 1.5, "p99": 2.25}}
    assert of_artillery({"aggregate": {"summaries": summary}}) == {"count": 9, "p50": 1500, "p99": 2250}
