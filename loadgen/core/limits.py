"""PURE: which resource ended a search for capacity: told from the health figures of the trial that did not hold.

A resource is named by how full it was. Where none was full the answer is "unknown": a queue also grows behind a
timer, a lock, or a burst of many messages at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadgen.core.search import UNBELIEVABLE
from loadgen.core.verdict import STEAL_SHARE

SERVER_CPU, CLIENT, KERNEL, NETWORK = "server CPU", "client", "kernel", "network"
MACHINE, SERVER_LIMIT, UNKNOWN = "the machine's CPU", "a limit of the server's own", "unknown"
FULL, NEARLY = 0.90, 0.70
"""Of a resource. Over a second a thread that never waits shows 0.95 to 1: the rest is when a record ends."""
PACKETS = 0.25
"""Of a busy machine's CPU time spent on packets (softirq): from here on the kernel's share is worth a word."""
OTHERS = 0.25
"""Of a core, used by other programs: less is what any machine does beside."""
_APART = 0.15
_SERVER_SAID_NO = ("connect handshake", "closed 1008", "closed 1013", "closed 4108")


@dataclass(frozen=True, slots=True)
class Host:
    """What this machine's kernel counted during a trial.

    Attributes:
        listen_drops: connections that a full accept queue turned away, of all programs here.
        packet_drops: packets that no CPU took in time (softnet).
        network_share: of the busiest real network interface; None where its speed is unknown or all is local.
    """

    listen_drops: int = 0
    packet_drops: int = 0
    network_share: float | None = None


@dataclass(frozen=True, slots=True)
class Limiting:
    """What ended it: a `resource`, how sure that is (high, fair, low, none), and the figures that say so."""

    resource: str
    confidence: str
    why: str


def limiting(outcome: str, figures: Mapping[str, Any], host: Host, cores: int) -> Limiting:
    """Return what was short in a trial that did not hold.

    Args:
        outcome: of the trial.
        figures: `Figures.as_dict` of it.
        host: counted on the load generator's machine.
        cores: of that machine.
    """
    client, server, errors = figures["client"], figures["server"], figures["errors"]
    if outcome == UNBELIEVABLE and any(kind in errors for kind in _OUT_OF):
        return Limiting(CLIENT, "high", "it ran out of descriptors or ports; `execgate doctor` says what to set")
    # The kernel counts those of all programs here: where ours were all let in, they were others'.
    if host.listen_drops and any(kind.startswith("connect ") for kind in errors):
        why = f"{host.listen_drops:,} connections met a full accept queue (somaxconn, or the server's backlog)"
        return Limiting(KERNEL, "high" if server is not None else "fair", why)
    said_no = {kind: errors[kind] for kind in _SERVER_SAID_NO if kind in errors}
    full = _shares(client, server, host)
    (first, share), *others = sorted(full.items(), key=lambda one: -one[1])
    if said_no and share < FULL:
        why = ", ".join(f"{kind}: {count:,}" for kind, count in said_no.items())
        return Limiting(SERVER_LIMIT, "high", f"{why}; nothing was full ({_told(full)})")
    told = _told(full)
    if share < NEARLY:
        return _machine(client, server, cores, told)
    clear = share - max((one for _, one in others), default=0.0) >= _APART
    confidence = "high" if share >= FULL and clear else "fair" if share >= FULL else "low"
    if server is None:
        told += "; the server's CPU is not known, --server-pid tells of it"
        confidence = "low" if first != CLIENT else confidence
    if host.packet_drops:
        told += f"; {host.packet_drops:,} packets were dropped before a CPU took them"
    return Limiting(first, confidence, told)


_OUT_OF = ("connect out of file descriptors", "connect eaddrnotavail")


def _shares(client: Mapping[str, Any], server: Mapping[str, Any] | None, host: Host) -> dict[str, float]:
    """Return how full each resource was that has an end of its own."""
    shares = {CLIENT: client["cpu_share_greatest"]}
    if server is not None:
        shares[SERVER_CPU] = server["thread_share"]
    if host.network_share is not None:
        shares[NETWORK] = host.network_share
    return shares


def _told(shares: Mapping[str, float]) -> str:
    words = {CLIENT: "of a core, the load generator", SERVER_CPU: "of a core, the server's busiest thread"}
    return ", ".join(
        f"{share:.0%} {words.get(name, 'of the network interface')}" for name, share in shares.items()
    )


def _machine(client: Mapping[str, Any], server: Mapping[str, Any] | None, cores: int, told: str) -> Limiting:
    """No thread and no network was full: all of the machine may have been, shared by many."""
    busy, softirq = client["machine_busy_share"], client["softirq_share"]
    if busy < FULL:
        advice = "" if server is not None else "; say --server-pid"
        return Limiting(UNKNOWN, "none", f"nothing was full: {told}, the machine {busy:.0%} busy{advice}")
    if softirq >= PACKETS * busy:
        return Limiting(KERNEL, "fair", f"the machine was {busy:.0%} busy, {softirq:.0%} with packets (softirq)")
    if server is None:
        why = f"{busy:.0%} of {cores} cores: the load generator took {client['cpu_share']:.2f} of a core"
        return Limiting(MACHINE, "low", f"{why}; --server-pid tells what the server took")
    if why := disturbance(client, server, cores):
        return Limiting(MACHINE, "low", why)
    return Limiting(MACHINE, "fair", _who_took(client, server, cores))


def _who_took(client: Mapping[str, Any], server: Mapping[str, Any], cores: int) -> str:
    busy, others = client["machine_busy_share"], max(0.0, _others(client, server, cores))
    return (
        f"{busy:.0%} of {cores} cores: the load generator took {client['cpu_share']:.2f} of a core, "
        f"the server {server['cpu_share']:.2f}, others {others:.2f}"
    )


def _others(client: Mapping[str, Any], server: Mapping[str, Any], cores: int) -> float:
    """Return the cores that neither of the two had, nor the kernel for packets, which are theirs."""
    others_share = client["machine_busy_share"] - client["softirq_share"]
    return float(others_share * cores - client["cpu_share"] - server["cpu_share"])


def disturbance(client: Mapping[str, Any], server: Mapping[str, Any] | None, cores: int) -> str:
    """Return what else had more of the machine than load generator and server together; "" where nothing had.

    Args:
        client: of `Figures.as_dict`.
        server: of the same; what one took that nobody watches is not known.
        cores: of the machine.
    """
    if client["steal_share"] >= STEAL_SHARE.invalid:
        return f"the hypervisor gave {client['steal_share']:.0%} of this machine to others"
    if server is None:
        return ""
    others = _others(client, server, cores)
    if others < OTHERS or others <= client["cpu_share"] + server["cpu_share"]:
        return ""
    return f"{_who_took(client, server, cores)}: something else ran here"
