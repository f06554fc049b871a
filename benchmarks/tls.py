"""What TLS costs: the same gateway with and without it, in interleaved runs; prints a Markdown table.

    taskset -c 1 python -m benchmarks.tls [--subscribers N] [--rate N] [--rounds N]

The gateway is pinned to core 0, everything else runs on the core this was started on. The certificate (P-256,
self-signed) is made by the `openssl` command. Memory and the cost of an accept are those of idle connections,
before the first update; the cost of a delivery is the gateway's CPU while updates come.
"""

import argparse
import http.client
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

_SECONDS = 10
_SIZE = 500
_STEP = 100  # clients a second
_WARM = 20
_EXECGATE = (sys.executable, "-m", "execgate")


class Gateway:
    """One gateway under measurement, pinned to core 0."""

    def __init__(self, feed: str, flags: list[str]) -> None:
        self.process = subprocess.Popen(
            [
                *("taskset", "-c", "0", *_EXECGATE, "gateway", "--listen", "127.0.0.1:0"),
                *("--feed", feed, "--feed-stale-s", "600", *flags),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        found = re.search(r"listen=(\S+):(\d+)", self.process.stdout.readline())
        assert found is not None, "the gateway did not start"
        self.port = int(found.group(2))
        self.is_tls = bool(flags)

    def stats(self) -> dict[str, Any]:
        """Return its figures."""
        connection: http.client.HTTPConnection
        if self.is_tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/stats", headers={"Connection": "close"})
        figures: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return figures

    def wait_for(self, connections: int) -> dict[str, Any]:
        """Wait until so many are connected; return its figures then."""
        deadline = time.monotonic() + 60
        while (figures := self.stats())["connections"] < connections:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {figures['connections']} of {connections} have connected")
            time.sleep(0.2)
        time.sleep(1.0)
        return self.stats()


def measure(flags: list[str], subscribers: int, rate: int, folder: str) -> dict[str, float]:
    """One run; return µs a delivery, KiB an idle connection, µs an accept."""
    feed = f"ipc://{folder}/feed-{time.monotonic_ns()}"
    feeder = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.feeder", str(rate), str(_SIZE), str(_SECONDS), "--zmq", feed],
        stdin=subprocess.PIPE,
    )
    gateway = Gateway(feed, flags)
    clients: list[subprocess.Popen[bytes]] = []
    try:

        def connect(count: int) -> None:
            scheme = "wss" if flags else "ws"
            clients.append(
                subprocess.Popen(
                    [
                        *(*_EXECGATE, "loadgen", "classic2012", "pubsub", "--insecure-tls"),
                        *("--url", f"{scheme}://127.0.0.1:{gateway.port}/ws", "--connect-timeout-ms", "5000"),
                        *("--step", str(_STEP), "--interval", "1", "--max-clients", str(count)),
                    ],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )

        connect(_WARM)
        before = gateway.wait_for(_WARM)
        connect(subscribers)
        idle = gateway.wait_for(_WARM + subscribers)
        assert feeder.stdin is not None
        feeder.stdin.write(b"\n")
        feeder.stdin.close()
        feeder.wait()
        time.sleep(0.5)
        after = gateway.stats()
        expected = rate * _SECONDS * (subscribers + _WARM)
        if after["delivered"] != expected:
            raise SystemExit(f"delivered {after['delivered']} of {expected}: the run is void")
        return {
            "delivery": (after["cpu_s"] - idle["cpu_s"]) * 1e6 / expected,
            "memory": (idle["rss_bytes"] - before["rss_bytes"]) / 1024 / subscribers,
            "accept": (idle["cpu_s"] - before["cpu_s"]) * 1e6 / subscribers,
        }
    finally:
        started: list[subprocess.Popen[Any]] = [*clients, feeder, gateway.process]
        for process in started:
            process.terminate()
            process.wait()


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tls", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=20, help="updates a second")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = f"{folder}/crt", f"{folder}/key"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            ],
            check=True,
            capture_output=True,
        )
        roads = {"plain": [], "TLS": ["--tls-cert", certificate, "--tls-key", key]}
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in roads}
        for number in range(chosen.rounds):
            for name, flags in roads.items():
                runs[name].append(measure(flags, chosen.subscribers, chosen.rate, folder))
                print(f"round {number + 1} {name}: {runs[name][-1]}", file=sys.stderr)
    print(f"{chosen.subscribers} subscribers x {chosen.rate}/s, {_SIZE} B, medians of {chosen.rounds};")
    print(f"Python {sys.version.split()[0]}, {ssl.OPENSSL_VERSION}, {os.uname().machine}\n")
    print("| | µs a delivery | KiB an idle connection | µs an accept |\n|---|---|---|---|")
    for name, figures in runs.items():
        medians = [statistics.median(run[what] for run in figures) for what in ("delivery", "memory", "accept")]
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in medians) + " |")


if __name__ == "__main__":
    main()
