"""Do others see what the load generator sees? Several tools at once on one gateway, a table of what each found.

`python -m benchmarks.agreement` starts a publisher and a gateway; then all tools listen at the same time, so that
each gets the same updates under the same conditions: `loadgen run`, the client of `raw_reader.py`, which also says
when the kernel had each update, and Artillery, from npm, if it is asked for. What came of it: docs/measuring.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.processes import CLIENT_CORE, SERVER_CORE, await_ready, free_port, process
from benchmarks.setup_peers import BENCH, HERE, SetupError

ARTILLERY = "2.0.21"
"""The last that we know to run on Node 18 and 20."""
_SPARE_S = 60.0


def artillery() -> Path:
    """Install Artillery into `.bench/artillery`, without what its packages would run; return its program.

    Raises:
        SetupError: there is no Node.js.
    """
    folder = BENCH / "artillery"
    program = folder / "node_modules" / "artillery" / "bin" / "run"
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise SetupError("no Node.js: apt-get install nodejs npm")
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        print("installing Artillery from npm: 590 MB, some minutes", file=sys.stderr)
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts"]
        subprocess.run([*command, f"artillery@{ARTILLERY}"], cwd=folder, check=True)
    return program


def scenario(port: int, clients: int) -> dict[str, Any]:
    """Return Artillery's settings: all clients within a second, each of which listens."""
    return {
        "config": {
            "target": f"ws://127.0.0.1:{port}/ws",
            "phases": [{"duration": 1, "arrivalCount": clients}],
            "processor": str(HERE / "peers" / "artillery_listen.js"),
        },
        "scenarios": [{"engine": "ws", "flow": [{"function": "listen"}]}],
    }


def of_loadgen(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's row from what `loadgen run --json` wrote."""
    latency = told["figures"]["latencies"]["delivery"]
    return {name: latency[name] for name in ("count", "p50", "p99")}


def of_artillery(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's row from what `artillery run --output` wrote, in microseconds."""
    found = told["aggregate"]["summaries"]["delivery_ms"]
    return {"count": found["count"], "p50": round(found["p50"] * 1000), "p99": round(found["p99"] * 1000)}


def measure(clients: int, rate: float, seconds: float, *, with_artillery: bool) -> dict[str, dict[str, Any]]:
    """Return what each tool found: count, p50 and p99 in microseconds."""
    warm_up_s = 8.0 if with_artillery else 2.0  # until the last of them has come
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, ours = free_port(), [sys.executable, "-m", "execgate"]
        feed, replay = f"ipc://{folder}/feed", f"ipc://{folder}/replay"
        publishing = [*ours, "publisher", "--rate", f"{rate:g}", "--pub", feed, "--replay", replay]
        await_ready(stack.enter_context(process(publishing, CLIENT_CORE)))
        serving = [*ours, "gateway", "--listen", f"127.0.0.1:{port}", "--feed", feed, "--replay", replay]
        await_ready(stack.enter_context(process(serving, SERVER_CORE)))
        out, output = folder / "loadgen.json", folder / "artillery.json"
        load = [*ours, "loadgen", "run", "--url", f"ws://127.0.0.1:{port}/ws", "--subscribers", str(clients)]
        load += ["--warm-up", f"{warm_up_s:g}", "--for", f"{seconds:g}", "--processes", "1", "--json", str(out)]
        tools = [stack.enter_context(process([*load, "--run-dir", str(folder)], CLIENT_CORE))]
        reader = [sys.executable, "-m", "benchmarks.raw_reader", str(port), str(clients)]
        tools.append(stack.enter_context(process([*reader, f"{warm_up_s:g}", f"{seconds:g}"], CLIENT_CORE)))
        if with_artillery:
            settings = folder / "artillery-settings.json"
            settings.write_text(json.dumps(scenario(port, clients)))
            command = ["node", str(artillery()), "run", "--quiet", "--output", str(output), str(settings)]
            environment = {
                "WARM_UP_S": f"{warm_up_s / 2:g}",
                "SECONDS": f"{seconds:g}",
                "ARTILLERY_DISABLE_TELEMETRY": "true",
            }
            tools.append(stack.enter_context(process(command, CLIENT_CORE, environment=environment)))
        for tool in tools:
            said, _ = tool.communicate(timeout=warm_up_s + seconds + _SPARE_S)
            if tool is tools[1]:
                found |= json.loads(said)
        found["loadgen"] = of_loadgen(json.loads(out.read_text()))
        if with_artillery:
            found["artillery"] = of_artillery(json.loads(output.read_text()))
    return found


WHAT = {
    "loadgen": "`execgate loadgen run`",
    "raw": "raw sockets, when a read returned",
    "alone": "... of these, updates that were alone in a read",
    "kernel": "... and when the kernel had those",
    "artillery": f"Artillery {ARTILLERY}",
}


def main() -> int:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__)
    parser.add_argument("--clients", type=int, default=50, help="of each tool (default 50)")
    parser.add_argument("--rate", type=float, default=20.0, help="updates a second (default 20)")
    parser.add_argument("--seconds", type=float, default=20.0, help="that are measured (default 20)")
    parser.add_argument("--artillery", action="store_true", help="with Artillery, installed on first use")
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        print("python -m benchmarks.agreement: needs two cores", file=sys.stderr)
        return 1
    try:
        if options.artillery:
            artillery()
        found = measure(options.clients, options.rate, options.seconds, with_artillery=options.artillery)
    except SetupError as error:
        print(f"python -m benchmarks.agreement: {error}", file=sys.stderr)
        return 1
    print("| who | samples | p50 ms | p99 ms |\n|---|---:|---:|---:|")
    for name, what in WHAT.items():
        if name in found:
            row = found[name]
            times = (f"{row[at] / 1000:.2f}" if row[at] is not None else "-" for at in ("p50", "p99"))
            print(f"| {what} | {row['count']:,} | {' | '.join(times)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
