"""The source of updates for the benchmarks: the same bytes at the same schedule, whichever server gets them.

    python -m benchmarks.feeder RATE BYTES SECONDS --pipe            lines on standard output, for a peer
    python -m benchmarks.feeder RATE BYTES SECONDS --zmq ENDPOINT    our four frames, once a gateway has joined

It begins when a line comes on standard input, stamps `ts_us` as an update leaves, and says on standard error how
far it fell behind its schedule.
"""

import os
import sys
import time

import zmq

from execgate.wire.update import Kind, Update, encode, epoch_text

EPOCH = 1
_ROW = (
    '{{"sequence":{n},"activityDateStr":"2026-11-24","com":3,"price":42,"accountId":1772139,"symbol":"QQQ",'
    '"transaction":"STO","description":"QQQ Stock","qty":100,"key":"QQQ:::S","netAmount":420}}'
)


def payload_of(seq: int, ts_us: int, execs: str, topic: str) -> bytes:
    """Return the data object of one update."""
    return (
        f'{{"request":{seq},"rows":2,"timestamp":{ts_us // 1000},"ts_us":{ts_us},"topic":"{topic}",'
        f'"epoch":"{epoch_text(EPOCH)}","seq":{seq},"tseq":{seq},"execs":[{execs}]}}'
    ).encode()


def execs_of(size: int) -> str:
    """Return rows so that an update's data is about `size` bytes: two rows of 2012, padded or cut to one field."""
    frame = len(payload_of(1_000, 1_795_000_000_000_000, "", "ex.QQQ."))
    rows = ",".join(_ROW.format(n=n) for n in range(2))
    if frame + len(rows) > size:
        rows = '{"symbol":"QQQ"}'
    padding = size - frame - len(rows) - len(',{"note":""}')
    return rows + (f',{{"note":"{"x" * padding}"}}' if padding > 0 else "")


def main() -> None:
    """Send updates on schedule."""
    rate, size, seconds = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    topics = int(os.environ.get("FEEDER_TOPICS", "1"))
    execs = execs_of(size)
    names = [f"ex.S{n}." for n in range(topics)] if topics > 1 else ["ex.QQQ."]
    context = zmq.Context()
    socket = None
    if sys.argv[4] == "--zmq":
        socket = context.socket(zmq.XPUB)
        socket.set(zmq.SNDHWM, 100_000)
        socket.bind(sys.argv[5])
        socket.recv()  # a gateway has subscribed
        socket.send_multipart(encode(Update(Kind.HEARTBEAT, b"", EPOCH, 0, 0, time.time_ns() // 1000, b"", b"")))
    sys.stdin.readline()
    tseqs = [0] * len(names)
    start_s, worst_s = time.monotonic(), 0.0
    for seq in range(1, int(rate * seconds) + 1):
        due_s = start_s + seq / rate
        now_s = time.monotonic()
        if now_s < due_s:
            time.sleep(due_s - now_s)
        else:
            worst_s = max(worst_s, now_s - due_s)
        ts_us = time.time_ns() // 1000
        which = seq % len(names)
        tseqs[which] += 1
        payload = payload_of(seq, ts_us, execs, names[which])
        if socket is None:
            sys.stdout.buffer.write(payload + b"\n")
            sys.stdout.buffer.flush()
        else:
            socket.send_multipart(
                encode(Update(Kind.DATA, names[which].encode(), EPOCH, seq, tseqs[which], ts_us, b"", payload))
            )
    print(f"worst {worst_s:.4f}", file=sys.stderr)
    if socket is not None:
        socket.close(linger=1000)
        context.term()


if __name__ == "__main__":
    main()
