"""A client of a few lines that owes nothing to the load generator: blocking handshakes, one selector, one clock.

`python -m benchmarks.raw_reader PORT CLIENTS WARM_UP_S SECONDS` prints latencies from `ts_us` in microseconds as
JSON: `raw`, until the bytes were read; `alone`, the same of updates that were alone in a read; `kernel`, of those,
until the kernel had them (SO_TIMESTAMPNS). Called by `agreement.py`; needs nothing but the standard library.
"""

import base64
import json
import os
import re
import selectors
import socket
import struct
import sys
import time

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module does not name it
_TIMESPEC = struct.Struct("qq")
_STAMP = re.compile(rb'"event":"receive-execs".*?"ts_us":(\d+)')


def connected(port: int) -> socket.socket:
    """Return a socket behind its handshake, whose kernel stamps what comes."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # a byte at a time, so that no frame is taken with it
        byte = sock.recv(1)
        if not byte:
            raise ConnectionError("closed in the handshake")
        head += byte
    if not head.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(head.decode("latin-1"))
    return sock


def frames_in(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the payloads of whole frames, which a server does not mask, and what is left."""
    payloads, at = [], 0
    while len(data) - at >= 2:
        length, head = data[at + 1] & 127, 2
        if length >= 126:
            head += 2 if length == 126 else 8
            length = int.from_bytes(data[at + 2 : at + head], "big")
        if len(data) - at < head + length:
            break
        payloads.append(data[at + head : at + head + length])
        at += head + length
    return payloads, data[at:]


def quantiles(values: list[int]) -> dict[str, float]:
    """Return count, and percentiles in microseconds by the nearest rank."""
    values.sort()
    ranks = {name: values[max(0, -(-len(values) * at // 100) - 1)] for name, at in (("p50", 50), ("p99", 99))}
    return {"count": len(values), **ranks}


def main(port: int, clients: int, warm_up_s: float, seconds: float) -> None:
    """Read for so long, and print what it came to."""
    selector = selectors.DefaultSelector()
    rest: dict[int, bytes] = {}
    for _ in range(clients):
        sock = connected(port)
        rest[sock.fileno()] = b""
        selector.register(sock, selectors.EVENT_READ, sock)
    raw: list[int] = []
    alone: list[int] = []
    kernel: list[int] = []
    from_s = time.monotonic() + warm_up_s
    while (now_s := time.monotonic()) < from_s + seconds:
        for ready, _ in selector.select(0.1):
            sock = ready.data
            data, extra, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(_TIMESPEC.size))
            read_us = time.time_ns() // 1000
            if not data:
                raise ConnectionError("the server closed")
            payloads, rest[sock.fileno()] = frames_in(rest[sock.fileno()] + data)
            stamps = [int(found[1]) for payload in payloads if (found := _STAMP.search(payload))]
            if now_s < from_s:
                continue
            raw += [read_us - ts_us for ts_us in stamps]
            # The kernel's time is of the last packet of a read: it is known for a read that is one update.
            if len(stamps) != 1 or len(payloads) != 1 or rest[sock.fileno()]:
                continue
            for level, kind, value in extra:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    whole_s, more_ns = _TIMESPEC.unpack(value)
                    alone.append(read_us - stamps[0])
                    kernel.append(whole_s * 1_000_000 + more_ns // 1000 - stamps[0])
    print(json.dumps({"raw": quantiles(raw), "alone": quantiles(alone), "kernel": quantiles(kernel)}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *map(float, sys.argv[3:5]))
