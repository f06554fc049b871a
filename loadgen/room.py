"""What this machine has room for: open files, ports for each pair of addresses, cores. Asked by `run.py` at first.

A limit that is met in the middle of a run looks like a server that refuses; so it is refused before, with what
to do about it.
"""

import os
import resource
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from math import ceil
from pathlib import Path

import psutil

from execgate.wire.errors import UsageError
from loadgen.config import RunConfig
from loadgen.core.plan import Plan
from loadgen.core.target import Target

UPDATES_A_PROCESS = 20_000
ORDERS_A_PROCESS = 2_000
"""A second. A process is given more only where no core is left: 20,000 updates take a third of a core, however
many clients share them, and twice as many more than two (docs/loadgen.md)."""
UPDATES_ASSUMED = 20.0
"""A second, from a server of which nobody knows before what it sends."""
SPARE_FILES = 100
"""Descriptors that a process has besides those of its clients."""
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_NR_OPEN = Path("/proc/sys/fs/nr_open")


def raise_file_limit() -> int:
    """Let this process and its children open as many files as they may; return how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(_NR_OPEN.read_text()) if hard == resource.RLIM_INFINITY else hard
    if soft != most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def most_clients(plan: Plan) -> int:
    """Return how many clients there are at most at one time."""
    return max(stage.subscribers for stage in plan.stages) + plan.order_clients


def most_orders_per_s(plan: Plan) -> float:
    """Return how many orders a second are due at most; a burst counts as if it were spread over its period."""
    return max(
        stage.orders_per_s + (stage.burst / stage.burst_every_s if stage.burst else 0.0) for stage in plan.stages
    )


def how_many_processes(config: RunConfig, plan: Plan, targets: Sequence[Target]) -> int:
    """Return how many processes share the load.

    Raises:
        UsageError: they can't have as many descriptors as that many clients need; or are more than the clients.
    """
    clients = most_clients(plan)
    most = raise_file_limit()
    room_for = most - SPARE_FILES
    needed = ceil(clients / room_for) if room_for > 0 else 0
    if config.processes is None:
        updates = clients * (UPDATES_ASSUMED if config.local is None else config.local_rate)
        by_load = max(updates / UPDATES_A_PROCESS, most_orders_per_s(plan) / ORDERS_A_PROCESS)
        return max(1, needed, min(ceil(by_load), _spare_cores(config, targets)))
    if config.processes > clients:
        raise UsageError(f"--processes {config.processes}: more than the {clients} clients")
    _check_files("--processes {}", config.processes, clients, most)
    return config.processes


def check_local(plan: Plan, gateways: int) -> None:
    """Refuse more clients than the gateways of `--local` may have files open for.

    Raises:
        UsageError: says how many gateways it takes.
    """
    _check_files("--local publisher+{}", gateways, most_clients(plan), raise_file_limit())


def _check_files(option: str, processes: int, clients: int, most: int) -> None:
    """Refuse clients that do not fit into the `most` files of each of the processes that `option` asks for."""
    room_for = most - SPARE_FILES
    each = ceil(clients / processes)
    if each > room_for:
        needed = ceil(clients / room_for) if room_for > 0 else 0
        way_out = f"say {option.format(needed)}, or raise" if needed else "raise"
        raise UsageError(
            f"{option.format(processes)}: {each} clients and {SPARE_FILES} files more do not fit into the "
            f"{most} files that a process may open; {way_out} that limit (ulimit -Hn)"
        )


def check_servers(pids: Sequence[int]) -> None:
    """Refuse to watch a process that there is not.

    Raises:
        UsageError: names it.
    """
    for pid in pids:
        if not psutil.pid_exists(pid):
            raise UsageError(f"--server-pid {pid}: there is no such process; expected one of the server's, here")


def _spare_cores(config: RunConfig, targets: Sequence[Target]) -> int:
    """Return the cores that we may use; one less where the server is on this machine too."""
    is_here = bool(config.server_pid) or any(ip_address(target.host).is_loopback for target in targets)
    return len(os.sched_getaffinity(0)) - is_here


def ports() -> int:
    """Return how many ports the kernel gives to connections from one address to one other."""
    low, high = map(int, _PORT_RANGE.read_text().split())
    return high - low + 1


def check_ports(plan: Plan, targets: Sequence[Target], sources: Sequence[str]) -> None:
    """Refuse more clients than there are ports, of each source for each target.

    Args:
        plan: whose clients take turns at the targets and sources.
        targets: resolved.
        sources: addresses to connect from; none leaves one to the kernel.

    Raises:
        UsageError: says how many more sources it takes.
    """
    available, clients = ports(), most_clients(plan)
    pairs = len(set(targets)) * max(1, len(sources))
    each = ceil(clients / pairs)
    if each > available:
        wanted = ceil(clients / len(set(targets)) / available)
        raise UsageError(
            f"{clients} clients, of which {each} would connect from one address to one server, are more than the "
            f"{available} ports there are for that (net.ipv4.ip_local_port_range); give --source {wanted} times, "
            "such as --source 127.0.0.1 --source 127.0.0.2, or more of --url"
        )


def check_sources(sources: Sequence[str], targets: Sequence[Target]) -> None:
    """Refuse a source that is no address of this machine, or of another family than a target.

    Raises:
        UsageError: names it.
    """
    for source in sources:
        version = ip_address(source).version
        for target in targets:
            if ip_address(target.host).version != version:
                raise UsageError(f"--source {source}: the server's address, {target.host}, is not IPv{version}")
        with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET) as probe:
            try:
                probe.bind((source, 0))
            except OSError as error:
                raise UsageError(
                    f"--source {source}: not an address of this machine: {error.strerror or error}"
                ) from None
