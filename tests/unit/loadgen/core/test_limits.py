"""Which resource is named for a trial that did not hold, from its figures."""

from typing import Any

import pytest

from loadgen.core.limits import (
    CLIENT,
    KERNEL,
    MACHINE,
    NETWORK,
    SERVER_CPU,
    SERVER_LIMIT,
    UNKNOWN,
    Host,
    disturbance,
    limiting,
)
from loadgen.core.search import FAILED, UNBELIEVABLE


def figures(
    client: float = 0.2,
    thread: float | None = 0.3,
    busy: float = 0.5,
    softirq: float = 0.05,
    steal: float = 0.0,
    **errors: int,
) -> dict[str, Any]:
    server = None if thread is None else {"cpu_share": thread, "thread_share": thread, "rss_bytes": 1}
    shares = {
        "cpu_share": client,
        "cpu_share_greatest": client,
        "machine_busy_share": busy,
        "softirq_share": softirq,
        "steal_share": steal,
    }
    return {"client": shares, "server": server, "errors": {key.replace("_", " "): n for key, n in errors.items()}}


@pytest.mark.parametrize(
    ("given", "host", "resource", "confidence", "why"),
    [
        (figures(thread=0.97), Host(), SERVER_CPU, "high", "97% of a core, the server's busiest thread"),
        (figures(thread=0.97, client=0.9), Host(), SERVER_CPU, "fair", "90% of a core, the load generator"),
        (figures(thread=0.75), Host(), SERVER_CPU, "low", "75%"),
        (figures(client=0.99), Host(), CLIENT, "high", "99% of a core, the load generator"),
        (figures(client=0.99, thread=None), Host(), CLIENT, "high", "--server-pid"),
        (figures(), Host(network_share=0.98), NETWORK, "high", "98% of the network interface"),
        (figures(thread=None), Host(network_share=0.98), NETWORK, "low", "--server-pid"),
        (
            figures(thread=0.97, connect_timeout=7),
            Host(listen_drops=7),
            KERNEL,
            "high",
            "7 connections met a full",
        ),
        (figures(thread=0.97), Host(listen_drops=7), SERVER_CPU, "high", "97%"),
        (figures(thread=0.97), Host(packet_drops=7), SERVER_CPU, "high", "7 packets were dropped"),
        (figures(busy=0.99, softirq=0.4), Host(), KERNEL, "fair", "40% with packets"),
        (figures(client=0.6, thread=0.6, busy=0.99, softirq=0.1), Host(), MACHINE, "fair", "99% of 2 cores"),
        (figures(busy=0.99), Host(), MACHINE, "low", "others 1.38: something else ran here"),
        (figures(thread=None, busy=0.99), Host(), MACHINE, "low", "--server-pid"),
        (figures(connect_handshake=3), Host(), SERVER_LIMIT, "high", "connect handshake: 3"),
        (figures(connect_handshake=3, thread=0.97), Host(), SERVER_CPU, "high", "97%"),
        (figures(), Host(), UNKNOWN, "none", "nothing was full"),
        (figures(thread=None), Host(), UNKNOWN, "none", "say --server-pid"),
    ],
)
def test_what_was_full_is_named(given: Any, host: Host, resource: str, confidence: str, why: str) -> None:
    found = limiting(FAILED, given, host, 2)
    assert (found.resource, found.confidence) == (resource, confidence)
    assert why in found.why


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            figures(client=0.1, thread=0.1, busy=0.5),
            "the load generator took 0.10 of a core, the server 0.10, others 0.70",
        ),
        (figures(client=0.1, thread=0.1, busy=0.2), ""),  # a fifth of a core is what any machine does beside
        (figures(client=0.5, thread=0.5, busy=0.9), ""),  # the two had more of it
        (figures(client=0.1, thread=0.1, busy=0.5, softirq=0.4), ""),  # packets are theirs
        (figures(client=0.1, thread=None, busy=0.9), ""),  # who knows what the server took
        (figures(client=0.1, thread=None, busy=0.9, steal=0.06), "the hypervisor gave 6%"),
    ],
)
def test_what_something_else_had_of_the_machine_is_known_where_the_server_is_watched(given: Any, why: str) -> None:
    found = disturbance(given["client"], given["server"], 2)
    assert (why in found) if why else found == ""


def test_a_client_without_descriptors_is_the_limit() -> None:
    given = figures(thread=0.97, connect_out_of_file_descriptors=3)
    assert limiting(UNBELIEVABLE, given, Host(), 2).resource == CLIENT
