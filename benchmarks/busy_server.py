"""A server whose updates have a known age, and which notes when the kernel had each: a client's truth.

In this process, in a thread. Used by `believing.py` and by the tests of the load generator's calibration.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from execgate.measure.histogram import Histogram
from execgate.wire import frame_builder
from execgate.wire.events import RECEIVE, SUBSCRIBED, encode_event
from execgate.wire.frame_builder import Opcode
from loadgen.core.handshake import accept_of

AGE_US = 50_000
_STAMP = "1111111111111111"
_EPOCH = "00000000000000aa"
_AT_ONCE = 200
_PAUSE_S = 0.002


def shake_hands(accepted: socket.socket) -> None:
    """Answer a client's upgrade, on a socket that blocks."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += accepted.recv(4096)
    key = next(line[19:] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    accepted.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_of(key.strip()) + b"\r\n\r\n"
    )


@contextmanager
def busy_server(
    clients: int, per_s: int | None = None, ages_us: Histogram | None = None, age_us: int = AGE_US
) -> Iterator[str]:
    """Send updates of 500 bytes to `clients`, `per_s` in all, or as many as the sockets take; yield the URL.

    They are made before, and the time is written into many at once: far less work than to read them.

    Args:
        clients: that will connect; it begins once they have.
        per_s: updates a second, None for no limit.
        ages_us: gets how old each was once the kernel had it.
        age_us: how long before it is sent an update is stamped.
    """
    stopped = threading.Event()
    of_update = {"request": 1, "timestamp": 0, "ts_us": int(_STAMP), "epoch": _EPOCH, "seq": 1, "pad": "x" * 350}
    one = frame_builder.build(Opcode.TEXT, encode_event(RECEIVE, of_update))
    beginning = {"epoch": _EPOCH, "seq": 0, "recovered": False, "gap": None}
    first = frame_builder.build(Opcode.TEXT, encode_event(SUBSCRIBED, beginning))

    def serve() -> None:
        accepted = []
        try:
            for _ in range(clients):
                accepted.append(listener.accept()[0])
                shake_hands(accepted[-1])
                accepted[-1].sendall(first)
            start, sent = time.monotonic(), 0
            while not stopped.is_set():
                due = _AT_ONCE if per_s is None else int((time.monotonic() - start) * per_s / clients) - sent
                stamp_us = time.time_ns() // 1000 - age_us
                block = one.replace(_STAMP.encode(), str(stamp_us).encode()) * due
                for each in accepted:
                    each.sendall(block)
                    if ages_us is not None:
                        for _ in range(due):
                            ages_us.record(time.time_ns() // 1000 - stamp_us)
                sent += due
                if per_s is not None:
                    time.sleep(_PAUSE_S)
        except OSError:
            pass  # the clients are gone
        finally:
            for each in accepted:
                each.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
