"""One run: a server on its core, the client and the feeder on the other; what the server cost meanwhile."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.feeder import content_hash, contents_of
from benchmarks.processes import (
    CLIENT_CORE,
    SERVER_CORE,
    Process,
    await_ready,
    cpu_ns,
    free_port,
    gateway_stats,
    lines_of,
    process,
    rss_bytes,
    tell,
)
from benchmarks.servers import OURS, Server
from benchmarks.setup_peers import build_c

Figures = dict[str, Any]

WARM_S = 2  # the client does not count its first two seconds
_HEAD_BYTES = 4  # of a frame of 126 to 65,535 bytes
_BEHIND = "feeder.stderr"
_SPARE_S = 2  # the feed lasts so much longer than the client counts


def silent(_index: int) -> tuple[str, ...]:
    """Say nothing once connected."""
    return ()


def take_only(topics: Sequence[str], mode: str = "all") -> tuple[str, ...]:
    """What a client says to take `topics` alone; it has been subscribed to everything at connect."""
    names = ",".join(f'"{topic}"' for topic in topics)
    data = f'{{"topics":[{names}],"mode":"{mode}"}}'
    return ('{"event":"unsubscribe-execs"}', f'{{"event":"subscribe-execs","data":{data}}}')


@dataclass(frozen=True)
class Work:
    """What a server is put through.

    Attributes:
        connections, connect_rate: how many clients, and how many new ones a second.
        rate: updates a second; 0 for none.
        seconds: measured, after two that are not.
        size: bytes of an update's data, exactly.
        rows: not `size` bytes but so many random rows of 2012 each.
        orders: "" for none, "closed", or a number a second.
        topics, taken: how many topics the updates rotate over, and how many of them each client takes.
        say: returns what the client of an index says once connected; the lagging come first.
        stuck, slow: how many of the connections never read, and read 20 KB/s; these are not measured.
        skimmed: how many of the others are read but not looked into, which spares the client.
        deflate: whether clients offer permessage-deflate.
        flags: more flags for our gateway.
    """

    connections: int
    rate: float
    seconds: float
    size: int = 500
    rows: int | None = None
    connect_rate: int = 2_000
    orders: str = ""
    topics: int = 1
    taken: int = 1
    say: Callable[[int], Sequence[str]] = silent
    stuck: int = 0
    slow: int = 0
    skimmed: int = 0
    deflate: bool = False
    flags: tuple[str, ...] = ()


def run(server: Server, work: Work, on_start: Callable[[int], None] | None = None) -> Figures:
    """Run `work` against `server` once; return the client's figures and the server's cost.

    Args:
        server: which.
        work: what it is put through.
        on_start: called with the server's pid when the measuring begins.
    """
    schedule = [(work.rate, WARM_S + work.seconds + _SPARE_S)]
    marks: dict[str, int] = {}
    figures: Figures = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program, port, feeder = stack.enter_context(serving(server, work, folder, schedule))
        idle_rss, cpu_before_ramp = rss_bytes(program.pid), cpu_ns(program.pid)
        command = client_command(server, work, port, work.seconds, folder)
        client = stack.enter_context(process(command, CLIENT_CORE, stdin=subprocess.PIPE))
        for line in lines_of(client):
            word = line.split(" ", 1)[0]
            if word == "connected":
                marks["ramp_cpu_ns"] = cpu_ns(program.pid) - cpu_before_ramp
                tell(feeder, "go")
            elif word in ("start", "end"):
                marks[word] = cpu_ns(program.pid)
                marks[f"feeder_{word}"] = cpu_ns(feeder.pid)
                if word == "start" and on_start is not None:
                    on_start(program.pid)
            elif line.startswith("{"):
                figures = json.loads(line)
                break
        if not figures:
            raise RuntimeError(f"{server.name}: the client ended without figures")
        marks["rss_growth"] = rss_bytes(program.pid) - idle_rss
        policies = policies_used(port) if server.name == OURS else {}
        behind = {"feed_behind_us": feed_behind_us(folder)}
    return {**figures, **_cost(figures, marks, work), **policies, **behind}


def feed_behind_us(folder: Path) -> int:
    """Return by how much the feeder fell behind its schedule so far, at worst, by no fault of the server's.

    Raises:
        RuntimeError: it said something else.
    """
    said = (folder / _BEHIND).read_text().split("\n")[:-1]
    if not all(line.isdigit() for line in said):
        raise RuntimeError(f"the feeder failed: {said[-1]}")
    return max(map(int, said), default=0)


def policies_used(port: int) -> Figures:
    """Return what our gateway has done to those who do not keep up, and to itself."""
    stats = gateway_stats(port)
    return {
        "closed_slow": stats["closes"].get("4108", 0),
        "dropped": stats["dropped"],
        "queued_bytes": stats["queued_bytes"],
        "feed_missing": stats["feed"].get("missing", 0),
    }


def _cost(figures: Figures, marks: dict[str, int], work: Work) -> Figures:
    cpu_us = (marks["end"] - marks["start"]) / 1000
    feeder_s = (marks["feeder_end"] - marks["feeder_start"]) / 1e9
    readers = work.connections - work.stuck - work.slow
    expected = work.rate * work.seconds * readers * min(1.0, work.taken / work.topics)
    message_bytes = figures["bytes"] / figures["messages"] if figures["messages"] else None
    skimmed = figures["skimmed_bytes"] / (message_bytes + _HEAD_BYTES) if message_bytes else 0
    delivered = figures["messages"] + skimmed
    done = figures["orders_answered"] if work.orders else delivered
    connected = max(1, figures["connected"])
    return {
        "server_cpu_us": cpu_us,
        "us_per_item": cpu_us / done if done else None,
        "us_per_update": cpu_us / (work.rate * work.seconds),
        "bytes_per_item": message_bytes,
        "delivered_share": delivered / expected if expected else None,
        "accept_us": marks["ramp_cpu_ns"] / 1000 / connected,
        "kib_per_connection": marks["rss_growth"] / 1024 / connected,
        "client_core_busy": (figures["client_cpu_s"] + feeder_s) / figures["seconds"],
        "server_busy": cpu_us / 1e6 / figures["seconds"],
    }


@contextmanager
def serving(
    server: Server, work: Work, folder: Path, schedule: Sequence[tuple[float, float]]
) -> Iterator[tuple[Process, int, Process]]:
    """Start a server that is ready, and its feeder; yield it, its port, and the feeder, which awaits a line.

    Args:
        server: which.
        work: how the updates look, and the flags of our gateway.
        folder: for the socket of the feed, and what `feed_behind_us` reads.
        schedule: updates a second, and for how many seconds, one after the other.
    """
    port = free_port()
    feed = f"ipc://{folder}/feed"
    command = server.command(port)
    if server.name == OURS:
        command = [*command, "--feed", feed, *work.flags]
    with ExitStack() as stack:
        behind = stack.enter_context((folder / _BEHIND).open("w"))
        road = ["--zmq", feed] if server.name == OURS else []
        feeder = stack.enter_context(
            process(feeder_command(work, schedule, *road), CLIENT_CORE, stdin=subprocess.PIPE, stderr=behind)
        )
        given = subprocess.DEVNULL if server.name == OURS else feeder.stdout
        program = stack.enter_context(process(command, SERVER_CORE, given, environment=server.environment()))
        await_ready(program)
        yield program, port, feeder


def feeder_command(work: Work, schedule: Sequence[tuple[float, float]], *road: str) -> list[str]:
    """Return the command line of the source of updates."""
    phases = ",".join(f"{rate}x{seconds}" for rate, seconds in schedule)
    shape = ["--size", str(work.size)] if work.rows is None else ["--rows", str(work.rows)]
    return [sys.executable, "-m", "benchmarks.feeder", phases, *shape, "--topics", str(work.topics), *road]


def client_command(
    server: Server,
    work: Work,
    port: int | str,
    seconds: float,
    folder: Path,
    *options: str,
    contents: Sequence[str] | None = None,
) -> list[str]:
    """Return the command line of the client; what connections say is written to `folder`.

    Several ports, separated by commas, are those of several servers, to which connections go in turn. The execs of
    updates are `contents` in turn, or else those that the feeder makes of `work`.
    """
    if contents is None:
        contents = contents_of(work.size, work.rows)
    said = [[*server.say, *work.say(index)] for index in range(work.connections)]
    lines = folder / "say"
    lines.write_text("".join("\t".join(texts) + "\n" for texts in said))
    given = {
        "connect-rate": work.connect_rate,
        "path": server.path,
        "say": lines,
        "expect": ",".join(f"{content_hash(execs):x}" for execs in contents),
        "stuck": work.stuck,
        "slow": work.slow,
        "skim": work.skimmed,
        "deflate": int(work.deflate),
        **({"orders": work.orders} if work.orders else {}),
    }
    pairs = [str(word) for pair in given.items() for word in pair]
    address = ["127.0.0.1", str(port), str(work.connections), str(seconds)]
    return [str(build_c("client")), *address, *pairs, *options]
