"""The source of updates for the benchmarks: the same bytes at the same schedule, whichever server gets them.

    python -m benchmarks.feeder RATExSECONDS[,RATExSECONDS...] [--size BYTES | --rows N] [--topics N]
                                                    lines on standard output, for a peer
    ... --zmq ENDPOINT                              our four frames, once a gateway has joined

It begins when a line comes on standard input, and stamps `ts_us` as an update leaves. An update that is late is
sent at once, so that the schedule is caught up with; standard error tells by how many microseconds it fell behind,
each time that was much more than before. What is late after a line that the peer did not take at once is the
peer's doing, and not told.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

import ujson
import zmq

from execgate.wire.heritage import random_row
from execgate.wire.update import Kind, Update, encode, epoch_text

EPOCH = 1
# Room for the fields of an update, its longest numbers and topic, and one row. Smaller data has no more than what
# the measuring client reads: gateways pass it on as it is, whatever its fields.
FULL_FROM_BYTES = 220
_ROW = (
    '{{"sequence":{n},"activityDateStr":"2026-11-24","com":3,"price":42,"accountId":1772139,"symbol":"QQQ",'
    '"transaction":"STO","description":"QQQ Stock","qty":100,"key":"QQQ:::S","netAmount":420}}'
)
_MOST_SEQ, _LATE_TS_US, _LONG_TOPIC = 10**9, 10**15, "ex.S99999."
_SHAPES = 300  # different updates of random rows, made beforehand

_TELL_FROM_S, _BLOCKED_S = 0.01, 0.002

Form = Callable[[int, int, str, str], str]


def full(seq: int, ts_us: int, execs: str, topic: str, rows: int = 2) -> str:
    """Return the data object of one update."""
    return (
        f'{{"request":{seq},"rows":{rows},"timestamp":{ts_us // 1000},"ts_us":{ts_us},"topic":"{topic}",'
        f'"epoch":"{epoch_text(EPOCH)}","seq":{seq},"tseq":{seq},"execs":[{execs}]}}'
    )


def least(seq: int, ts_us: int, execs: str, _topic: str) -> str:
    """Return what the measuring client reads of one, and nothing else."""
    return f'{{"ts_us":{ts_us},"seq":{seq},"execs":[{execs}]}}'


def form_of(size: int) -> Form:
    """Return how data of `size` bytes is written."""
    return full if size >= FULL_FROM_BYTES else least


def execs_of(size: int) -> str:
    """Return rows for data of almost `size` bytes: two rows of 2012, cut to one field or padded by a note."""
    frame = len(form_of(size)(_MOST_SEQ, _LATE_TS_US, "", _LONG_TOPIC))
    rows = ",".join(_ROW.format(n=n) for n in range(2))
    if frame + len(rows) > size:
        rows = '{"symbol":"QQQ"}'
    padding = size - frame - len(rows) - len(',{"note":""}')
    return rows + (f',{{"note":"{"x" * padding}"}}' if padding > 0 else "")


def exactly(size: int, text: str) -> bytes:
    """Return the data object as `size` bytes: spaces before its end make up for short numbers."""
    return text[:-1].ljust(size - 1).encode() + b"}"


def random_execs(rows: int) -> list[str]:
    """Return the execs of updates as the synthetic source makes them, always the same."""
    random = Random(1)
    made = []
    for _ in range(_SHAPES):
        execs = [random_row(number, "2026-11-24", random) for number in range(rows)]
        made.append(ujson.dumps(execs, escape_forward_slashes=False)[1:-1])
    return made


def contents_of(size: int, rows: int | None) -> list[str]:
    """Return the execs of the updates of a feed: that of `seq` is number `seq` modulo how many there are.

    Args:
        size: bytes of an update's data, where `rows` is None.
        rows: how many random rows of 2012 each has.
    """
    return [execs_of(size)] if rows is None else random_execs(rows)


def content_hash(execs: str) -> int:
    """Return the hash (FNV-1a, up to the first `]`) by which the measuring client knows content again."""
    value = 1469598103934665603
    for byte in f'"execs":[{execs}]'.partition("]")[0].encode():
        value = (value ^ byte) * 1099511628211 % 2**64
    return value


def phases_of(text: str) -> list[tuple[float, float]]:
    """Read `RATExSECONDS,...`."""
    phases = [phase.split("x") for phase in text.split(",")]
    return [(float(rate), float(seconds)) for rate, seconds in phases]


def due_times(phases: list[tuple[float, float]]) -> Iterator[float]:
    """Yield when each update is due, in seconds from the beginning."""
    begin_s = 0.0
    for rate, seconds in phases:
        for number in range(int(rate * seconds)):
            yield begin_s + number / rate
        begin_s += seconds


def main() -> None:
    """Send updates on schedule."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feeder")
    parser.add_argument("phases", type=phases_of)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--topics", type=int, default=1)
    parser.add_argument("--zmq")
    chosen = parser.parse_args()
    execs = contents_of(chosen.size, chosen.rows)
    if chosen.rows is None:
        size, form = chosen.size, form_of(chosen.size)
    else:
        size, form = 0, partial(full, rows=chosen.rows)
    topics = [f"ex.S{n}." for n in range(chosen.topics)] if chosen.topics > 1 else ["ex.QQQ."]
    socket = _joined(chosen.zmq) if chosen.zmq else None
    sys.stdin.readline()
    tseqs = [0] * len(topics)
    start_s, told_s, was_blocked = time.monotonic(), _TELL_FROM_S, False
    for seq, due_s in enumerate(due_times(chosen.phases), 1):
        wait_s = start_s + due_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
            was_blocked = False
        elif -wait_s > told_s * 1.5 and not was_blocked:
            told_s = -wait_s
            print(int(told_s * 1e6), file=sys.stderr, flush=True)
        ts_us = time.time_ns() // 1000
        which = seq % len(topics)
        tseqs[which] += 1
        payload = exactly(size, form(seq, ts_us, execs[seq % len(execs)], topics[which]))
        if socket is None:
            before_s = time.monotonic()
            sys.stdout.buffer.write(payload + b"\n")
            sys.stdout.buffer.flush()
            was_blocked = was_blocked or time.monotonic() - before_s > _BLOCKED_S
        else:
            topic = topics[which].encode()
            socket.send_multipart(encode(Update(Kind.DATA, topic, EPOCH, seq, tseqs[which], ts_us, b"", payload)))
    if socket is not None:
        socket.close(linger=1000)
        socket.context.term()


def _joined(endpoint: str) -> "zmq.Socket[bytes]":
    """Return a publisher's socket that a gateway has subscribed to, and knows the sequence of."""
    socket = zmq.Context().socket(zmq.XPUB)
    socket.set(zmq.SNDHWM, 100_000)
    socket.bind(endpoint)
    socket.recv()
    socket.send_multipart(encode(Update(Kind.HEARTBEAT, b"", EPOCH, 0, 0, time.time_ns() // 1000, b"", b"")))
    return socket


if __name__ == "__main__":
    main()
