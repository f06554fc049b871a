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
    limiting,
)
from loadgen.core.search import FAILED, UNBELIEVABLE


def figures(
    client: float = 0.2,
    thread: float | None = 0.3,
    busy: float = 0.5,
    softirq: float = 0.05,
    **errors: int,
) -> dict[str, Any]:
    server = None if thread is None else {"cpu_share": thread, "thread_share": thread, "rss_bytes": 1}
    shares = {
        "cpu_share": client,
        "cpu_share_greatest": client,
        "machine_busy_share": busy,
        "softirq_share": softirq,
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
        (figures(thread=0.97), Host(listen_drops=7), KERNEL, "high", "7 connections met a full accept queue"),
        (figures(thread=0.97), Host(packet_drops=7), SERVER_CPU, "high", "7 packets were dropped"),
        (figures(busy=0.99, softirq=0.4), Host(), KERNEL, "fair", "40% with packets"),
        (figures(client=0.6, thread=0.6, busy=0.99, softirq=0.1), Host(), MACHINE, "fair", "99% of 2 cores"),
        (figures(busy=0.99), Host(), MACHINE, "low", "others 1.5: something else ran here"),
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


def test_a_client_without_descriptors_is_the_limit() -> None:
    given = figures(thread=0.97, connect_out_of_file_descriptors=3)
    assert limiting(UNBELIEVABLE, given, Host(), 2).resource == CLIENT
