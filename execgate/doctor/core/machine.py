"""PURE: the limits of a machine, judged by what today's kernel does with them.

The list of 2012 is where it began (docs/operations.md, "Doctor", has both side by side). `execgate.doctor.reading`
reads the facts; what can't be read is None here, and is no finding of ours to make up.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from execgate.doctor.core.finding import LIMITS, NOTE, OK, UNKNOWN, Finding

RESERVED_DESCRIPTORS = 100
"""Of a process, beside its connections: listeners, ZeroMQ, journal, epoll, standard streams. A gateway has 28."""
USER_BYTES = 32 * 1024
"""Of a gateway for a connection: 2.4 KiB idle (docs/benchmarks.md, idle-15000), and room for what waits for it.
Where many are slow it is more, up to outbound_total_mib in all."""
KERNEL_BYTES = 8 * 1024
"""Of the kernel, for an idle connection at one end: socket, file, inode, dentry, epoll item."""
KERNEL_PAGES = 4
"""Of 4 KiB, charged to tcp_mem for a connection that is sent to: one first send buffer of 16 KiB (tcp_wmem)."""
SLOW_BUFFER_BYTES = 16 * 2**20
"""The most that one slow client may hold in a send buffer, before it is a matter of note."""
SYSCTL_FILE = "etc/sysctl.d/60-execgate.conf"
SYSCTL_FIX = f"{SYSCTL_FILE} does this: sudo ./run install, or copy it to /etc/sysctl.d/; then: sysctl --system"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read; bytes, pages and counts as the kernel says them.

    Attributes:
        soft_files, hard_files: of this process; 2**63 - 1 and more for unlimited.
        files_used, file_max: of the machine.
        port_range: the lowest and the highest local port.
        tcp_mem: low, pressure, high, in pages.
        softnet_drops: packets that no CPU took in time, since boot.
        conntrack_max, conntrack_count: None where the module is not loaded.
        governors: of the CPUs, none where there is no frequency scaling.
        memory_available: bytes, of the machine.
        cgroup_memory: bytes, the least of all groups above this process; None for no limit.
        cgroup_cpus: cores, in the same way.
        cgroup_pids: processes and threads, in the same way.
        huge_pages: always, madvise or never.
    """

    soft_files: int
    hard_files: int
    workers: int
    cores: int
    nr_open: int | None = None
    file_max: int | None = None
    files_used: int | None = None
    port_range: tuple[int, int] | None = None
    somaxconn: int | None = None
    syn_backlog: int | None = None
    netdev_backlog: int | None = None
    softnet_drops: int | None = None
    rmem: tuple[int, int, int] | None = None
    wmem: tuple[int, int, int] | None = None
    rmem_max: int | None = None
    wmem_max: int | None = None
    tcp_mem: tuple[int, int, int] | None = None
    migrate: int | None = None
    tw_buckets: int | None = None
    swappiness: int | None = None
    min_free_kib: int | None = None
    conntrack_max: int | None = None
    conntrack_count: int | None = None
    governors: tuple[str, ...] = ()
    clock_source: str | None = None
    memory_available: int | None = None
    memory_total: int | None = None
    cgroup_memory: int | None = None
    cgroup_cpus: float | None = None
    cgroup_pids: int | None = None
    huge_pages: str | None = None


def judge_machine(facts: Facts, connections: int) -> list[Finding]:
    """Return what was found of each limit, in the order in which connections meet them."""
    return [
        *_files(facts, connections),
        *_accepting(facts),
        *_ports(facts, connections),
        *_buffers(facts, connections),
        *_memory(facts, connections),
        *_processor(facts),
    ]


def _files(facts: Facts, connections: int) -> Iterator[Finding]:
    each = -(-connections // facts.workers) + RESERVED_DESCRIPTORS
    wanted = f"{each:,}" + (f" in each of {facts.workers} workers" if facts.workers > 1 else "")
    unit = f"LimitNOFILE={each} in a unit"
    room = max(0, facts.soft_files - RESERVED_DESCRIPTORS)
    yield _bound(
        "open files, soft limit",
        _unlimited(facts.soft_files),
        wanted,
        room * facts.workers,
        connections,
        limits="connections of one process",
        fix=f"ulimit -n {each} before the program is started, or {unit}",
        client=room,
    )
    room = max(0, facts.hard_files - RESERVED_DESCRIPTORS)
    yield _bound(
        "open files, hard limit",
        _unlimited(facts.hard_files),
        wanted,
        room * facts.workers,
        connections,
        limits="what ulimit -n may be raised to",
        fix=f"{unit}; for a shell '* hard nofile {each}' in /etc/security/limits.d/60-execgate.conf, then log in",
        client=room,
    )
    if facts.nr_open is not None:
        yield _bound(
            "fs.nr_open",
            f"{facts.nr_open:,}",
            wanted,
            max(0, facts.nr_open - RESERVED_DESCRIPTORS) * facts.workers,
            connections,
            limits="what a hard limit may be raised to",
            fix=f"sysctl -w fs.nr_open={each}",
        )
    if facts.file_max is not None:
        room = max(0, facts.file_max - (facts.files_used or 0))
        yield _bound(
            "fs.file-max",
            f"{facts.file_max:,}, {facts.files_used or 0:,} in use",
            f"{connections:,} free",
            room,
            connections,
            limits="open files of the whole machine",
            fix=f"sysctl -w fs.file-max={(facts.files_used or 0) + 2 * connections}",
            client=room,
        )


def _accepting(facts: Facts) -> Iterator[Finding]:
    yield _least(
        "net.core.somaxconn",
        facts.somaxconn,
        4096,
        "how many may connect at once, while a gateway is busy",
        SYSCTL_FIX,
    )
    yield _least(
        "net.ipv4.tcp_max_syn_backlog", facts.syn_backlog, 2048, "TCP handshakes under way at once", SYSCTL_FIX
    )
    migrate = facts.migrate
    yield Finding(
        "net.ipv4.tcp_migrate_req",
        _told(migrate),
        "1",
        UNKNOWN if migrate is None else OK if migrate else NOTE,
        "a restart of one of several gateways on a port: who waits in its queue is reset"
        if migrate != 1
        else "nothing",
        "" if migrate else SYSCTL_FIX,
    )
    drops = facts.softnet_drops or 0
    backlog = facts.netdev_backlog
    yield Finding(
        "net.core.netdev_max_backlog",
        f"{_told(backlog)}, {drops:,} packets dropped since boot",
        "no drops",
        UNKNOWN if backlog is None else NOTE if drops else OK,
        "packets that wait for a CPU",
        f"sysctl -w net.core.netdev_max_backlog={2 * (backlog or 1000)}, if the drops grow" if drops else "",
    )


def _ports(facts: Facts, connections: int) -> Iterator[Finding]:
    if facts.port_range is not None:
        low, high = facts.port_range
        yield _bound(
            "net.ipv4.ip_local_port_range",
            f"{low} {high}",
            f"{connections:,} ports",
            None,
            connections,
            limits="connections from one address of this machine to one address and port",
            fix=SYSCTL_FIX
            if connections <= 55_000
            else "more addresses, at either end: one has 64,000 ports at most",
            client=max(0, high - low + 1),
        )
    if facts.conntrack_max is not None:
        room = max(0, facts.conntrack_max - (facts.conntrack_count or 0))
        yield _bound(
            "nf_conntrack_max",
            f"{facts.conntrack_max:,}, {facts.conntrack_count or 0:,} in use",
            f"{connections:,} free",
            room,
            connections,
            limits="connections that the firewall keeps track of; beyond, packets are dropped",
            fix=f"sysctl -w net.netfilter.nf_conntrack_max={2 * connections + (facts.conntrack_count or 0)}",
            client=room,
        )
    yield Finding(
        "net.ipv4.tcp_max_tw_buckets",
        _told(facts.tw_buckets),
        "as it is",
        UNKNOWN if facts.tw_buckets is None else OK,
        "nothing: the kernel computes it from memory",
    )


def _buffers(facts: Facts, connections: int) -> Iterator[Finding]:
    for name, triple, advice in (("tcp_wmem", facts.wmem, 4 * 2**20), ("tcp_rmem", facts.rmem, 6 * 2**20)):
        if triple is None:
            continue
        least, first, most = triple
        is_large = most > SLOW_BUFFER_BYTES
        what = "slow client" if name == "tcp_wmem" else "client that sends faster than we read"
        yield Finding(
            f"net.ipv4.{name}",
            f"{least} {first} {most}",
            f"at most {SLOW_BUFFER_BYTES // 2**20} MiB",
            NOTE if is_large else OK,
            f"kernel memory that one {what} may hold: {most / 2**20:.0f} MiB",
            f"sysctl -w net.ipv4.{name}='{least} {first} {advice}'" if is_large else "",
        )
    for name, value in (("rmem_max", facts.rmem_max), ("wmem_max", facts.wmem_max)):
        yield Finding(
            f"net.core.{name}",
            _told(value),
            "as it is",
            UNKNOWN if value is None else OK,
            "only what a program asks for itself (--send-buffer-kib): else tcp_wmem and tcp_rmem hold",
        )
    if facts.tcp_mem is not None:
        pressure = facts.tcp_mem[1]
        yield _bound(
            "net.ipv4.tcp_mem",
            " ".join(map(str, facts.tcp_mem)),
            f"{connections * KERNEL_PAGES:,} pages in the middle",
            pressure // KERNEL_PAGES,
            connections,
            limits="memory of all TCP buffers, in pages; beyond the middle the kernel shrinks them",
            fix="more memory: the kernel computes it from that",
            client=pressure // KERNEL_PAGES,
        )


def _memory(facts: Facts, connections: int) -> Iterator[Finding]:
    each = USER_BYTES + KERNEL_BYTES
    for name, value, fix in (
        ("memory available", facts.memory_available, "more memory, or less beside it"),
        (
            "memory of the control group",
            facts.cgroup_memory,
            "MemoryMax= of the unit, or --memory of the container",
        ),
    ):
        if value is None:
            if name.startswith("memory a"):
                yield Finding(name, "unknown", "", UNKNOWN, "all")
            continue
        yield _bound(
            name,
            _mebibytes(value),
            _mebibytes(connections * each),
            value // each,
            connections,
            limits=f"connections, at {each // 1024} KiB each (an estimate: nobody slow, small messages)",
            fix=fix,
            client=value // each,
        )
    if facts.cgroup_pids is not None:
        needed = 8 * (facts.workers + 1)
        yield Finding(
            "processes of the control group",
            f"{facts.cgroup_pids:,}",
            f"{needed}",
            OK if facts.cgroup_pids >= needed else LIMITS,
            "processes and threads: a worker has 5",
            ""
            if facts.cgroup_pids >= needed
            else f"TasksMax={needed} of the unit, or --pids-limit of the container",
            None if facts.cgroup_pids >= needed else 0,
        )
    swappiness = facts.swappiness
    eager = swappiness is not None and swappiness > 30
    yield Finding(
        "vm.swappiness",
        _told(swappiness),
        "10",
        UNKNOWN if swappiness is None else NOTE if eager else OK,
        "latency, once memory is short: a daemon that is swapped out stands still",
        SYSCTL_FIX if eager else "",
    )
    yield Finding(
        "vm.min_free_kbytes",
        _told(facts.min_free_kib),
        "as it is",
        UNKNOWN if facts.min_free_kib is None else OK,
        "nothing: the kernel computes it from memory",
    )
    always = facts.huge_pages == "always"
    yield Finding(
        "transparent huge pages",
        facts.huge_pages or "unknown",
        "madvise",
        UNKNOWN if facts.huge_pages is None else NOTE if always else OK,
        "memory: small heaps take whole 2 MiB pages" if always else "nothing",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled" if always else "",
    )


def _processor(facts: Facts) -> Iterator[Finding]:
    others = sorted(set(facts.governors) - {"performance"})
    yield Finding(
        "CPU governor",
        ", ".join(sorted(set(facts.governors))) or "none: no frequency scaling",
        "performance",
        NOTE if others else OK,
        "latency: a core that was idle begins slowly" if others else "nothing",
        "cpupower frequency-set -g performance" if others else "",
    )
    slow = facts.clock_source in ("hpet", "acpi_pm", "jiffies", "refined-jiffies")
    yield Finding(
        "clock source",
        facts.clock_source or "unknown",
        "tsc, or the hypervisor's own",
        UNKNOWN if facts.clock_source is None else NOTE if slow else OK,
        "each look at the clock is a system call, several for each message" if slow else "nothing",
        "tsc=reliable on the kernel's command line, if the machine's is" if slow else "",
    )
    cpus = facts.cgroup_cpus
    short = cpus is not None and cpus < facts.workers
    yield Finding(
        "CPU",
        f"{facts.cores} cores" + ("" if cpus is None else f", of which the control group may use {cpus:g}"),
        f"a core for each of {facts.workers} workers",
        NOTE if short or facts.cores < facts.workers else OK,
        "deliveries a second; a group that has used its share stands still for the rest of 100 ms"
        if short
        else "deliveries a second",
        "CPUQuota= of the unit, or --cpus of the container" if short else "",
    )


def _bound(
    name: str,
    found: str,
    wanted: str,
    server: int | None,
    connections: int,
    *,
    limits: str,
    fix: str,
    client: int | None = None,
) -> Finding:
    """Return a finding about a limit on the number of connections: it is too low, or fine."""
    is_low = any(bound is not None and bound < connections for bound in (server, client))
    return Finding(name, found, wanted, LIMITS if is_low else OK, limits, fix if is_low else "", server, client)


def _least(name: str, value: int | None, wanted: int, limits: str, fix: str) -> Finding:
    """Return a finding about something that should be at least so much, and limits no number of connections."""
    level = UNKNOWN if value is None else OK if value >= wanted else NOTE
    return Finding(name, _told(value), f"{wanted:,}", level, limits, "" if level == OK else fix)


def _told(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _unlimited(value: int) -> str:
    return "unlimited" if value >= 2**62 else f"{value:,}"


def _mebibytes(value: int) -> str:
    return f"{value / 2**20:,.0f} MiB"
