"""Watches a gateway during a run: its memory, the CPU of it and of the measuring side, and its health."""

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.processes import cpu_ns, rss_bytes

EVERY_S = 0.1
_TIMEOUT_S = 10
HEALTH_PATHS = ("/healthz", "/readyz")


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment: resident bytes of the gateway, and the CPU so far of it and of what shares the client's core."""

    wall_us: int
    rss: int
    server_ns: int
    client_ns: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A request for health: when it was due, how long from then to its end, and whether that was a 200."""

    due_us: int
    took_us: int
    is_good: bool


class Watch:
    """Samples, and asks for its health on a connection of its own, every 0.1 s while it is entered.

    An answer that is late makes the next request late; what it took counts from when it was due.

    Args:
        port: of the gateway.
        pid: of the gateway.
        client_pids: what shares the client's core.
        paths: what is asked for.
    """

    def __init__(
        self, port: int, pid: int, client_pids: Sequence[int], paths: Sequence[str] = HEALTH_PATHS
    ) -> None:
        self.samples: list[Sample] = []
        self.answers: list[Answer] = []
        self._port = port
        self._pid = pid
        self._client_pids = client_pids
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._repeat, args=(self._sample,))]
        for path in paths:
            self._threads.append(threading.Thread(target=self._repeat, args=(self._asker(path),)))

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop, and wait for the answers that are due."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, act: Callable[[float], None]) -> None:
        """Call `act` with the wall-clock second at which it is due, in turn."""
        start_s, number = time.time(), 0
        while not self._over.wait(max(0.0, start_s + number * EVERY_S - time.time())):
            act(start_s + number * EVERY_S)
            number += 1

    def _sample(self, _due_s: float) -> None:
        spent = sum(cpu_ns(pid) for pid in self._client_pids)
        now_us = time.time_ns() // 1000
        self.samples.append(Sample(now_us, rss_bytes(self._pid), cpu_ns(self._pid), spent))

    def _asker(self, path: str) -> Callable[[float], None]:
        def ask(due_s: float) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)
            try:
                connection.request("GET", path, headers={"Connection": "close"})
                is_good = connection.getresponse().status == http.client.OK
            except (OSError, http.client.HTTPException):
                is_good = False
            finally:
                connection.close()
            self.answers.append(Answer(int(due_s * 1e6), int((time.time() - due_s) * 1e6), is_good))

        return ask
