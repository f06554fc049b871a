"""What TLS costs: a run of the gateway with clients that may speak it.

The clients are `execgate loadgen`, since the benchmarks' own knows no TLS. Memory and the cost of an accept are
those of idle connections, before the first update; the cost of a delivery is the gateway's CPU while updates come.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.case import Case
from benchmarks.columns import ACCEPT, COST, MEMORY
from benchmarks.processes import CLIENT_CORE, cpu_ns, gateway_stats, process, rss_bytes, tell
from benchmarks.running import Figures, Work, serving
from benchmarks.servers import Server
from benchmarks.setup_peers import BENCH, SetupError

_CERTIFICATE, _KEY = BENCH / "tls.crt", BENCH / "tls.key"
_FLAGS = ("--tls-cert", str(_CERTIFICATE), "--tls-key", str(_KEY))
_WARM = 20  # connections that are there before memory is read: what the first ones load is no connection's
_CONNECT_WITHIN_S = 60
_SPARE_S = 1


def measure(server: Server, work: Work) -> Figures:
    """Return µs a delivery, KiB an idle connection, µs an accept; over TLS if its flags have a certificate.

    Raises:
        SetupError: no certificate can be made.
        RuntimeError: not all clients have connected.
    """
    _make_certificate()
    is_tls = _FLAGS[0] in work.flags
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        schedule = [(work.rate, work.seconds)]
        program, port, feeder = stack.enter_context(serving(server, work, folder, schedule))

        def connect(count: int, in_all: int) -> tuple[int, int]:
            """Return memory and CPU once `in_all` are connected."""
            command = _client_command(port, count, work.connect_rate, is_tls)
            stack.enter_context(process(command, CLIENT_CORE, stdout=subprocess.DEVNULL))
            _wait_for(port, in_all, is_tls)
            return rss_bytes(program.pid), cpu_ns(program.pid)

        warm_rss, warm_ns = connect(_WARM, _WARM)
        idle_rss, idle_ns = connect(work.connections, _WARM + work.connections)
        tell(feeder, "go")
        feeder.wait()
        time.sleep(_SPARE_S)
        spent_ns = cpu_ns(program.pid) - idle_ns
        delivered = gateway_stats(port, is_tls=is_tls)["delivered"]
    expected = int(work.rate * work.seconds) * (_WARM + work.connections)
    return {
        "us_per_item": spent_ns / 1000 / delivered if delivered else None,
        "kib_per_connection": (idle_rss - warm_rss) / 1024 / work.connections,
        "accept_us": (idle_ns - warm_ns) / 1000 / work.connections,
        "void": "" if delivered == expected else f"delivered {delivered:,} of {expected:,}",
    }


def _make_certificate() -> None:
    if _CERTIFICATE.exists() and _KEY.exists():
        return
    BENCH.mkdir(exist_ok=True)
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "3650", "-subj", "/CN=localhost"]
    command = ["openssl", "req", "-x509", "-nodes", *kind, "-keyout", str(_KEY), "-out", str(_CERTIFICATE)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise SetupError("no openssl command: apt-get install openssl") from None
    except subprocess.CalledProcessError as error:
        raise SetupError(f"openssl made no certificate: {error.stderr.strip()}") from None


def _client_command(port: int, count: int, connect_rate: int, is_tls: bool) -> list[str]:
    url = f"{'wss' if is_tls else 'ws'}://127.0.0.1:{port}/ws"
    pace = ["--step", str(connect_rate), "--interval", "1", "--max-clients", str(count)]
    command = [sys.executable, "-m", "execgate", "loadgen", "classic2012", "pubsub", "--insecure-tls"]
    return [*command, "--url", url, "--connect-timeout-ms", "5000", *pace]


def _wait_for(port: int, connections: int, is_tls: bool) -> None:
    deadline = time.monotonic() + _CONNECT_WITHIN_S
    while (connected := gateway_stats(port, is_tls=is_tls)["connections"]) < connections:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {connected} of {connections} have connected in {_CONNECT_WITHIN_S} s")
        time.sleep(0.2)
    time.sleep(_SPARE_S)


def _work(*flags: str) -> Work:
    return Work(1_000, 20, 10, connect_rate=100, flags=flags)


TLS = Case(
    "tls",
    "1,000 x 20/s of 500 B over TLS: CPU a delivery and an accept, memory",
    (COST, MEMORY, ACCEPT),
    None,
    variants={"plain": _work(), "TLS": _work(*_FLAGS)},
    note="The clients are `execgate loadgen`; connections are idle while their memory is read.",
    reference="plain",
    measure=measure,
)
