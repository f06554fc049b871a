"""What permessage-deflate costs and saves: `python -m benchmarks.compression`.

Two tables: an update by itself (the rows of 2012, compressed once), and a gateway that delivers updates to many
subscribers, plain and compressed, with its CPU as its own /stats has it. A run ends when every subscriber has
read its last update. The gateway runs on one core, this client and the feed on the other, where there are two.
"""

import http.client
import json
import os
import platform
import selectors
import socket
import subprocess
import sys
import time
from random import Random

import ujson
import zmq

from execgate.wire.deflate import DEFLATED, WINDOW_BITS
from execgate.wire.events import PLAIN, Envelope
from execgate.wire.heritage import random_row
from execgate.wire.update import Kind, Update, encode

SUBSCRIBERS, UPDATES, RATE = 300, 800, 200
SAMPLE = 300  # updates of the first table
ROUNDS = 3  # of the second, interleaved: the cheapest counts, since others on the machine only make it dearer


def payloads(rows: int, count: int) -> list[bytes]:
    """Return the `data` of updates as the synthetic source makes them."""
    random = Random(1)
    made = []
    for seq in range(1, count + 1):
        execs = [random_row(number, "2026-11-24", random) for number in range(rows)]
        head = {
            "request": seq,
            "rows": rows,
            "timestamp": 1_795_000_000_000 + seq,
            "ts_us": 1_795_000_000_000_000 + seq,
        }
        tail = {"topic": "ex.QQQ.", "epoch": f"{1:016x}", "seq": seq, "tseq": seq, "execs": execs}
        made.append(ujson.dumps(head | tail, escape_forward_slashes=False).encode())
    return made


def cost(envelope: Envelope, updates: list[bytes]) -> tuple[float, float]:
    """Return the bytes on the wire and the microseconds of one update."""
    start_s = time.process_time()
    size = sum(len(envelope.frame(data)) for data in updates)
    return size / len(updates), (time.process_time() - start_s) / len(updates) * 1e6


def tell_updates() -> None:
    """Print the first table."""
    print("| rows | plain, bytes | compressed | saved | us to frame it | compressed |\n|---|---|---|---|---|---|")
    for rows in (0, 1, 2, 3, 10, 40, 100):
        updates = payloads(rows, SAMPLE)
        plain, plain_us = cost(PLAIN, updates)
        small, small_us = cost(DEFLATED[WINDOW_BITS], updates)
        print(
            f"| {rows} | {plain:.0f} | {small:.0f} | {1 - small / plain:.0%} | {plain_us:.1f} | {small_us:.1f} |"
        )


def stats(address: str) -> dict[str, float]:
    """Return the gateway's figures."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/stats")
    return dict(json.loads(connection.getresponse().read()))


def subscriber(address: str, offer: str) -> socket.socket:
    """Return a socket that is subscribed to everything, past its greeting."""
    host, _, port = address.rpartition(":")
    sock = socket.create_connection((host, int(port)))
    request = (
        f"GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    )
    sock.sendall(request.encode())
    greeting = b""
    while b'"subscribed"' not in greeting:
        greeting += sock.recv(65536)
    assert (b"Extensions" in greeting) == bool(offer), greeting
    sock.setblocking(False)
    return sock


def deliver(rows: int, deflated: bool) -> tuple[float, float, float]:
    """Return bytes a delivery, and the gateway's CPU microseconds a delivery and an update."""
    feed: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
    feed.set(zmq.SNDHWM, 0)
    port = feed.bind_to_random_port("tcp://127.0.0.1")
    command = [
        sys.executable,
        "-m",
        "execgate",
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--deflate",
        "--feed-stale-s",
    ]
    command += [
        "600",
        "--heartbeat-s",
        "600",
        "--ping-s",
        "300",
        "--idle-s",
        "600",
        "--feed",
        f"tcp://127.0.0.1:{port}",
    ]
    cores = sorted(os.sched_getaffinity(0))
    gateway = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        os.sched_setaffinity(gateway.pid, {cores[0]})
        os.sched_setaffinity(0, {cores[-1]})
        feed.recv()
        feed.send_multipart(encode(Update(Kind.HEARTBEAT, b"", 1, 0, 0, 0, b"", b"")))
        assert gateway.stdout is not None
        address = gateway.stdout.readline().partition("listen=")[2].split()[0]
        offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" if deflated else ""
        socks = [subscriber(address, offer) for _ in range(SUBSCRIBERS)]
        updates = payloads(rows, UPDATES)
        envelope = DEFLATED[WINDOW_BITS] if deflated else PLAIN
        awaited = sum(len(envelope.frame(data)) for data in updates) * SUBSCRIBERS
        before_s = stats(address)["cpu_s"]
        _pump(feed, socks, updates, awaited)
        cpu_us = (stats(address)["cpu_s"] - before_s) * 1e6
        for sock in socks:
            sock.close()
    finally:
        gateway.terminate()
        gateway.wait()
        os.sched_setaffinity(0, cores)
        feed.close(0)
    return awaited / UPDATES / SUBSCRIBERS, cpu_us / UPDATES / SUBSCRIBERS, cpu_us / UPDATES


def _pump(feed: "zmq.Socket[bytes]", socks: list[socket.socket], updates: list[bytes], awaited: int) -> None:
    """Send updates at RATE and read until every byte has come."""
    selector = selectors.DefaultSelector()
    for sock in socks:
        selector.register(sock, selectors.EVENT_READ)
    start_s, sent, read = time.monotonic(), 0, 0
    while read < awaited:
        due = min(len(updates), int((time.monotonic() - start_s) * RATE) + 1)
        for seq in range(sent + 1, due + 1):
            feed.send_multipart(encode(Update(Kind.DATA, b"ex.QQQ.", 1, seq, seq, 0, b"", updates[seq - 1])))
        sent = due
        for key, _ in selector.select(0.001):
            read += len(key.fileobj.recv(262144))  # type: ignore[union-attr]
    assert read == awaited, "something else than the updates came"


def main() -> None:
    """Print both tables."""
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    tell_updates()
    print(f"\n{SUBSCRIBERS} subscribers, {UPDATES} updates at {RATE}/s, best of {ROUNDS}\n")
    print("| rows | form | bytes a delivery | CPU us a delivery | CPU us an update |\n|---|---|---|---|---|")
    for rows in (3, 10, 40):
        runs = [(deflated, deliver(rows, deflated)) for _ in range(ROUNDS) for deflated in (False, True)]
        for deflated in (False, True):
            size, delivery_us, update_us = min(figures for was, figures in runs if was is deflated)
            form = "compressed" if deflated else "plain"
            print(f"| {rows} | {form} | {size:.0f} | {delivery_us:.2f} | {update_us:.0f} |", flush=True)


if __name__ == "__main__":
    main()
